"""How well a class is given to every pixel: intersection over union, class by class."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec
import numpy as np

from analysis.items import Item
from bus.errors import ProtocolError
from bus.messages import ClassMap

NO_CLASS = 65535


class ClassOverlap(msgspec.Struct, frozen=True, kw_only=True):
    """One class over all items: pixels that are it, are said to be, and both."""

    index: int
    pixels: int
    said: int
    both: int
    overlap: float


class Segmentation(msgspec.Struct, frozen=True, kw_only=True):
    """mean_overlap (mIoU): of the classes that are there or are said; all pixels count alike."""

    mean_overlap: float
    pixel_accuracy: float
    pixels: int
    classes: list[ClassOverlap]


def segmentation(items: Sequence[Item]) -> Segmentation | None:
    """The overlap of predicted and true maps; None where no item has both.

    A predicted map of another size is brought to the true one's by its nearest pixels. Pixels
    without a true class (65535) do not count.
    """
    true, said, both = (np.zeros(NO_CLASS + 1, np.int64) for _ in range(3))
    judged = False
    for item in items:
        truth = item.prediction.truth.map if item.prediction.truth else None
        if truth is None or item.prediction.map is None:
            continue
        judged = True
        wanted = pixels_of(truth)
        found = _resized(pixels_of(item.prediction.map), wanted.shape)
        known = wanted != NO_CLASS
        wanted, found = wanted[known], found[known]
        true += np.bincount(wanted, minlength=NO_CLASS + 1)
        said += np.bincount(found, minlength=NO_CLASS + 1)
        both += np.bincount(wanted[wanted == found], minlength=NO_CLASS + 1)
    if not judged:
        return None
    rows = [
        ClassOverlap(
            index=index,
            pixels=int(true[index]),
            said=int(said[index]),
            both=int(both[index]),
            overlap=float(both[index] / (true[index] + said[index] - both[index])),
        )
        for index in np.flatnonzero(true + said).tolist()
        if index != NO_CLASS
    ]
    total = int(true.sum())
    return Segmentation(
        mean_overlap=sum(row.overlap for row in rows) / len(rows) if rows else 0.0,
        pixel_accuracy=float(both.sum() / total) if total else 0.0,
        pixels=total,
        classes=rows,
    )


def pixels_of(told: ClassMap) -> np.ndarray:
    """A class map as an array [height, width]."""
    size = told.height * told.width * 2
    try:
        data = zlib.decompressobj().decompress(told.block, size + 1)
    except zlib.error as exc:
        raise ProtocolError(f"an unreadable class map: {exc}") from exc
    if len(data) != size:
        text = f"a class map of {told.height}×{told.width} holds {len(data)} bytes"
        raise ProtocolError(f"{text}: expected {size}")
    return np.frombuffer(data, "<u2").reshape(told.height, told.width)


def _resized(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if pixels.shape == shape:
        return pixels
    rows, columns = (
        ((np.arange(want) + 0.5) * have / want).astype(np.int64)
        for want, have in zip(shape, pixels.shape, strict=True)
    )
    return pixels[rows[:, None], columns[None, :]]
