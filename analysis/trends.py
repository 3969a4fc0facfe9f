"""How one model's times went over its history: a series an alike setting, and what changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from analysis.change_points import change_points
from bus.messages import LEVELS, HistoryRow, RunSummary

MOST_POINTS = 200
"""Of a series the newest: looking for changes takes time with the square of their number."""


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation's median; what of it may explain a change."""

    evaluation_id: str
    at_ns: int
    median_ns: int
    model_version: str = ""
    framework_version: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Where a new stretch begins: the medians of the stretches before and after it, and what else
    differs between the two evaluations on either side."""

    evaluation_id: str
    at_ns: int
    before_ns: float
    after_ns: float
    ratio: float
    differs: list[str] = []


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A series of the same model, framework, node, data and batch size, the oldest point first.

    left_out: older points, beyond the newest 200.
    """

    model: str
    framework: str
    node_id: str
    batch_size: int
    points: list[TrendPoint]
    dataset: str = ""
    changes: list[Change] = []
    left_out: int = 0


def trends(rows: Iterable[HistoryRow], most: int | None = None) -> list[Trend]:
    """Each series of measured, finished evaluations, the longest first; `most` of them.

    A framework's version is no part of what makes a series: a change that comes with a new one is
    what a person looks for. Times are compared as logarithms (E-divisive, as in change_points).
    """
    series: dict[tuple[str, str, str, int, str], list[TrendPoint]] = {}
    for row in rows:
        if row.state != "finished" or row.origin != "measured":
            continue
        for size, run in _shallowest(row.runs).items():
            key = (row.model, row.framework, row.node_id, size, row.dataset)
            series.setdefault(key, []).append(_point(row, run))
    longest = sorted(series.items(), key=lambda one: -len(one[1]))
    return [_trend(key, points) for key, points in longest[:most]]


def _trend(key: tuple[str, str, str, int, str], points: Sequence[TrendPoint]) -> Trend:
    model, framework, node_id, size, dataset = key
    newest = sorted(points, key=lambda point: point.at_ns)[-MOST_POINTS:]
    return Trend(
        model=model,
        framework=framework,
        node_id=node_id,
        batch_size=size,
        dataset=dataset,
        points=newest,
        changes=_changes(newest),
        left_out=len(points) - len(newest),
    )


def _shallowest(runs: Sequence[RunSummary]) -> dict[int, RunSummary]:
    """The run of each batch size that looks least deep: the others contain the cost of looking."""
    found: dict[int, RunSummary] = {}
    for run in runs:
        known = found.get(run.batch_size)
        deeper = known is not None and LEVELS.index(run.level) >= LEVELS.index(known.level)
        if run.median_ns > 0 and not deeper:
            found[run.batch_size] = run
    return found


def _point(row: HistoryRow, run: RunSummary) -> TrendPoint:
    return TrendPoint(
        evaluation_id=row.evaluation_id,
        at_ns=row.at_ns,
        median_ns=run.median_ns,
        model_version=row.model_version,
        framework_version=row.framework_version,
    )


def _changes(points: Sequence[TrendPoint]) -> list[Change]:
    starts = change_points([math.log(point.median_ns) for point in points])
    edges = [0, *starts, len(points)]
    levels = [_middle(points[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    return [
        Change(
            evaluation_id=points[at].evaluation_id,
            at_ns=points[at].at_ns,
            before_ns=before,
            after_ns=after,
            ratio=after / before,
            differs=_differs(points[at - 1], points[at]),
        )
        for at, before, after in zip(starts, levels, levels[1:], strict=False)
    ]


def _middle(points: Sequence[TrendPoint]) -> float:
    ordered = sorted(point.median_ns for point in points)
    return float(ordered[(len(ordered) - 1) // 2])


def _differs(one: TrendPoint, other: TrendPoint) -> list[str]:
    versions = {
        "model": (one.model_version, other.model_version),
        "framework": (one.framework_version, other.framework_version),
    }
    return [f"{what} {a} → {b}" for what, (a, b) in versions.items() if a != b]
