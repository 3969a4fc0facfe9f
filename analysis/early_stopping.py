"""How many queries a claim about a latency percentile takes: MLPerf's early stopping rule.

The number of queries over a bound, if a share of 1 - p of them all were, is binomial. t of n are
few enough when so few would be seen with a chance of 1 - c at most (mlcommons/inference,
loadgen/early_stopping.cc; c = 0.99, tolerance 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

CONFIDENCE = 0.99


class EarlyStopping(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule says of a run. estimate_ns: the percentile that it vouches for.

    over: queries beyond the bound, or discarded for the estimate. needs_more: how many more
    queries it would take, each of them under the bound.
    """

    met: bool
    queries: int
    over: int
    needs_more: int = 0
    estimate_ns: int | None = None
    text: str


def chance(n: int, over: int, percentile: float) -> float:
    """P[Binomial(n, 1 - percentile) <= over]."""
    if over >= n:
        return 1.0
    steps = np.arange(over)
    ratios = np.log((n - steps) / (steps + 1)) + math.log((1 - percentile) / percentile)
    logs = n * math.log(percentile) + np.concatenate([[0.0], np.cumsum(ratios)])
    return float(min(1.0, np.exp(logs).sum()))


def least_queries(over: int, percentile: float) -> int:
    """The smallest n of which `over` queries may be over the bound."""
    low, high = over, max(2 * over, 1)
    while chance(high, over, percentile) > 1 - CONFIDENCE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if chance(middle, over, percentile) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def most_over(n: int, percentile: float) -> int:
    """The largest number of over-bound queries that n can bear; -1: not even none."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if chance(n, middle, percentile) <= 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def of_bound(latencies_ns: Sequence[int], percentile: float, bound_ns: int) -> EarlyStopping:
    """Of the server scenario: were few enough queries over its bound?"""
    n, over = len(latencies_ns), sum(latency > bound_ns for latency in latencies_ns)
    least = least_queries(over, percentile)
    more = max(0, least - n)
    text = f"{over} of {n:,} over the bound: needs {least:,}"
    if more:
        text += f", would need {more:,} more, each under the bound"
    return EarlyStopping(met=not more, queries=n, over=over, needs_more=more, text=text)


def of_estimate(latencies_ns: Sequence[int], percentile: float) -> EarlyStopping:
    """Of single_stream and multi_stream: the percentile's estimate, sorted[n - t]."""
    n, least = len(latencies_ns), least_queries(1, percentile)
    name = f"p{100 * percentile:g}"
    if n < least:
        text = f"{n:,} queries: {name} needs {least:,}, would need {least - n:,} more"
        return EarlyStopping(met=False, queries=n, over=0, needs_more=least - n, text=text)
    over = most_over(n, percentile)
    found = sorted(latencies_ns)[n - over]
    text = (
        f"{n:,} queries, the {over - 1:,} slowest discarded: {name} is at most {found / 1e6:.3f} ms"
    )
    return EarlyStopping(met=True, queries=n, over=over - 1, estimate_ns=found, text=text)
