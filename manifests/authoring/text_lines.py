"""Renders lines of text whose words are known: the dataset Text-Lines, and a sample of it.

    python -m manifests.authoring.text_lines

Needs Pillow and the DejaVu fonts (Debian: fonts-dejavu). Everything by chance has the seed below.
The words are this file's own, so what is true of a picture is known and not somebody's reading.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

SEED = 11
FONTS = Path("/usr/share/fonts/truetype/dejavu")
FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansCondensed"),
    *("DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-Bold", "DejaVuSansMono"),
)
INTO = Path(__file__).parents[1]
ZIP_DATE = (2026, 1, 1, 0, 0, 0)

LINES = """
The library opens at nine.
Please keep this door closed
Two coffees and a slice of cake
Platform 7, next train 14:35
Total: 128.40 EUR
Mix the flour with warm water
Rain is expected before noon
She wrote the letter by hand
Invoice no. 2024-0917
Mind the gap
Open the window a little
Deliver to the back entrance
Cooking time: 25 minutes
No smoking in this area
They walked along the river
A quick answer is not always right
Room 212, second floor
Store in a cool, dry place
The museum is closed on Mondays
Fragile: handle with care
Seven small boats left the harbour
Best before 30 June 2027
Push to open
Turn left after the bridge
The old clock stopped at midnight
Emergency exit
Add salt and pepper to taste
Call us on 020 555 0143
His answer surprised everyone
Fresh bread every morning
Lost and found office
Snow covered the quiet street
Speed limit 30
Keep out of reach of children
The orchestra began to tune
Return all books by Friday
Gate B12 is now boarding
One ticket, valid for two hours
Water the plants twice a week
Made from recycled paper
A bright light in the distance
Waiting room
Charge the battery before use
Nobody knew where the map was
Special offer: three for two
Wash at 40 degrees
The committee meets on Tuesday
Press any key to continue
Sunrise at 6:12, sunset at 19:48
Do not feed the birds
It took them nearly a year
Fasten your seat belt
Half a pound of butter
The next stop is Market Square
Measure twice, cut once
All rights reserved
Winter timetable from 1 November
Handle removed for repair
We apologise for the delay
End of the line
""".strip().splitlines()


def rendered(line: str, chance: random.Random) -> Image.Image:
    """A picture of the line as a camera or a scanner might give it: turned, soft, grainy."""
    size = chance.randint(18, 30)
    font = ImageFont.truetype(FONTS / f"{chance.choice(FACES)}.ttf", size)
    left, top, right, bottom = font.getbbox(line)
    margin = size // 3
    paper, ink = chance.randint(200, 255), chance.randint(0, 90)
    if chance.random() < 0.15:
        paper, ink = ink, paper
    shape = (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin)
    image = Image.new("L", shape, paper)
    ImageDraw.Draw(image).text((margin - left, margin - top), line, fill=ink, font=font)
    turned = chance.uniform(-1.5, 1.5)
    image = image.rotate(turned, Image.Resampling.BICUBIC, fillcolor=paper)
    image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, 1.3)))
    return _grainy(image, chance.randint(0, 14), chance)


def _grainy(image: Image.Image, grain: int, chance: random.Random) -> Image.Image:
    pixels = bytes(
        min(255, max(0, value + round(chance.gauss(0, grain)))) for value in image.tobytes()
    )
    return Image.frombytes("L", image.size, pixels)


def main() -> None:
    chance, rows = random.Random(SEED), []
    with zipfile.ZipFile(INTO / "datasets" / "text-lines.zip", "w", zipfile.ZIP_STORED) as archive:
        for number, line in enumerate(LINES):
            name, jpeg = f"{number:02}.jpg", io.BytesIO()
            rendered(line, chance).save(jpeg, "JPEG", quality=chance.randint(40, 70))
            archive.writestr(zipfile.ZipInfo(f"pictures/{name}", ZIP_DATE), jpeg.getvalue())
            rows.append(json.dumps({"file": name, "text": line}))
        lines = "\n".join(rows) + "\n"
        archive.writestr(zipfile.ZipInfo("lines.jsonl", ZIP_DATE), lines.encode())
    sample = INTO / "models" / "samples" / "line.jpg"
    rendered("Measured twice, 25 June", random.Random(SEED)).save(sample, "JPEG", quality=60)


if __name__ == "__main__":
    main()
