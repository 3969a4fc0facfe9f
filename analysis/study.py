"""A study's cells, and the figures that follow from their times: peaks, sweeps, systems.

A study measures models × frameworks × nodes × batch sizes. Each figure is an Answer: rows that a
table, a file or a plot shows; a cell that failed is a row whose figures are n/a with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from analysis.answers import Answer, Row
from analysis.latency import LatencyRow, best_batch

NOT_RUN = "it was not measured"


class Place(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What one curve is of. setting: what else tells it apart: environment, device, precision."""

    model: str
    framework: str
    setting: str = ""
    node: str = ""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One cell: a place at one batch size. problem: why it has no times; empty where it has."""

    place: Place
    batch_size: int
    latency: LatencyRow | None = None
    evaluation_id: str = ""
    problem: str = ""
    weights: str = "trained"

    @property
    def why(self) -> str:
        """Why it has no times."""
        return self.problem or NOT_RUN


class OfPlace(Row, frozen=True, kw_only=True):
    """The base of a study's rows."""

    model: str
    framework: str
    setting: str
    node: str


def about(place: Place) -> dict[str, Any]:
    """The columns of OfPlace."""
    return {name: getattr(place, name) for name in place.__struct_fields__}


def by_place(points: Iterable[Point]) -> dict[Place, list[Point]]:
    """Each place's points, by batch size."""
    found: dict[Place, list[Point]] = {}
    for point in sorted(points, key=lambda p: (p.place, p.batch_size)):
        found.setdefault(point.place, []).append(point)
    return found


def measured(points: Iterable[Point]) -> list[tuple[int, LatencyRow]]:
    """Batch size and times of those that have them."""
    return [(point.batch_size, row) for point in points if (row := point.latency) is not None]


# ------------------------------------------------------------------ peak throughput


class Peak(OfPlace, frozen=True, kw_only=True):
    """online_ns: the median predict at batch size 1; optimal_batch_size: the smallest whose
    doubling gains 5 % or less (XSP). failed: batch sizes without times."""

    peak_throughput: float | None
    throughput_low: float | None
    throughput_high: float | None
    peak_batch_size: int | None
    optimal_batch_size: int | None
    online_ns: float | None
    online_p90_ns: float | None
    failed: int


def peak_throughput(points: Sequence[Point]) -> Answer:
    """Of each model, framework and system: the most inputs a second, and at which batch size."""
    rows, rising = [], 0
    for place, own in by_place(points).items():
        row = _peak(place, own)
        rows.append(row)
        largest = max(point.batch_size for point in own)
        rising += row.peak_batch_size == largest and len(own) > 1
    notes = []
    if rising:
        notes.append(
            f"{rising} of {len(rows)} peaks are at the largest batch size that was measured: a "
            "larger one may be better"
        )
    return figure("peak-throughput", "Peak throughput and its batch size", rows, notes)


def _peak(place: Place, own: Sequence[Point]) -> Peak:
    known = [(size, row) for size, row in measured(own) if row.throughput is not None]
    na: dict[str, str] = {}
    best = max(known, key=lambda pair: pair[1].throughput or 0.0, default=None)
    if best is None:
        names = ("peak_throughput", "throughput_low", "throughput_high", "peak_batch_size")
        na |= dict.fromkeys((*names, "optimal_batch_size"), own[0].why)
    elif best[1].throughput_low is None:
        na |= dict.fromkeys(("throughput_low", "throughput_high"), "needs 6 queries")
    rule = best_batch([row for _, row in known])
    one = next((point for point in own if point.batch_size == 1), None)
    online = one.latency if one else None
    if online is None:
        why = one.why if one else "batch size 1 is not part of the study"
        na |= dict.fromkeys(("online_ns", "online_p90_ns"), why)
    elif online.p90_ns is None:
        na["online_p90_ns"] = online.needs.get("p90", "needs 10 queries")
    return Peak(
        **about(place),
        analysis="peak-throughput",
        na=na,
        peak_throughput=best[1].throughput if best else None,
        throughput_low=best[1].throughput_low if best else None,
        throughput_high=best[1].throughput_high if best else None,
        peak_batch_size=best[0] if best else None,
        optimal_batch_size=rule.batch_size if rule else None,
        online_ns=online.p50_ns if online else None,
        online_p90_ns=online.p90_ns if online else None,
        failed=sum(1 for point in own if point.latency is None),
    )


# ------------------------------------------------------------------ over batch sizes


class AtBatch(OfPlace, frozen=True, kw_only=True):
    """latency_ns: the median of a predict of the whole batch; low_ns, high_ns: its 95 % interval;
    per_input_ns: 1/B of it."""

    batch_size: int
    latency_ns: float | None
    low_ns: float | None
    high_ns: float | None
    p90_ns: float | None
    p99_ns: float | None
    per_input_ns: float | None
    queries: int
    evaluation: str


def latency_by_batch(points: Sequence[Point]) -> Answer:
    """Latency over batch sizes, framework by framework; drawn on a logarithmic axis."""
    rows = [_at_batch(point) for point in sorted(points, key=lambda p: (p.place, p.batch_size))]
    return figure("latency-by-batch", "Latency over batch sizes, by framework", rows)


