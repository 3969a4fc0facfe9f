"""Boxes as detectors give them, in pixels of the image that was given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from ..modalities.geometry import Geometry, geometry_of
from .classification import sigmoid, softmax
from .reading import Reading, pick, transform_of

FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")
UNITS = ("pixels", "fractions")
COLUMNS = 6  # of a detector with one output: x1, y1, x2, y2, score, class


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found: corners [n, 4] as x1, y1, x2, y2 in pixels of the model's input.

    rows: which of the detector's own rows each is; best first.
    """

    corners: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    rows: np.ndarray


def found_boxes(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> Found:
    """The boxes above the threshold; rows that only fill a fixed number up are left out."""
    boxes, scores, classes = _columns(rows, output)
    if not len(boxes) == len(scores) == len(classes):
        text = f"the outputs hold {len(boxes)} boxes, {len(scores)} scores, {len(classes)} classes"
        raise WorkerError("request", f"{text}; equally many are expected")
    parameters = output.get("parameters") or {}
    corners = _corners(boxes.astype(np.float64), parameters)
    if parameters.get("box_units", "pixels") == "fractions":
        corners = corners * np.tile(shape_of(reading).input, 2)
    usable = np.isfinite(corners).all(axis=1) & (classes >= 0)
    usable &= (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    usable &= scores >= parameters.get("threshold", 0.0)
    order = np.argsort(-scores, kind="stable")
    order = order[usable[order]]
    return Found(corners[order], scores[order], classes[order], order)


def shape_of(reading: Reading) -> Geometry:
    geometry = geometry_of(reading.about)
    if geometry is None:
        text = "boxes and maps are told in pixels of an image, and the model's first input is none"
        raise WorkerError("request", f"{text}; an input of type image is expected first")
    return geometry


def told(found: Found, reading: Reading) -> list[dict[str, Any]]:
    """Every box in the words of a message; one that lies wholly outside the image is not told."""
    geometry, answer = shape_of(reading), []
    for corners, score, kind in zip(found.corners, found.scores, found.classes, strict=True):
        x1, y1 = geometry.to_given(corners[0], corners[1])
        x2, y2 = geometry.to_given(corners[2], corners[3])
        if x2 <= x1 or y2 <= y1:
            continue
        place = {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}
        answer.append({**place, **named(int(kind), reading), "probability": float(score)})
    return answer


def named(index: int, reading: Reading) -> dict[str, Any]:
    """A class by its number and, where the labels have it, its name."""
    label = reading.labels[index] if 0 <= index < len(reading.labels) else ""
    return {"index": index, "label": label}


def _columns(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [n, 4], scores [n], classes [n]: from one tensor or from two or three."""
    parameters = output.get("parameters") or {}
    if not parameters.get("boxes_layer"):
        table = _of_one_row(pick(rows, output))
        if table.ndim != 2 or table.shape[1] < COLUMNS:
            text = f"the detector's output has the shape {list(table.shape)}"
            raise WorkerError(
                "request",
                f"{text}; [boxes, {COLUMNS}] with x1, y1, x2, y2, score, class is expected: name "
                "boxes_layer, probabilities_layer and classes_layer where they are apart",
            )
        return table[:, :4], table[:, 4].astype(np.float64), table[:, 5].astype(np.int64)
    boxes = _of_one_row(pick(rows, output, "boxes_layer")).reshape(-1, 4)
    scores = _of_one_row(pick(rows, output, "probabilities_layer")).astype(np.float64)
    if scores.ndim == 2 and not parameters.get("classes_layer"):
        scores = _probabilities(scores, transform_of(output))
        classes = scores.argmax(axis=1)
        return boxes, scores[np.arange(len(scores)), classes], classes
    classes = _of_one_row(pick(rows, output, "classes_layer")).astype(np.int64)
    return boxes, scores.reshape(-1), classes.reshape(-1)


def _of_one_row(array: np.ndarray) -> np.ndarray:
    """A detector is asked once an item: its first row, without the batch."""
    return array[0]


def _probabilities(scores: np.ndarray, transform: str) -> np.ndarray:
    if transform == "softmax":
        return np.stack([softmax(row) for row in scores])
    return sigmoid(scores) if transform == "sigmoid" else scores


def _corners(boxes: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
    form, units = parameters.get("box_format", "xyxy"), parameters.get("box_units", "pixels")
    if form not in FORMATS:
        raise unknown("box_format", form, FORMATS)
    if units not in UNITS:
        raise unknown("box_units", units, UNITS)
    if form == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    if form == "xyxy":
        return boxes
    first = boxes[:, :2] - (boxes[:, 2:] / 2 if form == "cxcywh" else 0)
    return np.concatenate([first, first + boxes[:, 2:]], axis=1)
