"""The measured loops of a load: one query on the completion of another, or each when it is due.

Their own cost lies between two queries, or between a query's due time and its call: nothing here
is done that could be done before or after.
"""

from __future__ import annotations

import itertools
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import Cancelled
from .measure import Batch
from .measure_hooked import Hook
from .trace import Times, now_ns

SPIN_NS = 150_000
"""So long before a query is due its thread wakes and looks at the clock without sleeping."""
SLICE_NS = 50_000_000
"""A cancel is heard so soon while waiting."""
FOREVER_NS = 1 << 62
FIRST_ROOM = 4096


class Ticks:
    """The clock that a loop reads and waits by; tests have one whose time is their own."""

    def __init__(self, spin_ns: int = SPIN_NS) -> None:
        self._spin_ns = spin_ns

    now_ns = staticmethod(now_ns)

    def wait_until(self, at_ns: int, cancelled: threading.Event) -> None:
        """Return at that time, or at once if it has passed."""
        while (left_ns := at_ns - now_ns()) > self._spin_ns:
            if cancelled.is_set():
                return
            time.sleep(min(left_ns - self._spin_ns, SLICE_NS) / 1e9)
        while now_ns() < at_ns:
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What is called, on what, in which order, and who looks on."""

    predict: Callable[[Any, Batch], Any]
    handle: Any
    batches: Sequence[Batch]
    order: array[int]
    cancelled: threading.Event
    hooks: Sequence[Hook] = ()
    ticks: Ticks = field(default_factory=Ticks)


def one_by_one(
    calls: Calls, each: int, times: Times, ended: Callable[[int, int, Times], str]
) -> str:
    """Issue queries of `each` calls, the next on the completion of the last; why it ended.

    ended(queries, issued_ns, times) is asked between two queries and says why to stop, or nothing;
    issued_ns: when the last was issued, from the first.
    """
    predict, handle, clock = calls.predict, calls.handle, calls.ticks.now_ns
    batches, order, count = calls.batches, calls.order, len(calls.order)
    before = [hook.before for hook in calls.hooks]
    after = [hook.after for hook in reversed(calls.hooks)]
    is_cancelled = calls.cancelled.is_set
    call = query = 0
    times.begin_ns = first_ns = clock()
    while True:
        if len(times.starts_ns) < call + each:
            times.grow(max(call + each, 2 * call, FIRST_ROOM))
        starts_ns, durations_ns = times.starts_ns, times.durations_ns
        for _ in range(each):
            if is_cancelled():
                raise Cancelled
            batch = batches[order[call % count]]
            for read in before:
                read(call)
            start_ns = clock()
            answer = predict(handle, batch)
            end_ns = clock()
            for read in after:
                read(call)
            del answer  # after the second reading: freeing it is not part of the prediction
            starts_ns[call] = start_ns
            durations_ns[call] = end_ns - start_ns
            call += 1
            times.done = call
        query += 1
        if why := ended(query, starts_ns[call - each] - first_ns, times):
            times.trim(call)
            return why


@dataclass(frozen=True, slots=True)
class Giving:
    """When an open loop ends before its last query. late: over-bound queries that are too many."""

    max_ns: int = FOREVER_NS
    bound_ns: int = FOREVER_NS
    late: int = FOREVER_NS


def arriving(
    calls: Calls, each: int, due_ns: array[int], threads: int, giving: Giving, times: Times
) -> str:
    """Issue each query when it is due, or as soon after as a thread is free; why it ended.

    One queue, first come first served: a thread that is free takes the next query and waits until
    that is due. What is late is issued at once, so the queue is the plan itself.
    """
    times.grow(len(due_ns) * each)
    loop = _Arriving(calls, each, due_ns, giving, times)
    if threads == 1:
        loop.serve()
    else:
        helpers = [threading.Thread(target=loop.serve_here, daemon=True) for _ in range(threads)]
        for helper in helpers:
            helper.start()
        for helper in helpers:
            helper.join()
    if loop.failed:
        raise loop.failed[0]
    if calls.cancelled.is_set():
        raise Cancelled
    return loop.why[0] if loop.why else "every query was issued"


def keep_whole(times: Times, each: int) -> np.ndarray:
    """The numbers of the queries whose calls were all made; the times of no others stay."""
    starts = np.array(times.starts_ns, np.int64).reshape(-1, each)
    kept = np.flatnonzero(starts.all(axis=1))
    took = np.array(times.durations_ns, np.int64).reshape(-1, each)[kept]
    times.starts_ns = array("q", starts[kept].ravel().tolist())
    times.durations_ns = array("q", took.ravel().tolist())
    times.done = len(times.starts_ns)
    return kept


class _Arriving:
    """What the threads of an open loop share. Each step on it is one of the interpreter's own."""

    def __init__(
        self, calls: Calls, each: int, due_ns: array[int], giving: Giving, times: Times
    ) -> None:
        self._calls, self._each, self._due_ns = calls, each, due_ns
        self._giving, self._times = giving, times
        self._numbers = itertools.count()
        self._late: list[int] = []
        self.why: list[str] = []
        self.failed: list[BaseException] = []
        times.begin_ns = calls.ticks.now_ns()

    def serve_here(self) -> None:
        try:
            self.serve()
        except BaseException as error:  # told where the threads are joined
            self.failed.append(error)
            self.why.append("an error")

    def serve(self) -> None:
        """Take queries until there are no more."""
        calls, each, times, giving = self._calls, self._each, self._times, self._giving
        predict, handle, clock = calls.predict, calls.handle, calls.ticks.now_ns
        wait_until, cancelled = calls.ticks.wait_until, calls.cancelled
        batches, order, count = calls.batches, calls.order, len(calls.order)
        starts_ns, durations_ns = times.starts_ns, times.durations_ns
        before = [hook.before for hook in calls.hooks]
        after = [hook.after for hook in reversed(calls.hooks)]
        due_ns, first_ns, take, why = self._due_ns, times.begin_ns, self._numbers, self.why
        queries, bound_ns, max_ns = len(due_ns), giving.bound_ns, giving.max_ns
        while not why:
            query = next(take)
            if query >= queries:
                return
            at_ns = first_ns + due_ns[query]
            wait_until(at_ns, cancelled)
            if cancelled.is_set():
                raise Cancelled
            for call in range(query * each, query * each + each):
                batch = batches[order[call % count]]
                for read in before:
                    read(call)
                start_ns = clock()
                if start_ns - first_ns > max_ns:
                    why.append("max_duration")
                    starts_ns[query * each] = 0
                    return
                answer = predict(handle, batch)
                end_ns = clock()
                for read in after:
                    read(call)
                del answer
                starts_ns[call] = start_ns
                durations_ns[call] = end_ns - start_ns
            times.done = query * each + each
            if end_ns - at_ns > bound_ns:
                self._late.append(query)
                if len(self._late) >= giving.late:
                    why.append("the bound cannot be held any more")
