"""Intervals by bootstrap: what a repetition of the whole measurement might have said instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 4_000
SEED = 20_260_101
TAILS = (2.5, 97.5)

Statistic = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A value, and where 95 % of the resampled ones lie."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """The interval's width as a part of the value."""
        return (self.high - self.low) / abs(self.value) if self.value else float("inf")


def exactly(value: float) -> Interval:
    """A value that no chance is in."""
    return Interval(value, value, value)


def median_ratio(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The median of the pairs' ratios: a slow minute of the machine slows both sides of a pair."""
    return np.asarray(np.median(ours / theirs, axis=-1))


def difference_of_medians(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return np.asarray(np.median(ours, axis=-1) - np.median(theirs, axis=-1))


def bootstrap(
    statistic: Statistic, ours: Sequence[float], theirs: Sequence[float], seed: int = SEED
) -> Interval:
    """A statistic of pairs and its 95 % interval: whole pairs are drawn again, with replacement."""
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    if len(a) != len(b) or not len(a):
        raise ValueError(f"pairs are compared: got {len(a)} and {len(b)} values")
    drawn = np.random.default_rng(seed).integers(0, len(a), (DRAWS, len(a)))
    low, high = np.percentile(statistic(a[drawn], b[drawn]), TAILS)
    return Interval(float(statistic(a, b)), float(low), float(high))
