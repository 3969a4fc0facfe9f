"""Figures as shapes: where each bar and each point of a drawing lies, for a template to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.latency import LatencyRow, MeasuredRun, measured_runs
from analysis.layers import LayerRow
from bus.messages import LEVELS, Message, MetricsRecorded, RunMeasured
from mlmodelscope.answer_words import counted, number

WIDTH, HEIGHT = 600.0, 160.0
BINS = 40


@dataclass(frozen=True)
class Bar:
    """One bar of a drawing, and what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    title: str
    label: str = ""


@dataclass(frozen=True)
class Line:
    """One quantity over time: the points of its line, where it began and ended in seconds, its
    ends in words."""

    title: str
    points: str
    low: str
    high: str
    begin: str
    end: str
    samples: int


@dataclass(frozen=True)
class Figure:
    """A drawing of bars; low and high are the ends of its axis."""

    title: str
    bars: list[Bar]
    low: str
    high: str


def distribution(facts: Sequence[Message]) -> list[Figure]:
    """How often a predict took how long: one figure a batch size, of its shallowest run."""
    shallowest: dict[tuple[str, int], MeasuredRun] = {}
    for run in measured_runs([fact for fact in facts if isinstance(fact, RunMeasured)]):
        key = (run.job_id, run.batch_size)
        known = shallowest.get(key)
        if known is None or LEVELS.index(run.level) < LEVELS.index(known.level):
            shallowest[key] = run
    return [
        _histogram(f"batch {run.batch_size or 'unknown'}", np.array(run.durations_ns) / 1e6)
        for _, run in sorted(shallowest.items())
        if len(run.durations_ns) > 1
    ]


def _histogram(title: str, values_ms: np.ndarray) -> Figure:
    # A few outliers must not leave all others in one bar: the last one holds them.
    high = float(np.quantile(values_ms, 0.99))
    low = float(values_ms.min())
    high = high if high > low else low * 1.01 + 1e-6
    counts, edges = np.histogram(np.minimum(values_ms, high), BINS, (low, high))
    tallest, width = counts.max(), WIDTH / BINS
    bars = [
        Bar(
            x=at * width,
            y=HEIGHT - HEIGHT * count / tallest,
            width=width - 1,
            height=HEIGHT * count / tallest,
            title=f"{count} of {edges[at]:.3g}–{edges[at + 1]:.3g} ms",
        )
        for at, count in enumerate(counts.tolist())
        if count
    ]
    return Figure(f"{title}: {len(values_ms)} queries", bars, f"{low:.3g} ms", f"≥ {high:.3g} ms")


def throughput(rows: Sequence[LatencyRow]) -> Figure | None:
    """Inputs a second over the batch size; None below two batch sizes."""
    shown = [row for row in rows if row.throughput]
    if len(shown) < 2:
        return None
    tallest = max(row.throughput or 0 for row in shown)
    width = WIDTH / len(shown)
    bars = [
        Bar(
            x=at * width + width * 0.15,
            y=HEIGHT - HEIGHT * (row.throughput or 0) / tallest,
            width=width * 0.7,
            height=HEIGHT * (row.throughput or 0) / tallest,
            title=f"batch {row.batch_size}: {row.throughput:.1f} inputs/s",
            label=f"batch {row.batch_size}: {row.throughput:.0f}/s",
        )
        for at, row in enumerate(shown)
    ]
    return Figure("Throughput over batch size", bars, "", "")


# ------------------------------------------------------------------ over time

POINTS = 300
KINDS = 8
"""Operators that have a colour of their own; the rest shares one."""


