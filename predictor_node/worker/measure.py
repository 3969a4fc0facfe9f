"""The measured loop: the only code whose own cost lies between two queries."""

from __future__ import annotations

import gc
import threading
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import Cancelled
from .heap import heap
from .trace import Times, now_ns

PROGRESS_S = 0.2
SETTLED_RATIO = 1.05
SETTLED_QUERIES = 10

Batch = Mapping[str, np.ndarray]


@contextmanager
def quiet_collector(generation: int = 2) -> Iterator[None]:
    """No garbage collection inside: its pauses would land on whichever query is running.

    Before it begins, what is new of this generation and the younger ones is collected, and all that
    is alive is taken out of the next collection, so that the first one after the run does not walk
    every module that a framework brought with it.
    """
    was_enabled = gc.isenabled()
    heap.settle(generation)
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def progress(
    say: Callable[[dict[str, Any]], None], run: int, phase: str, total: int, times: Times
) -> Iterator[None]:
    """Tell how far the loop is, five times a second, from a thread that only reads its counter.

    It has begun to wait before the loop does: what it costs to start is no query's.
    """
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(PROGRESS_S):
            done = {"said": "progress", "run": run, "phase": phase, "done": times.done}
            say({**done, "total": total})

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def measure(
    predict: Callable[[Any, Batch], Any],
    handle: Any,
    batches: Sequence[Batch],
    due_ns: array[int],
    times: Times,
    cancelled: threading.Event,
) -> None:
    """Issue every query of a plan, cycling through the batches, and store when each ran."""
    starts_ns, durations_ns = times.starts_ns, times.durations_ns
    is_cancelled, batch_count = cancelled.is_set, len(batches)
    which = 0
    first_ns = now_ns()
    for query, due in enumerate(due_ns):
        if due:
            cancelled.wait(max(0, first_ns + due - now_ns()) / 1e9)
        if is_cancelled():
            raise Cancelled
        batch = batches[which]
        start_ns = now_ns()
        answer = predict(handle, batch)
        end_ns = now_ns()
        del answer  # after the second reading: freeing it is not part of the prediction
        starts_ns[query] = start_ns
        durations_ns[query] = end_ns - start_ns
        times.done = query + 1
        which += 1
        if which == batch_count:
            which = 0


def settled(durations_ns: array[int]) -> bool:
    """Whether the second half of a run was as fast as the first, so that it needs no more warm-up.

    The halves' medians differ by at most 5 %; fewer than ten queries cannot tell.
    """
    if len(durations_ns) < SETTLED_QUERIES:
        return False
    half = len(durations_ns) // 2
    low, high = sorted((np.median(durations_ns[:half]), np.median(durations_ns[half:])))
    return bool(high <= low * SETTLED_RATIO)
