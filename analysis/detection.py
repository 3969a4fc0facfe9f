"""How well a detector finds things: average precision as COCO counts it, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import msgspec

from analysis.items import Item
from bus.errors import InputError
from bus.messages import Box


class ClassPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """One class: how many there are, and its average precision at IoU 0.50:0.95."""

    index: int
    label: str
    boxes: int
    precision: float


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """Mean average precision over classes at IoU 0.50:0.95, 0.50 and 0.75; up to 100 boxes an item.

    -1: not known, for no item shows anything of a known class.
    """

    mean_precision: float
    mean_precision_50: float
    mean_precision_75: float
    boxes: int
    classes: list[ClassPrecision]


def detection(items: Sequence[Item]) -> Detection | None:
    """The precision of a detector on items with known boxes; None where none has any."""
    judged = [item for item in items if item.prediction.truth is not None]
    if not any(item.prediction.truth.boxes for item in judged if item.prediction.truth):
        return None
    labels: dict[int, str] = {}
    for item in judged:
        for box in (*_true_boxes(item), *item.prediction.boxes):
            labels.setdefault(box.index, box.label)
    evaluated = _evaluate(judged, sorted(labels))
    counts: dict[int, int] = {}
    for item in judged:
        for box in _true_boxes(item):
            counts[box.index] = counts.get(box.index, 0) + 1
    # precision[IoU, recall, class, area, most boxes]: all areas, 100 boxes; -1 where no truth is.
    precision = evaluated.eval["precision"][:, :, :, 0, -1]
    return Detection(
        mean_precision=_mean(precision),
        mean_precision_50=_mean(precision[0]),
        mean_precision_75=_mean(precision[5]),
        boxes=sum(counts.values()),
        classes=[
            ClassPrecision(
                index=index,
                label=labels[index],
                boxes=counts[index],
                precision=_mean(precision[:, :, place]),
            )
            for place, index in enumerate(sorted(labels))
            if index in counts
        ],
    )


def _mean(precision: Any) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0


def _true_boxes(item: Item) -> list[Box]:
    return item.prediction.truth.boxes if item.prediction.truth else []


def _evaluate(items: Sequence[Item], classes: list[int]) -> Any:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as exc:
        text = "the accuracy of a detector needs pycocotools: pip install 'mlmodelscope[accuracy]'"
        raise InputError(text) from exc
    # pycocotools counts classes from 1 and takes an annotation with id 0 for none.
    numbers = {index: number for number, index in enumerate(classes, 1)}
    truth, said = COCO(), COCO()
    base = {
        "images": [{"id": item.position + 1} for item in items],
        "categories": [{"id": number} for number in numbers.values()],
    }
    truth.dataset = {**base, "annotations": list(_annotations(items, numbers, told=False))}
    said.dataset = {**base, "annotations": list(_annotations(items, numbers, told=True))}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it is doing
        truth.createIndex()
        said.createIndex()
        evaluated = COCOeval(truth, said, "bbox")
        evaluated.evaluate()
        evaluated.accumulate()
    return evaluated


def _annotations(items: Sequence[Item], numbers: dict[int, int], *, told: bool) -> Any:
    number = 0
    for item in items:
        for box in item.prediction.boxes if told else _true_boxes(item):
            number += 1
            width, height = box.x2 - box.x1, box.y2 - box.y1
            yield {
                "id": number,
                "image_id": item.position + 1,
                "category_id": numbers[box.index],
                "bbox": [box.x1, box.y1, width, height],
                "area": width * height,
                "iscrowd": int(box.crowd),
                "score": box.probability,
            }
