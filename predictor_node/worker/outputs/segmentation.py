"""Semantic segmentation: a class for every pixel of the image that was given."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WorkerError
from .boxes import shape_of
from .classification import sigmoid
from .reading import Reading, pick, transform_of

NO_CLASS = 65535


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """Scores [classes, h, w] (or [h, w, classes]), one score [1, h, w], or classes [h, w].

    Each given pixel takes the class of the nearest place of the model's map; what the model did
    not see (outside a crop) has none.
    """
    classes = _classes(pick(rows, output)[0], output, reading)
    geometry = shape_of(reading)
    picked = []
    for axis, extent in ((1, classes.shape[0]), (0, classes.shape[1])):
        middles = np.arange(geometry.given[axis]) + 0.5
        at = middles * geometry.scale[axis] + geometry.offset[axis]
        picked.append(np.floor(at * extent / geometry.input[axis]).astype(int))
    lines, columns = picked
    seen = _within(lines, classes.shape[0])[:, np.newaxis] & _within(columns, classes.shape[1])
    lines, columns = (
        np.clip(places, 0, extent - 1) for places, extent in zip(picked, classes.shape, strict=True)
    )
    found = np.where(seen, classes[lines[:, np.newaxis], columns], NO_CLASS).astype("<u2")
    height, width = found.shape
    made = {"height": height, "width": width, "block": zlib.compress(found.tobytes())}
    return {"map": made | ({"labels": reading.labels} if reading.labels else {})}


def _within(places: np.ndarray, extent: int) -> np.ndarray:
    return (places >= 0) & (places < extent)


def _classes(found: np.ndarray, output: Mapping[str, Any], reading: Reading) -> np.ndarray:
    """The best class of every place; classes that are no uint16 have none."""
    if found.ndim == 3 and 1 in (found.shape[0], found.shape[2]):
        found = found[0] if found.shape[0] == 1 else found[:, :, 0]
        if found.dtype.kind == "f":
            threshold = (output.get("parameters") or {}).get("threshold") or 0.5
            if transform_of(output) == "sigmoid":
                found = sigmoid(found)
            found = found >= threshold
    elif found.ndim == 3:
        last = len(reading.labels) == found.shape[2] != found.shape[0]
        found = found.argmax(axis=2 if last else 0)
    if found.ndim != 2:
        text = f"the map has the shape {list(found.shape)}"
        raise WorkerError("request", f"{text}; [classes, h, w] or [h, w] is expected")
    numbers = found.astype(np.int64)
    return np.where((numbers < 0) | (numbers > NO_CLASS), NO_CLASS, numbers)
