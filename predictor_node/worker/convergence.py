"""When a run may stop: its minima, its maxima, and whether its figure has settled; pure.

What the analyses say of the stored times is theirs to compute; this decides only when to stop, in
a process that knows nothing of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .scenario import Load
from .trace import Times

RESAMPLES = 400
TAILS = (2.5, 97.5)
GROWTH = 1.25
"""So many times as many queries lie between two looks: each look is a chance to stop too early."""
BEHIND = 10
"""A percentile is looked at once so many queries are expected to lie beyond it."""
WARM_BATCH = 5
MOST_BLOCKS = 100


@dataclass(slots=True)
class Stop:
    """Says after each query whether it was the last; "" while the run goes on."""

    load: Load
    exactly: int = 0
    """Just so many queries, and nothing else."""
    next_look: int = 0
    width: float = math.inf
    looks: int = 0
    values_ns: Callable[[Times], np.ndarray] = field(default=lambda times: _calls(times, 1))

    def __post_init__(self) -> None:
        tail = min(self.load.percentile, 1 - self.load.percentile)
        self.next_look = max(self.load.min_queries, math.ceil(BEHIND / max(tail, 1e-9)))

    def __call__(self, queries: int, issued_ns: int, times: Times) -> str:
        load = self.load
        if self.exactly:
            return "every sample was issued" if queries >= self.exactly else ""
        met = queries >= load.min_queries and issued_ns >= load.min_ns
        if met and not load.until_ci:
            return "minima"
        if met and queries >= self.next_look and self._settled(times):
            return "converged"
        if load.max_ns and issued_ns >= load.max_ns:
            return "not converged by max_duration" if load.until_ci else "max_duration"
        if load.max_queries and queries >= load.max_queries:
            return "not converged by max_queries" if load.until_ci else "max_queries"
        return ""

    def _settled(self, times: Times) -> bool:
        values = self.values_ns(times)
        self.looks += 1
        self.next_look = math.ceil(GROWTH * self.next_look)
        self.width = relative_width(values[warming(values) :], self.load.percentile)
        return self.width <= self.load.until_ci


def query_times(load: Load) -> Callable[[Times], np.ndarray]:
    """How a loop's calls become queries' latencies."""
    return lambda times: _calls(times, load.calls_per_query)


def _calls(times: Times, each: int) -> np.ndarray:
    starts = np.array(times.starts_ns[: times.done], np.int64).reshape(-1, each)
    took = np.array(times.durations_ns[: times.done], np.int64).reshape(-1, each)
    ends: np.ndarray = starts[:, -1] + took[:, -1] - starts[:, 0]
    return ends


def relative_width(values: np.ndarray, percentile: float) -> float:
    """The width of a percentile's 95 % interval as a part of it, by the moving-block bootstrap.

    Künsch, The Jackknife and the Bootstrap for General Stationary Observations (1989): neighbouring
    queries are alike. Blocks of n^(1/3), and no more than a hundred of them, for a machine's own
    ups and downs last longer than many a query. Seeded: the same times always say the same.
    """
    n = len(values)
    if n < 2:
        return math.inf
    size = max(1, round(n ** (1 / 3)), n // MOST_BLOCKS)
    draw = np.random.default_rng(0)
    within = np.arange(size)
    found = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        firsts = draw.integers(0, n - size + 1, -(-n // size))
        drawn = values[(firsts[:, None] + within).ravel()[:n]]
        found[index] = np.quantile(drawn, percentile)
    low, high = np.percentile(found, TAILS)
    middle = float(np.quantile(values, percentile))
    return float(high - low) / middle if middle > 0 else math.inf


def warming(values: np.ndarray) -> int:
    """How many of the first values look like warming up: MSER-5.

    White, An Effective Truncation Heuristic for Bias Reduction in Simulation Output (1997), on
    means of five: the cut that leaves the least standard error; beyond half of them it says nothing
    and there is none.
    """
    means = values[: len(values) // WARM_BATCH * WARM_BATCH].reshape(-1, WARM_BATCH).mean(axis=1)
    count = len(means)
    if count < 4:
        return 0
    left = np.arange(count, 0, -1)
    sums = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means**2)[::-1])[::-1]
    errors = (squares - sums**2 / left) / left**2
    cut = int(np.argmin(errors[: count - 1]))
    return WARM_BATCH * cut if cut <= count // 2 else 0
