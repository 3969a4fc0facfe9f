"""The measured loop of runs in which a profiler reads its counters around each predict.

It is apart from `measure` so that the levels that nobody looks at so closely do not pay for it.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import Cancelled
from .measure import Batch, measure
from .trace import Times, now_ns


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

    def measure(self, due_ns: array[int], times: Times, cancelled: threading.Event) -> None:
        """Issue every query of a plan and store when each ran."""
        if self.hooks:
            measure_hooked(self, due_ns, times, cancelled)
        else:
            measure(self.predict, self.handle, self.batches, due_ns, times, cancelled)


def measure_hooked(
    what: Predicting, due_ns: array[int], times: Times, cancelled: threading.Event
) -> None:
    """As `measure`; the hooks are called outside the two readings of the clock."""
    starts_ns, durations_ns, batches = times.starts_ns, times.durations_ns, what.batches
    predict, handle = what.predict, what.handle
    before = [hook.before for hook in what.hooks]
    after = [hook.after for hook in reversed(what.hooks)]
    first_ns = now_ns()
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
