"""A study's figures about what is right and what it costs: accuracy, energy, price, the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from analysis.answers import Answer
from analysis.pareto import beaten_by
from analysis.recommend import cost_per_1000
from analysis.study import OfPlace, Place, Point, about, figure

NO_DATASET = "the study has no dataset: --dataset"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of how right a place was. name: top1, mAP …; problem: why there is none."""

    place: Place
    dataset: str
    name: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    items: int = 0
    evaluation_id: str = ""
    problem: str = ""


class AccuracyRow(OfPlace, frozen=True, kw_only=True):
    """value: as a part of 1, or in the figure's own unit; low, high: its 95 % interval."""

    dataset: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    items: int
    evaluation: str


def accuracy_by_framework(judged: Sequence[Judged]) -> Answer:
    """How right each model is in each framework, on the study's dataset."""
    rows = []
    for one in sorted(judged, key=lambda one: (one.place, one.name)):
        na = {}
        if one.value is None:
            na = dict.fromkeys(("value", "low", "high"), one.problem)
        elif one.low is None:
            na = dict.fromkeys(("low", "high"), "this figure has no interval")
        rows.append(
            AccuracyRow(
                **about(one.place),
                analysis="accuracy",
                na=na,
                dataset=one.dataset,
                name=one.name,
                value=one.value,
                low=one.low,
                high=one.high,
                items=one.items,
                evaluation=one.evaluation_id,
            )
        )
    return figure("accuracy", "Accuracy by model and framework", rows, why=NO_DATASET)


# ------------------------------------------------------------------ everything at once


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the times. accuracy: the first figure of (model, framework, setting);
    prices: an hour of each node; joules: of (place, batch size), an input; whys: why not."""

    accuracy: Mapping[tuple[str, str, str], Judged] = {}
    prices: Mapping[str, float] = {}
    joules: Mapping[tuple[Place, int], float] = {}
    no_joules: Mapping[tuple[Place, int], str] = {}


class Tradeoff(OfPlace, frozen=True, kw_only=True):
    """One way to have predictions. energy_j and cost: of 1,000 inputs; price: of an hour of the
    node. best: nothing measured is as good in every respect and better in one (Pareto)."""

    batch_size: int
    latency_ns: float | None
    throughput: float | None
    figure: str
    accuracy: float | None
    energy_j: float | None
    price: float | None
    cost: float | None
    best: bool | None


RESPECTS = ("latency_ns", "throughput", "accuracy", "energy_j", "cost")


def tradeoffs(points: Sequence[Point], known: Known) -> Answer:
    """Accuracy × latency × energy × price, and which of them nothing beats.

    Respects that are not known of all are left out of the front; where accuracy is one of those,
    models are not held against each other: a smaller model is always quicker.
    """
    rows = [_row(p, known) for p in sorted(points, key=lambda p: (p.place, p.batch_size))]
    timed = [row for row in rows if row.latency_ns is not None]
    used = [name for name in RESPECTS if timed and all(getattr(r, name) is not None for r in timed)]
    groups: dict[str, list[Tradeoff]] = {}
    for row in timed:
        groups.setdefault("" if "accuracy" in used else row.model, []).append(row)
    best = set()
    for group in groups.values():
        points_of = [[_least(row, name) for name in used] for row in group]
        beaten = beaten_by(points_of)
        best |= {id(row) for row, by in zip(group, beaten, strict=True) if by is None}
    marked = [
        msgspec.structs.replace(row, best=id(row) in best) if row.latency_ns is not None else row
        for row in rows
    ]
    among = "all models" if "accuracy" in used else "each model by itself: not all have an accuracy"
    words = ", ".join({"latency_ns": "latency", "energy_j": "energy"}.get(n, n) for n in used)
    notes = [f"best: on the Pareto front of {words}, {among}"] if used else []
    return figure("tradeoffs", "Accuracy, latency, energy and price", marked, notes)


def _least(row: Tradeoff, name: str) -> float:
    """The least is best."""
    value = float(getattr(row, name))
    return -value if name in ("throughput", "accuracy") else value


def _row(point: Point, known: Known) -> Tradeoff:
    place, row, na = point.place, point.latency, {}
    key = (place.model, place.framework, place.setting)
    judged = known.accuracy.get(key)
    accuracy = judged.value if judged else None
    if accuracy is None:
        na["accuracy"] = judged.problem if judged else NO_DATASET
    joules = known.joules.get((place, point.batch_size))
    if joules is None:
        why = known.no_joules.get((place, point.batch_size), "the study has no traces")
        na["energy_j"] = why
    price = known.prices.get(place.node)
    if price is None:
        na |= dict.fromkeys(("price", "cost"), f"node {place.node or '?'} has no label `price`")
    throughput = row.throughput if row else None
    if row is None:
        na |= dict.fromkeys(("latency_ns", "throughput", "cost", "best"), point.why)
    cost = cost_per_1000(price, 1e9 / throughput) if price is not None and throughput else None
    return Tradeoff(
        **about(place),
        analysis="tradeoffs",
        na=na,
        batch_size=point.batch_size,
        latency_ns=row.p50_ns if row else None,
        throughput=throughput,
        figure=judged.name if judged and accuracy is not None else "",
        accuracy=accuracy,
        energy_j=1000 * joules if joules is not None else None,
        price=price,
        cost=cost,
        best=None,
    )
