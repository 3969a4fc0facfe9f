"""The measured loop of runs in which a profiler reads its counters around each predict.

It is apart from `measure` so that the levels that nobody looks at so closely do not pay for it.
Progress is told between queries here: a thread that tells it would be in what is counted.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import Cancelled
from .measure import PROGRESS_S, Batch
from .trace import Times, now_ns

PROGRESS_NS = round(PROGRESS_S * 1e9)


class Hook(Protocol):
    """What a profiler does around each predict."""

    def before(self, query: int) -> None: ...

    def after(self, query: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Predicting:
    """What is called, on what, and who looks on."""

    predict: Callable[[Any, Batch], Any]
    handle: Any
    batches: Sequence[Batch]
    hooks: Sequence[Hook] = ()


def measure_hooked(
    what: Predicting,
    due_ns: array[int],
    times: Times,
    cancelled: threading.Event,
    tell: Callable[[], None],
) -> None:
    """As `measure`; the hooks are called outside the two readings of the clock."""
    starts_ns, durations_ns, batches = times.starts_ns, times.durations_ns, what.batches
    predict, handle = what.predict, what.handle
    before = [hook.before for hook in what.hooks]
    after = [hook.after for hook in reversed(what.hooks)]
    first_ns = told_ns = now_ns()
    for query, due in enumerate(due_ns):
        if due:
            cancelled.wait(max(0, first_ns + due - now_ns()) / 1e9)
        if cancelled.is_set():
            raise Cancelled
        batch = batches[query % len(batches)]
        for read in before:
            read(query)
        start_ns = now_ns()
        answer = predict(handle, batch)
        end_ns = now_ns()
        for read in after:
            read(query)
        del answer
        starts_ns[query] = start_ns
        durations_ns[query] = end_ns - start_ns
        times.done = query + 1
        if end_ns - told_ns > PROGRESS_NS:
            told_ns = end_ns
            tell()
