"""How much runs of one and the same thing differ among themselves: what one run cannot know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from analysis.resampling import Interval
from bus.messages import HistoryRow, JobStarted

FEWEST = 5
"""Earlier runs without which nothing is known of how they vary."""
Z = 1.959964
UNLOADED = ("", "online", "dataset")
"""Scenarios whose latency is a predict call; of a run that was stored long ago it is not told."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """runs: how many earlier ones. reach: of the logarithm of the ratio of two such runs' medians,
    95 % lie between -reach and reach (Student's t, of the logarithms of the medians)."""

    runs: int
    reach: float

    @property
    def percent(self) -> float:
        """By how many percent two such runs differ at most, 95 times of 100."""
        return 100 * (math.exp(self.reach) - 1)


def spread_of(medians_ns: Sequence[float]) -> Spread | None:
    """From earlier runs' medians; None below five of them."""
    n = len(medians_ns)
    if n < FEWEST:
        return None
    deviation = float(np.std(np.log(medians_ns), ddof=1))
    return Spread(runs=n, reach=_student(n - 1) * deviation * math.sqrt(2))


def spreads(
    started: JobStarted, rows: Sequence[HistoryRow], leave_out: Sequence[str] = ()
) -> dict[int, Spread]:
    """Batch size -> the spread of the stored runs that are like this one, but for `leave_out`.

    Of loads nothing is known: what a query takes under one depends on its rate, which lists do not
    tell.
    """
    if any(run.scenario not in UNLOADED for run in started.runs):
        return {}
    medians: dict[int, list[float]] = {}
    for row in rows:
        if row.evaluation_id in leave_out or not _alike(started, row):
            continue
        unloaded = [run for run in row.runs if run.scenario in UNLOADED]
        shallowest = {run.batch_size: run for run in reversed(unloaded)}
        for size, run in shallowest.items():
            medians.setdefault(size, []).append(float(run.median_ns))
    found = {size: spread_of(times) for size, times in medians.items()}
    return {size: spread for size, spread in found.items() if spread is not None}


def wider(one: Mapping[int, Spread], two: Mapping[int, Spread]) -> dict[int, Spread]:
    """Of two sides' spreads the wider one, for each batch size that one of them knows."""
    both = {size: [side[size] for side in (one, two) if size in side] for size in {**one, **two}}
    return {size: max(found, key=lambda spread: spread.reach) for size, found in both.items()}


def widened(ratio: Interval, reach: float) -> Interval:
    """A ratio's interval with what lies between runs in it: both reaches added as squares."""
    value = math.log(ratio.value)
    low = math.hypot(value - math.log(ratio.low), reach)
    high = math.hypot(math.log(ratio.high) - value, reach)
    return Interval(value=ratio.value, low=math.exp(value - low), high=math.exp(value + high))


def _alike(started: JobStarted, row: HistoryRow) -> bool:
    version = started.framework_version
    return (
        row.model_version == started.model_version
        and row.framework == started.framework
        and version in ("", row.framework_version)
        and row.node_id == started.node_id
        and row.dataset == started.dataset
        and row.origin == "measured"
    )


def _student(freedom: int) -> float:
    """The 97.5 % point of Student's distribution, by Cornish and Fisher's expansion (1937)."""
    z = Z
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
