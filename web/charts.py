"""Figures as shapes: where each bar and each point of a drawing lies, for a template to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.latency import LatencyRow, MeasuredRun, measured_runs
from bus.messages import LEVELS, Message, RunMeasured

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
