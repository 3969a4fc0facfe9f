"""What must be said of a series of times beside its middle: outliers, drift, warm-up, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from analysis.resampling import (
    FEWEST,
    Interval,
    Values,
    autocorrelation,
    block_length,
    drawn_medians,
    interval,
    is_correlated,
    ranks,
)

FENCE = 3.0
"""Tukey's far fence: beyond the quartiles by so many times their distance."""
BATCH = 5
"""MSER-5 looks at means of so many values."""
WORTH = 0.05
"""A warm-up is told where its median differs from the rest's by more than this part."""
DRIFT_WORTH = 0.02
SURE = 0.01
"""A drift is told where chance makes one as strong in fewer than 1 of 100 series."""
FEWEST_JUDGED = 20


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """A series in the order in which it was measured; times in ns.

    Nothing is dropped: outliers are counted, and belong to every other figure. median: with its
    bootstrap interval, drawn in blocks of `block` neighbours (1: they do not depend on each other).
    warmup_queries: how many at the beginning are of another kind than the rest. drift_percent: how
    much slower the last third is than the first, None where that may be chance. notes: all that
    deserves a reader's attention, in words.
    """

    queries: int
    median: Interval | None = None
    block: int = 1
    autocorrelation: float = 0.0
    autocorrelated: bool = False
    outliers: int = 0
    outlier_limit_ns: float | None = None
    slowest_ns: int = 0
    warmup_queries: int = 0
    drift_percent: float | None = None
    notes: list[str] = []


def statistics_of(durations_ns: Sequence[int]) -> Statistics:
    """Look at a series of times as a whole; fewer than 20 of them say little, and so does this."""
    values, n = np.asarray(durations_ns, np.float64), len(durations_ns)
    if n < FEWEST:
        return Statistics(queries=n, slowest_ns=max(durations_ns, default=0))
    middle = float(np.partition(values, (n - 1) // 2)[(n - 1) // 2])
    found = Statistics(
        queries=n,
        median=interval(middle, drawn_medians(values)),
        block=block_length(values),
        autocorrelation=autocorrelation(values),
        autocorrelated=is_correlated(values),
        slowest_ns=int(values.max()),
    )
    if n < FEWEST_JUDGED:
        return found
    limit = far_fence(values)
    found = msgspec.structs.replace(
        found,
        outliers=int(np.count_nonzero(values > limit)),
        outlier_limit_ns=limit,
        warmup_queries=warmup(values),
        drift_percent=drift(values),
    )
    return msgspec.structs.replace(found, notes=_notes(found, middle))


def far_fence(values: Values) -> float:
    """What lies above it is an outlier: Q3 + 3 (Q3 - Q1) (Tukey, Exploratory Data Analysis, 2C)."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high + FENCE * (high - low))


def warmup(values: Values) -> int:
    """How many values at the beginning are still warm-up; 0: none that matters.

    MSER-5 (White, Cobb and Spratt, A Comparison of Five Steady-State Truncation Heuristics, 2000):
    of the means of five, cut where the standard error of what is left is smallest, in the first
    half; told only where the median of what is cut differs from the rest's by more than 5 %.
    """
    means = values[: len(values) // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    # Each tail's mean and spread by cumulative sums from the end.
    back = means[::-1] - means.mean()
    counts = np.arange(1, len(means) + 1)
    sums, squares = np.cumsum(back), np.cumsum(back * back)
    errors = ((squares - sums * sums / counts) / counts**2)[::-1]
    cut = int(np.argmin(errors[: max(1, len(means) // 2)])) * BATCH
    if not cut:
        return 0
    before, after = np.median(values[:cut]), np.median(values[cut:])
    return cut if abs(before - after) > WORTH * after else 0


def drift(values: Values) -> float | None:
    """By how many percent the last third is slower than the first; None where nothing moved.

    Spearman's correlation of the times with their order (Daniels, Rank Correlation and Population
    Models, 1950), of as many values as are independent: n (1 - ρ) / (1 + ρ).
    """
    n = len(values)
    order = ranks(values)
    strength = float(np.corrcoef(order, np.arange(n))[0, 1]) if np.ptp(order) else 0.0
    rho = max(autocorrelation(values), 0.0)
    independent = max(n * (1 - rho) / (1 + rho), 2.0)
    third = n // 3
    first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
    change = last / first - 1 if first else 0.0
    chance = math.erfc(abs(strength) * math.sqrt(independent - 1) / math.sqrt(2))
    return 100 * change if chance < SURE and abs(change) > DRIFT_WORTH else None


def _notes(found: Statistics, middle_ns: float) -> list[str]:
    notes = []
    if found.outliers:
        times = found.slowest_ns / middle_ns if middle_ns else 0.0
        part = f"{found.outliers} of {found.queries} queries are outliers"
        notes.append(f"{part} (kept): the slowest took ×{times:.1f} the median")
    if found.warmup_queries:
        notes.append(f"the first {found.warmup_queries} queries were still warming up (MSER-5)")
    if found.drift_percent is not None:
        notes.append(f"drift: the last third is {found.drift_percent:+.1f} % against the first")
    if found.autocorrelated:
        text = f"neighbours are alike (lag-1 correlation {found.autocorrelation:.2f})"
        notes.append(f"{text}: intervals are drawn in blocks of {found.block}")
    return notes
