"""When each query of a run is due: pure functions of (load, seed), in ns from the first."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator

from .scenario import MAX_QUERIES, NS, Load


def due_of(load: Load, replay_ns: Iterable[int] = (), seed: str = "") -> array[int]:
    """The due times of a load whose queries arrive; the same arguments always give the same.

    As many as both minima take, and no more than the maxima allow.
    """
    if load.name == "replay":
        return _replayed(load, replay_ns)
    if load.name == "burst":
        return _until(load, bursts(load.target_qps, load.burst_size))
    return _until(load, poisson(load.target_qps, seed or f"{load.seed}/schedule"))


def poisson(rate_qps: float, seed: str) -> Iterator[int]:
    """A Poisson process from 0 on: exponential gaps from the Mersenne Twister.

    As the original's load generator has it (rai-project/synthetic_load) and MLPerf's; the numbers
    drawn are Python's own.
    """
    draw, due_s = random.Random(seed).expovariate, 0.0
    while True:
        yield round(due_s * NS)
        due_s += draw(rate_qps)


def bursts(rate_qps: float, size: int) -> Iterator[int]:
    """`size` queries at one instant, then again after as long as keeps the mean rate."""
    burst = 0
    while True:
        due_ns = round(burst * size / rate_qps * NS)
        for _ in range(size):
            yield due_ns
        burst += 1


def at_once(queries: int) -> array[int]:
    """So many queries that wait for nothing but the one before them."""
    return array("q", bytes(8 * queries))


def _until(load: Load, arriving: Iterator[int]) -> array[int]:
    most = min(load.max_queries or MAX_QUERIES, MAX_QUERIES)
    due = array("q")
    for due_ns in arriving:
        if len(due) >= most or (load.max_ns and due_ns > load.max_ns and due):
            break
        due.append(due_ns)
        if due_ns >= load.min_ns and len(due) >= load.min_queries:
            break
    return due


def _replayed(load: Load, replay_ns: Iterable[int]) -> array[int]:
    due = array("q", replay_ns)
    if load.max_queries:
        due = due[: load.max_queries]
    if load.max_ns:
        due = array("q", [due_ns for due_ns in due if due_ns <= load.max_ns])
    return due


def sample_order(load: Load, batches: int, calls: int) -> array[int]:
    """Which batch each call is fed; with replacement, contiguous within a query.

    Performance runs draw uniformly from what is loaded, as LoadGen's do; offline repeats it in
    order. Where each is to be issued once, the order is a permutation.
    """
    draw = random.Random(f"{load.seed}/samples")
    if load.once:
        order = [*range(batches)]
        draw.shuffle(order)
        return array("q", order)
    if load.samples == "in turn" or batches == 1:
        return array("q", range(batches))
    queries, each = -(-calls // load.calls_per_query), load.calls_per_query
    firsts = [int(draw.random() * batches) for _ in range(queries)]
    return array("q", [(first + call) % batches for first in firsts for call in range(each)])