def lines(metrics: Sequence[MetricsRecorded]) -> list[Line]:
    """Each sampled quantity of each run over time, from the first sample of all on."""
    found: dict[tuple[str, str, str, int], list[tuple[int, float]]] = {}
    for batch in metrics:
        key = (batch.node_id, batch.name, batch.unit, batch.run)
        found.setdefault(key, []).extend(zip(batch.times_ns, batch.values, strict=True))
    told = {key: sorted(pairs) for key, pairs in found.items() if pairs}
    first_ns = {
        node: min(pairs[0][0] for key, pairs in told.items() if key[0] == node)
        for node in {key[0] for key in told}
    }
    return [
        _line(f"{name}{_of_run(run)}", unit, pairs, first_ns[node])
        for (node, name, unit, run), pairs in sorted(told.items())
    ]


def _of_run(run: int) -> str:
    return "" if run < 0 else f", run {run}"


def _line(title: str, unit: str, pairs: list[tuple[int, float]], first_ns: int) -> Line:
    times = np.array([at for at, _ in pairs], np.float64) - first_ns
    values = np.array([value for _, value in pairs], np.float64)
    low, high = float(values.min()), float(values.max())
    span, reach = (times[-1] - times[0]) or 1.0, (high - low) or 1.0
    kept = _kept(values)
    x = (times[kept] - times[0]) / span * WIDTH
    y = HEIGHT - (values[kept] - low) / reach * HEIGHT if high > low else np.full(len(kept), 80.0)
    return Line(
        title=title,
        points=" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)),
        low=_amount(low, unit),
        high=_amount(high, unit),
        begin=_instant(times[0]),
        end=_instant(times[-1]),
        samples=len(pairs),
    )


def _instant(at_ns: float) -> str:
    return f"{at_ns / 1e9:.2f} s" if at_ns >= 1e8 else f"{at_ns / 1e6:.3g} ms"


def _kept(values: np.ndarray) -> np.ndarray:
    """Which samples are drawn: all, or the lowest and the highest of each piece."""
    if len(values) <= 2 * POINTS:
        return np.arange(len(values))
    pieces = np.array_split(np.arange(len(values)), POINTS)
    ends = [(piece[values[piece].argmin()], piece[values[piece].argmax()]) for piece in pieces]
    return np.unique(np.concatenate([[0, len(values) - 1], *ends]))


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        large = abs(value) >= 2**20
        return f"{value / 2**20:,.1f} MiB" if large else f"{value / 2**10:,.1f} KiB"
    return f"{counted(value) if abs(value) >= 1e5 else number(value)} {unit}".strip()


@dataclass(frozen=True)
class Piece:
    """One layer in the strip of one predict; kind: which colour."""

    x: float
    width: float
    kind: int
    title: str


@dataclass(frozen=True)
class Strip:
    """A predict from its first layer to its last: medians, one after the other."""

    pieces: list[Piece]
    kinds: list[str]
    total: str


def strip(rows: Sequence[LayerRow]) -> Strip | None:
    """Layers in the order in which they run, each as wide as it takes long."""
    ordered = sorted((row for row in rows if row.median_ns > 0), key=lambda row: row.index)
    whole_ns = sum(row.median_ns for row in ordered)
    if not whole_ns:
        return None
    sums: dict[str, int] = {}
    for row in ordered:
        sums[row.operator or "?"] = sums.get(row.operator or "?", 0) + row.median_ns
    kinds = sorted(sums, key=lambda name: -sums[name])
    shown = kinds[:KINDS]
    pieces, at_ns = [], 0
    for row in ordered:
        kind = shown.index(row.operator or "?") if (row.operator or "?") in shown else KINDS
        took = f"{row.operator} {row.name}: {row.median_ns / 1e6:.4g} ms"
        x, width = WIDTH * at_ns / whole_ns, WIDTH * row.median_ns / whole_ns
        pieces.append(Piece(x, width, kind, took))
        at_ns += row.median_ns
    words = [f"{name} {100 * sums[name] / whole_ns:.1f} %" for name in shown]
    if len(kinds) > KINDS:
        rest = sum(sums[name] for name in kinds[KINDS:])
        words.append(f"{len(kinds) - KINDS} others {100 * rest / whole_ns:.1f} %")
    return Strip(pieces, words, f"{whole_ns / 1e6:.4g} ms")
