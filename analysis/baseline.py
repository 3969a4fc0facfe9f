"""A new figure against the history of its like: is it slower than what has been normal lately?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from analysis.change_points import change_points
from analysis.proportions import Share, share

FEWEST = 5
"""Earlier runs since the last change without which nothing is said."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a history: its evaluation, when, and its median in ns."""

    evaluation_id: str
    at_ns: int
    median_ns: float


class BaselineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size against its history.

    changes: evaluations with which a new stretch begins, oldest first (E-divisive); normal: the
    runs since the last one. verdict: slower or faster where the new run lies beyond every normal
    one, and beyond their middle by more than the tolerance. chance: of n runs that are all alike
    the last is the slowest with probability 1 / (n + 1). false_alarms: of the normal runs, each
    judged against those before it, how many would have been called slower or faster: they are runs
    of the same thing (an A/A test).
    """

    batch_size: int
    history: int
    changes: list[str]
    normal: int
    median_ns: float
    normal_low_ns: float | None = None
    normal_median_ns: float | None = None
    normal_high_ns: float | None = None
    ratio: float | None = None
    verdict: Literal["slower", "faster", "normal", "too few runs"]
    chance: float | None = None
    false_alarms: Share
    text: str = ""


def against_history(
    batch_size: int, history: Sequence[Point], new: Point, tolerance: float
) -> BaselineRow:
    """Judge a run against earlier ones, the oldest first. Medians are compared as logarithms."""
    changes = change_points([math.log(point.median_ns) for point in history])
    normal = history[changes[-1] :] if changes else history
    times = [point.median_ns for point in normal]
    verdict = _verdict(times, new.median_ns, tolerance)
    ordered = sorted(times)
    middle = ordered[(len(ordered) - 1) // 2] if ordered else None
    row = BaselineRow(
        batch_size=batch_size,
        history=len(history),
        changes=[history[at].evaluation_id for at in changes],
        normal=len(normal),
        median_ns=new.median_ns,
        normal_low_ns=ordered[0] if ordered else None,
        normal_median_ns=middle,
        normal_high_ns=ordered[-1] if ordered else None,
        ratio=new.median_ns / middle if middle else None,
        verdict=verdict,
        chance=1 / (len(normal) + 1) if verdict != "too few runs" else None,
        false_alarms=false_alarms(times, tolerance),
    )
    return msgspec.structs.replace(row, text=_in_words(row))


def false_alarms(times: Sequence[float], tolerance: float) -> Share:
    """Runs of one and the same thing, each judged against those before it."""
    verdicts = [_verdict(times[:at], times[at], tolerance) for at in range(FEWEST, len(times))]
    return share(sum(verdict in ("slower", "faster") for verdict in verdicts), len(verdicts))


def _verdict(
    normal: Sequence[float], new: float, tolerance: float
) -> Literal["slower", "faster", "normal", "too few runs"]:
    if len(normal) < FEWEST:
        return "too few runs"
    middle = sorted(normal)[(len(normal) - 1) // 2]
    if new > max(normal) and new > middle * (1 + tolerance):
        return "slower"
    return "faster" if new < min(normal) and new < middle / (1 + tolerance) else "normal"


def _in_words(row: BaselineRow) -> str:
    if row.verdict == "too few runs":
        text = f"{row.normal} comparable runs since the last change; needs {FEWEST}"
        return f"{text}: {FEWEST - row.normal} more"
    against = f"×{row.ratio:.3f} of the median of {row.normal} runs"
    if row.verdict == "normal":
        return f"normal: {against}"
    return f"{row.verdict} than all {row.normal} runs: {against}; by chance 1 in {row.normal + 1}"
