"""Which classes a model gets right: top-k, per class, who is taken for whom, the wrong items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from analysis.items import Item, right_class
from analysis.proportions import Share, share

TOP = (1, 5)


class TopK(msgspec.Struct, frozen=True, kw_only=True):
    """How often the true class is among the first k; k is at most what the model told."""

    k: int
    share: Share


class ClassRow(msgspec.Struct, frozen=True, kw_only=True):
    """One class: how often it was true (items), said (predicted), and both (right)."""

    index: int
    label: str
    items: int
    predicted: int
    right: int
    precision: float
    recall: float
    f1: float


class Averages(msgspec.Struct, frozen=True, kw_only=True):
    """Precision, recall and F1 over all classes."""

    precision: float
    recall: float
    f1: float


class Confused(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of the confusion matrix that is not zero: items of class `truth` said to be `said`."""

    truth: int
    said: int
    items: int
    truth_label: str = ""
    said_label: str = ""


class WrongItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item whose first class is not the true one. truth_rank: where it stands; 0: not told."""

    position: int
    input: str
    truth: int
    truth_label: str
    said: int
    said_label: str
    probability: float
    truth_rank: int


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """How right a classifier is, of the labelled items that ran.

    macro: the mean over the classes that were true or said; micro: over all items together.
    """

    top: list[TopK]
    macro: Averages
    micro: Averages
    classes: list[ClassRow]
    confusion: list[Confused]
    wrong: list[WrongItem]


def classification(items: Sequence[Item]) -> Classification | None:
    """The accuracy of a classifier on labelled items; None where none has a class."""
    judged = [item for item in items if right_class(item.prediction) is not None]
    if not judged:
        return None
    labels = _labels(judged)
    pairs = Counter((_truth(item), _said(item)) for item in judged)
    rows = _class_rows(pairs, labels)
    right = sum(row.right for row in rows)
    said = sum(row.predicted for row in rows)
    micro_precision = right / said if said else 0.0
    return Classification(
        top=_top(judged),
        macro=Averages(
            precision=_mean([row.precision for row in rows]),
            recall=_mean([row.recall for row in rows]),
            f1=_mean([row.f1 for row in rows]),
        ),
        micro=Averages(
            precision=micro_precision,
            recall=right / len(judged),
            f1=_f1(micro_precision, right / len(judged)),
        ),
        classes=rows,
        confusion=[
            Confused(
                truth=truth,
                said=told,
                items=count,
                truth_label=labels.get(truth, ""),
                said_label=labels.get(told, ""),
            )
            for (truth, told), count in sorted(pairs.items())
        ],
        wrong=[_wrong(item) for item in judged if not right_class(item.prediction)],
    )


def worst_confusions(found: Classification, count: int = 5) -> list[Confused]:
    """The pairs that are mixed up most often, the most frequent first."""
    mixed = [cell for cell in found.confusion if cell.truth != cell.said]
    return sorted(mixed, key=lambda cell: (-cell.items, cell.truth, cell.said))[:count]


def _truth(item: Item) -> int:
    assert item.prediction.truth is not None
    return item.prediction.truth.index


def _said(item: Item) -> int:
    """The first class; -1 where the model named none."""
    classes = item.prediction.classes
    return classes[0].index if classes else -1


def _rank(item: Item) -> int:
    truth = _truth(item)
    told = (n for n, score in enumerate(item.prediction.classes, 1) if score.index == truth)
    return next(told, 0)


def _labels(items: Sequence[Item]) -> dict[int, str]:
    labels: dict[int, str] = {}
    for item in items:
        for score in item.prediction.classes:
            labels.setdefault(score.index, score.label)
        truth = item.prediction.truth
        if truth is not None and truth.label and not labels.get(truth.index):
            labels[truth.index] = truth.label
    return labels


def _top(items: Sequence[Item]) -> list[TopK]:
    """Top-1 and top-5; with fewer than 5 classes told, as many as there are."""
    told = max(len(item.prediction.classes) for item in items)
    ranks = [_rank(item) for item in items]
    return [
        TopK(k=k, share=share(sum(0 < rank <= k for rank in ranks), len(ranks)))
        for k in sorted({max(1, min(k, told)) for k in TOP})
    ]


def _class_rows(pairs: Counter[tuple[int, int]], labels: dict[int, str]) -> list[ClassRow]:
    true, said = Counter[int](), Counter[int]()
    for (truth, told), count in pairs.items():
        true[truth] += count
        said[told] += count
    rows = []
    for index in sorted({*true, *said} - {-1}):
        right = pairs[index, index]
        precision = right / said[index] if said[index] else 0.0
        recall = right / true[index] if true[index] else 0.0
        rows.append(
            ClassRow(
                index=index,
                label=labels.get(index, ""),
                items=true[index],
                predicted=said[index],
                right=right,
                precision=precision,
                recall=recall,
                f1=_f1(precision, recall),
            )
        )
    return rows


def _f1(precision: float, recall: float) -> float:
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _wrong(item: Item) -> WrongItem:
    prediction, truth = item.prediction, item.prediction.truth
    assert truth is not None
    first = prediction.classes[0] if prediction.classes else None
    return WrongItem(
        position=item.position,
        input=prediction.input,
        truth=truth.index,
        truth_label=truth.label,
        said=first.index if first else -1,
        said_label=first.label if first else "",
        probability=first.probability if first else 0.0,
        truth_rank=_rank(item),
    )
