"""Draws the digits that come with MNIST-CNN as samples: light strokes on a dark ground, 28 × 28.

python manifests/authoring/digits.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIDE, LARGER = 28, 10
STROKES = {
    "seven": [[(7, 8), (20, 8), (13, 21)]],
    "four": [[(9, 6), (8, 14), (19, 14)], [(18, 7), (17, 22)]],
    "zero": [[(14, 6), (9, 9), (8, 14), (10, 20), (14, 22), (18, 20), (20, 14), (18, 8), (14, 6)]],
}


def draw(strokes: list[list[tuple[int, int]]]) -> Image.Image:
    """Lines with round ends, drawn large and made small, so that their edges are soft."""
    large = Image.new("L", (SIDE * LARGER, SIDE * LARGER))
    pen, radius = ImageDraw.Draw(large), 1.2 * LARGER
    for stroke in strokes:
        points = [(x * LARGER, y * LARGER) for x, y in stroke]
        pen.line(points, fill=255, width=int(2 * radius), joint="curve")
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    soft = large.filter(ImageFilter.GaussianBlur(LARGER / 4))
    return soft.resize((SIDE, SIDE), Image.Resampling.BOX)


if __name__ == "__main__":
    for name, strokes in STROKES.items():
        draw(strokes).save(Path(sys.argv[1]) / f"{name}.png", optimize=True)
