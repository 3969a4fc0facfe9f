"""Every kind of prediction as a terminal shows it."""

import io
import zlib

import numpy as np
import pytest
from rich.console import Console

from bus.messages import Box, ClassMap, ClassScore, Interval, Prediction, TensorValue
from mlmodelscope.predictions import tables_of


def shown(*predictions: Prediction) -> list[list[str]]:
    """The words of every line that is not empty."""
    out = Console(file=io.StringIO(), width=100, highlight=False)
    for part in tables_of(predictions):
        out.print(part)
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]  # a StringIO
    return [words for line in lines if (words := line.replace("─", "").split())]


MAP = np.array([[3, 3, 3], [65535, 7, 3]], "<u2")
VECTOR = np.array([3, 4, 0, 0, 0, 0], "<f4")
# prediction -> a line that stands in the table
KINDS = {
    "classes": (
        Prediction(input="a.png", classes=[ClassScore(index=7, label="cup", probability=0.5)]),
        "a.png 7 cup 0.500",
    ),
    "boxes": (
        Prediction(
            input="a.png",
            boxes=[Box(x1=1.4, y1=2, x2=30, y2=40, index=1, label="cup", probability=0.25)],
        ),
        "a.png cup 0.250 1, 2 30, 40",
    ),
    "masks": (
        Prediction(
            input="a.png",
            boxes=[Box(x1=0, y1=0, x2=2, y2=1, index=4, mask=zlib.compress(b"\x01\x00"))],
        ),
        "a.png 4 0.000 0, 0 2, 1 50% of the box",
    ),
    "maps": (
        Prediction(
            input="a.png", map=ClassMap(height=2, width=3, block=zlib.compress(MAP.tobytes()))
        ),
        "a.png 3 4 66.7% 3×2",
    ),
    "times": (
        Prediction(
            input="a.wav",
            intervals=[Interval(start_s=0.5, end_s=2, label="speech", probability=0.75)],
        ),
        "a.wav 0.50 s 2.00 s speech 0.750",
    ),
    "text": (Prediction(input="a.txt", text="[good] morning"), "a.txt [good] morning"),
    "tensors": (
        Prediction(
            input="a.txt",
            tensors=[TensorValue(name="y", dtype="float32", shape=[6], data=VECTOR.tobytes())],
        ),
        "a.txt y float32 6 3, 4, 0, 0, … 0 to 4 5",
    ),
    "large tensors": (
        Prediction(
            input="a", tensors=[TensorValue(dtype="int8", shape=[9, 9], url="repo://outputs/ab")]
        ),
        "a int8 9×9 repo://outputs/ab",
    ),
    "images": (
        Prediction(
            input="a", image=TensorValue(name="y", dtype="uint8", shape=[1, 1, 3], data=b"\1\2\3")
        ),
        "a y uint8 1×1×3 1, 2, 3",
    ),
    "nothing": (Prediction(input="[a].png"), "nothing found in [a].png"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_shown(kind: str) -> None:
    prediction, line = KINDS[kind]
    assert line.split() in shown(prediction)


def test_the_rows_of_one_input_are_limited() -> None:
    classes = [ClassScore(index=index, label="x", probability=0) for index in range(100)]
    lines = shown(Prediction(input="a", classes=classes), Prediction(input="b", text="words"))
    assert ["…", "and", "80", "more"] in lines
    assert ["b", "words"] in lines
    assert len([line for line in lines if "x" in line]) == 20
