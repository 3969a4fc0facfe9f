"""A trend as shapes: where each evaluation's point, each level and each change lies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.trends import Trend, trends
from bus.messages import HistoryRow
from mlmodelscope.tables import ago, ms
from web.charts import HEIGHT, WIDTH

MARGIN = 8.0
LEAST_REACH = 0.2
"""The axis reaches so far from the median at least: noise is not to look as large as a change."""


@dataclass(frozen=True)
class Mark:
    """One evaluation: its point, and what it says when it is pointed at."""

    x: float
    y: float
    evaluation: str
    title: str


@dataclass(frozen=True)
class Stretch:
    """A time without change: a line at its median."""

    x1: float
    x2: float
    y: float


@dataclass(frozen=True)
class Plot:
    """A series as a drawing of 600 × 160, and as words."""

    trend: Trend
    marks: list[Mark]
    stretches: list[Stretch]
    cuts: list[float]
    high: str
    low: str
    first: str
    last: str
    summary: str


async def plots(rows: Sequence[HistoryRow], most: int, fewest: int = 2) -> list[Plot]:
    """The longest series of these evaluations; changes are looked for beside the server's loop."""
    found = await asyncio.to_thread(trends, rows, most)
    now_ns = time.time_ns()
    return [plot(trend, now_ns) for trend in found if len(trend.points) >= fewest]


def plot(trend: Trend, now_ns: int) -> Plot:
    """Points evenly apart in the order of time; the axis does not begin at 0, and says where."""
    times = [point.median_ns for point in trend.points]
    middle = sorted(times)[(len(times) - 1) // 2]
    low = min([*times, middle * (1 - LEAST_REACH)])
    high = max([*times, middle * (1 + LEAST_REACH)])
    room, step = HEIGHT - 2 * MARGIN, (WIDTH - 2 * MARGIN) / max(1, len(times) - 1)

    def y(value_ns: float) -> float:
        return round(HEIGHT - MARGIN - room * (value_ns - low) / (high - low), 1)

    marks = [
        Mark(
            x=round(MARGIN + at * step, 1),
            y=y(point.median_ns),
            evaluation=point.evaluation_id,
            title=f"{ms(point.median_ns)} ms, {ago(point.at_ns, now_ns)}, "
            f"{trend.framework} {point.framework_version}".strip(),
        )
        for at, point in enumerate(trend.points)
    ]
    at_of = {point.evaluation_id: at for at, point in enumerate(trend.points)}
    starts = [at_of[change.evaluation_id] for change in trend.changes]
    return Plot(
        trend=trend,
        marks=marks,
        stretches=_stretches(trend, [marks[at].x for at in [0, *starts]], marks[-1].x, y),
        cuts=[round(marks[at].x - step / 2, 1) for at in starts],
        high=f"{ms(high)} ms",
        low=f"{ms(low)} ms",
        first=ago(trend.points[0].at_ns, now_ns),
        last=ago(trend.points[-1].at_ns, now_ns),
        summary=_summary(trend),
    )


def _stretches(trend: Trend, starts: list[float], end: float, y) -> list[Stretch]:  # type: ignore[no-untyped-def]
    if not trend.changes:
        ordered = sorted(point.median_ns for point in trend.points)
        return [Stretch(starts[0], end, y(ordered[(len(ordered) - 1) // 2]))]
    levels = [trend.changes[0].before_ns, *(change.after_ns for change in trend.changes)]
    ends = [*starts[1:], end]
    return [Stretch(a, b, y(v)) for a, b, v in zip(starts, ends, levels, strict=True)]


def _summary(trend: Trend) -> str:
    count = len(trend.points)
    said = f"{count} evaluations, the last one {ms(trend.points[-1].median_ns)} ms"
    if not trend.changes:
        return f"{said}; no change"
    last = trend.changes[-1]
    words = "slower" if last.ratio > 1 else "faster"
    with_what = f", with {', '.join(last.differs)}" if last.differs else ""
    many = "one change" if len(trend.changes) == 1 else f"{len(trend.changes)} changes"
    factor = max(last.ratio, 1 / last.ratio)
    return f"{said}; {many}, at the last ×{factor:.2f} {words}{with_what}"
