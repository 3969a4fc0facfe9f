"""The highest rate that holds a latency bound, by either of two published rules; pure.

A rule takes the first rate to try and `holds(rate)`, which runs a probe of that rate with a seed of
its own and says whether the bound held; it gives the highest rate that held, 0 where none did.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .arrivals import due_of
from .scenario import Load

Holds = Callable[[float], bool]

NEAR = 0.01
MOST_QPS = 1e6
LEAST_QPS = 0.01
STEP_DOWN, TRIES = 0.99, 20
DECIMALS = 1


def max_qps(first_qps: float, holds: Holds) -> float:
    """FindMaxQPS of the original (rai-project/synthetic_load), and a last probe of what it found.

    Twice the rate until the bound breaks, then the middle until 1 % is left between. A rate found
    at the edge may have been luck: it must hold once more, or one per cent less, and so on.
    """
    low, high = 0.0, first_qps
    while holds(high):
        low, high = high, 2 * high
        if high > MOST_QPS:
            return low
    while not low or (high - low) / low > NEAR:
        if high < LEAST_QPS:
            return 0.0
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    for _ in range(TRIES):
        if holds(low):
            return low
        low *= STEP_DOWN
    return 0.0


def peak(first_qps: float, holds: Holds) -> float:
    """FindPeak of LoadGen (mlcommons/inference): the first rate must hold, or there is none.

    Twice the rate until the bound breaks, then the middle until both sides, cut off after one
    decimal, are one step apart.
    """
    low = first_qps
    if not holds(low):
        return 0.0
    while holds(2 * low):
        low *= 2
        if low > MOST_QPS:
            return low
    high, scale = 2 * low, 10**DECIMALS
    while math.floor(high * scale) - math.floor(low * scale) > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


RULES: dict[str, Callable[[float, Holds], float]] = {"max_qps": max_qps, "peak": peak}
Issue = Callable[[Load, "array[int]", int], Sequence[int]]
"""Runs a load's queries, each when it is due, until so many are over the bound: their latencies."""


@dataclass(frozen=True, slots=True)
class Found:
    """The rate, 0: none; every probe; which of them is told as the run."""

    rate: float
    probes: list[dict[str, Any]]
    chosen: int


def search(load: Load, issue: Issue) -> Found:
    """Probe after probe by the load's rule; what is told is the last that held at its rate."""
    probes: list[dict[str, Any]] = []
    held: dict[float, int] = {}

    def holds(rate: float) -> bool:
        seed = f"{load.seed}/schedule/{len(probes)}"
        tried = replace(load, target_qps=rate)
        due_ns = due_of(tried, seed=seed)
        late = too_many(load.find, load.percentile, len(due_ns))
        latencies = issue(tried, due_ns, late)
        found_ns = at_rank(load.find, load.percentile, latencies)
        gave_up = len(latencies) < len(due_ns)
        ok = found_ns <= load.bound_ns and not gave_up
        if ok:
            held[rate] = len(probes)
        about = {"target_qps": rate, "queries": len(latencies), "latency_ns": found_ns}
        probes.append({**about, "ok": ok, "gave_up": gave_up, "seed": seed})
        return ok

    rate = RULES[load.find](load.target_qps, holds)
    return Found(rate, probes, held.get(rate, len(probes) - 1))


def rank(find: str, percentile: float, queries: int) -> int:
    """Which of the sorted latencies is the percentile, by the rule's own formula.

    The original takes sorted[ceil(p (n - 1))], LoadGen sorted[int(n p)].
    """
    if find == "max_qps":
        return math.ceil(percentile * (queries - 1))
    return min(int(queries * percentile), queries - 1)


def too_many(find: str, percentile: float, queries: int) -> int:
    """From so many over-bound queries on, the percentile of all of them is over the bound."""
    return queries - rank(find, percentile, queries)


def at_rank(find: str, percentile: float, latencies_ns: Sequence[int]) -> int:
    """The percentile of a probe's latencies, by the rule's own formula."""
    if not latencies_ns:
        return 0
    return sorted(latencies_ns)[rank(find, percentile, len(latencies_ns))]
