"""Detection: boxes, each with its best class. Instance segmentation: a mask in each."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WorkerError
from ..modalities.geometry import Geometry
from .boxes import Found, found_boxes, named, shape_of, told
from .reading import Reading, pick

MASK_THRESHOLD = 0.5


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    return {"boxes": told(found_boxes(rows, output, reading), reading)}


def read_instances(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """Boxes with whole corners, so that each holds its mask's pixels exactly.

    Masks are as large as the model's input, or they fill their box: [n, h, w], [n, 1, h, w].
    """
    found, geometry = found_boxes(rows, output, reading), shape_of(reading)
    masks = pick(rows, output, "masks_layer")[0]
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.ndim != 3 or len(masks) <= max(found.rows, default=-1):
        text = f"the masks have the shape {list(masks.shape)}"
        raise WorkerError("request", f"{text}; [boxes, height, width] is expected")
    made = (_instance(found, place, masks, geometry, reading) for place in range(len(found.rows)))
    return {"boxes": [box for box in made if box]}


def _instance(
    found: Found, place: int, masks: np.ndarray, geometry: Geometry, reading: Reading
) -> dict[str, Any]:
    corners, mask = found.corners[place], masks[found.rows[place]]
    x1, y1 = (round(at) for at in geometry.to_given(corners[0], corners[1]))
    x2, y2 = (round(at) for at in geometry.to_given(corners[2], corners[3]))
    if x2 <= x1 or y2 <= y1:
        return {}
    # The middle of every given pixel in the box, in pixels of the model's input.
    across = (np.arange(x1, x2) + 0.5) * geometry.scale[0] + geometry.offset[0]
    down = (np.arange(y1, y2) + 0.5) * geometry.scale[1] + geometry.offset[1]
    height, width = mask.shape
    if (width, height) != geometry.input:
        across = (across - corners[0]) * width / (corners[2] - corners[0])
        down = (down - corners[1]) * height / (corners[3] - corners[1])
    columns = np.clip(np.floor(across).astype(int), 0, width - 1)
    lines = np.clip(np.floor(down).astype(int), 0, height - 1)
    inside = (mask[lines[:, np.newaxis], columns] >= MASK_THRESHOLD).astype(np.uint8)
    return {
        **{"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)},
        **named(int(found.classes[place]), reading),
        "probability": float(found.scores[place]),
        "mask": zlib.compress(inside.tobytes()),
    }