def _at_batch(point: Point) -> AtBatch:
    row, na = point.latency, {}
    values: dict[str, Any] = dict.fromkeys(
        ("latency_ns", "low_ns", "high_ns", "p90_ns", "p99_ns", "per_input_ns")
    )
    if row is None:
        na = dict.fromkeys(values, point.why)
    else:
        values = {
            "latency_ns": row.p50_ns,
            "low_ns": row.median_low_ns,
            "high_ns": row.median_high_ns,
            "p90_ns": row.p90_ns,
            "p99_ns": row.p99_ns,
            "per_input_ns": row.p50_ns / point.batch_size if row.p50_ns is not None else None,
        }
        few = {"low_ns": "median interval", "high_ns": "median interval"}
        few |= {"p90_ns": "p90", "p99_ns": "p99"}
        na = {name: row.needs[of] for name, of in few.items() if of in row.needs}
    return AtBatch(
        **about(point.place),
        analysis="latency-by-batch",
        na=na,
        batch_size=point.batch_size,
        queries=row.queries if row else 0,
        evaluation=point.evaluation_id,
        **values,
    )


class Rate(OfPlace, frozen=True, kw_only=True):
    """Inputs a second at one batch size on one system, with the 95 % interval."""

    batch_size: int
    throughput: float | None
    throughput_low: float | None
    throughput_high: float | None


def throughput_by_system(points: Sequence[Point]) -> Answer:
    """Throughput over batch sizes and systems."""
    rows = []
    for point in sorted(points, key=lambda p: (p.place.model, p.place.node, p.place, p.batch_size)):
        row, na = point.latency, {}
        if row is None or row.throughput is None:
            na = dict.fromkeys(("throughput", "throughput_low", "throughput_high"), point.why)
        elif row.throughput_low is None:
            na = dict.fromkeys(("throughput_low", "throughput_high"), "needs 6 queries")
        rows.append(
            Rate(
                **about(point.place),
                analysis="throughput-by-system",
                na=na,
                batch_size=point.batch_size,
                throughput=row.throughput if row else None,
                throughput_low=row.throughput_low if row else None,
                throughput_high=row.throughput_high if row else None,
            )
        )
    return figure("throughput-by-system", "Throughput over batch sizes and systems", rows)


# ------------------------------------------------------------------ one system as the measure


class Normalised(OfPlace, frozen=True, kw_only=True):
    """ratio: latency_ns / baseline_ns; above 1 it is slower than the baseline system. ratio_low,
    ratio_high: what the 95 % intervals of both medians allow at most."""

    batch_size: int
    latency_ns: float | None
    baseline_ns: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


def normalised_latency(points: Sequence[Point], baseline: str) -> Answer:
    """Each system's latency as a multiple of the baseline system's, like by like."""
    at = {_like(point): point for point in points if point.place.node == baseline}
    ordered = sorted(points, key=lambda p: (p.place, p.batch_size))
    rows = [_ratio(point, at.get(_like(point)), baseline) for point in ordered]
    nodes = sorted({point.place.node for point in points if point.latency is not None})
    notes = [f"the baseline is {baseline}"] if baseline else []
    if len(nodes) < 2:
        notes.append(f"all was measured on one system ({', '.join(nodes) or 'none'})")
    for node in nodes:
        ratios = [r.ratio for r in rows if r.node == node and r.ratio and node != baseline]
        if ratios:
            mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
            notes.append(f"{node}: ×{mean:.3g} (geometric mean of {len(ratios)})")
    return figure("normalised-latency", "Latency normalised to one system", rows, notes)


def _like(point: Point) -> tuple[str, ...]:
    """What must be the same on both systems: the framework's name; versions are in the rows."""
    place = point.place
    framework = place.framework.partition(" ")[0]
    return place.model, framework, place.setting, str(point.batch_size)


def _ratio(point: Point, base: Point | None, baseline: str) -> Normalised:
    own = point.latency
    other = base.latency if base else None
    na: dict[str, str] = {}
    if own is None:
        na["latency_ns"] = point.why
    if other is None:
        na["baseline_ns"] = base.why if base else f"{baseline or 'the baseline'} did not measure it"
    ratio = low = high = None
    if own is not None and other is not None and own.p50_ns and other.p50_ns:
        ratio = own.p50_ns / other.p50_ns
        low, high = _reach(own, other) if point is not base else (1.0, 1.0)
        if low is None:
            na |= dict.fromkeys(("ratio_low", "ratio_high"), "needs 6 queries on both systems")
    else:
        why = next(iter(na.values()), NOT_RUN)
        na |= dict.fromkeys(("ratio", "ratio_low", "ratio_high"), why)
    return Normalised(
        **about(point.place),
        analysis="normalised-latency",
        na=na,
        batch_size=point.batch_size,
        latency_ns=own.p50_ns if own else None,
        baseline_ns=other.p50_ns if other else None,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
    )


def _reach(own: LatencyRow, other: LatencyRow) -> tuple[float | None, float | None]:
    if not own.median_low_ns or not own.median_high_ns:
        return None, None
    if not other.median_low_ns or not other.median_high_ns:
        return None, None
    return own.median_low_ns / other.median_high_ns, own.median_high_ns / other.median_low_ns


# ------------------------------------------------------------------ answers


def figure(
    name: str, title: str, rows: Sequence[Row], notes: Iterable[str] = (), why: str = ""
) -> Answer:
    """Rows under the name of their figure; without any, why there are none."""
    none = why or "nothing of the study was measured"
    return Answer(
        analysis=name,
        name=name,
        title=title,
        rows=rows,
        notes=list(notes),
        unavailable="" if rows else none,
    )
