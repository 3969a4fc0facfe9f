"""Lines of text through a real recogniser: exact match and word errors equal to a hand count."""

from __future__ import annotations

import json
import zipfile
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from predictor_node.assets import Assets

LINES = Path(__file__).parents[2] / "manifests" / "datasets" / "text-lines.zip"
RECOGNISER = (
    "package://rapidocr-onnxruntime==1.4.4/rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
)
HEIGHT, WIDTH = 48, 480


@pytest.fixture
async def recogniser(wheels: Path) -> Path:
    """RapidOCR's file out of its wheel, which is fetched once a machine."""
    assets = Assets(wheels / "assets", None)  # type: ignore[arg-type]  # nothing is on a bus
    return await assets.fetch(RECOGNISER, "")


def read_by_hand(recogniser: Path, pictures: list[Path]) -> list[str]:
    """ONNX Runtime called directly; each picture in the middle of a grey field."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(recogniser), options)
    letters = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    table = ["", *letters, " "]
    said = []
    for picture in pictures:
        image = Image.open(picture).convert("RGB")
        factor = min(WIDTH / image.width, HEIGHT / image.height)
        small = image.resize(
            (round(image.width * factor), round(image.height * factor)), Image.Resampling.BILINEAR
        )
        field = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        top, left = -(-(HEIGHT - small.height) // 2), -(-(WIDTH - small.width) // 2)
        field[top : top + small.height, left : left + small.width] = np.asarray(small)
        tensor = (field[:, :, ::-1].astype(np.float32) - 127.5) / 127.5
        scores = session.run(None, {"x": tensor.transpose(2, 0, 1)[np.newaxis]})[0][0]
        said.append("".join(table[best] for best, _ in groupby(scores.argmax(axis=1))))
    return said


@cache
def edits(truth: tuple[str, ...], said: tuple[str, ...]) -> int:
    """Levenshtein's distance as it is defined."""
    if not truth or not said:
        return len(truth) + len(said)
    return min(
        edits(truth[1:], said[1:]) + (truth[0] != said[0]),
        edits(truth[1:], said) + 1,
        edits(truth, said[1:]) + 1,
    )


async def test_exact_match_and_word_errors_equal_a_hand_count(
    mlms, recogniser: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(LINES) as archive:
        archive.extractall(tmp_path / "lines")
    rows = [
        json.loads(line) for line in (tmp_path / "lines" / "lines.jsonl").read_text().splitlines()
    ][:24]
    pictures = [tmp_path / "lines" / "pictures" / row["file"] for row in rows]
    said = read_by_hand(recogniser, pictures)
    pairs = [
        (tuple(row["text"].split()), tuple(x.split())) for row, x in zip(rows, said, strict=True)
    ]
    exact = sum(truth == text for truth, text in pairs)
    assert 0 < exact < len(rows)  # a count that could be wrong in both directions

    done = mlms(
        "accuracy", "RapidOCR-rec", "--dataset", "Text-Lines", "--threads", 1, "--batch-size", 8,
        "--limit", len(rows), "--output", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [each["text"] for each in result["predictions"]] == said
    assert [each["truth"]["text"] for each in result["predictions"]] == [r["text"] for r in rows]
    (row,) = result["accuracy"]
    assert (row["text"]["exact"]["right"], row["text"]["exact"]["of"]) == (exact, len(rows))
    wrong = sum(edits(*pair) for pair in pairs)
    words = sum(len(truth) for truth, _ in pairs)
    assert (row["text"]["edits"], row["text"]["words"]) == (wrong, words)
    assert row["text"]["word_error_rate"] == pytest.approx(wrong / words)
