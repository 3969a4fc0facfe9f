"""The worker's one clock, and the spans made from what it read.

While measuring, times go into preallocated arrays (Times) and nothing else is made: a span object
costs 2 µs in Python. Spans are made from the arrays afterwards and leave in blocks of 1,000 rows.
"""

import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .frames import pack

LEVELS = ("none", "application", "model", "framework", "library", "system", "hardware", "full")
APPLICATION, MODEL, FRAMEWORK = 1, 2, 3
BLOCK_ROWS = 1000
ANCHOR_READINGS = 9

now_ns = time.perf_counter_ns  # CLOCK_MONOTONIC on Linux: never steps back

Row = list[Any]


def _epoch_minus_monotonic_ns() -> int:
    """Read both clocks several times; the tightest bracket has the least between the readings."""
    best: tuple[int, int] | None = None
    for _ in range(ANCHOR_READINGS):
        before = now_ns()
        epoch = time.time_ns()
        after = now_ns()
        if best is None or after - before < best[0]:
            best = (after - before, epoch - (before + after) // 2)
    assert best is not None
    return best[1]


class Clock:
    """Monotonic readings as epoch time, by one anchor taken when the job starts."""

    def __init__(self) -> None:
        self.offset_ns = _epoch_minus_monotonic_ns()
        self.start_epoch_ns = now_ns() + self.offset_ns

    def epoch_ns(self, monotonic_ns: int) -> int:
        return monotonic_ns + self.offset_ns

    def report(self) -> dict[str, int]:
        """What the job's `finished` says of its clock; drift: wall clock against monotonic."""
        return {
            "start_epoch_ns": self.start_epoch_ns,
            "end_epoch_ns": self.epoch_ns(now_ns()),
            "drift_ns": _epoch_minus_monotonic_ns() - self.offset_ns,
        }


class Times:
    """Where the measured loop stores: one start and one duration a query, made beforehand."""

    def __init__(self, queries: int) -> None:
        self.starts_ns = array("q", bytes(8 * queries))
        self.durations_ns = array("q", bytes(8 * queries))
        self.done = 0
        self.begin_ns = 0
        """When the first query could have been issued; 0: it was issued at once."""

    def grow(self, queries: int) -> None:
        """Room for so many; what is stored stays. New arrays: somebody may look at the old."""
        more = bytes(8 * max(0, queries - len(self.starts_ns)))
        self.starts_ns = array("q", self.starts_ns.tobytes() + more)
        self.durations_ns = array("q", self.durations_ns.tobytes() + more)

    def trim(self, queries: int) -> None:
        """No more than so many."""
        self.starts_ns = self.starts_ns[:queries]
        self.durations_ns = self.durations_ns[:queries]
        self.done = queries


class Trace:
    """The spans of one job: numbered from span_base, kept at the levels that the run asks for."""

    def __init__(
        self, span_base: int, parent_id: int, clock: Clock, say: Callable[[dict[str, Any]], None]
    ) -> None:
        self.clock = clock
        self.emitted: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._say = say
        self._last_id = span_base
        self._parent_id = parent_id
        self.thread = threading.get_native_id()
        self._run, self._level = 0, 0
        self._rows: list[Row] = []
        self._batch = 0
        self._dropped_unsaid: Counter[str] = Counter()

    @property
    def lost(self) -> int:
        """How many spans profilers made and could not keep."""
        return self.dropped.total()

    def begin_run(self, run: int, level: int) -> None:
        """What follows belongs to this run and is recorded down to this level."""
        self.flush()
        self._run, self._level = run, level

    def records(self, level: int) -> bool:
        return level <= self._level

    @contextmanager
    def span(self, name: str, **tags: Any) -> Iterator[int]:
        """An application span around the block; gives its id, for children to name as parent."""
        self._last_id += 1
        span_id, begin_ns = self._last_id, now_ns()
        yield span_id
        end_ns = now_ns()
        self.add(APPLICATION, name, begin_ns, end_ns - begin_ns, tags, span_id=span_id)

    def add(
        self,
        level: int,
        name: str,
        monotonic_ns: int,
        duration_ns: int,
        tags: dict[str, Any],
        *,
        span_id: int = 0,
        parent_id: int = -1,
        thread: int = 0,
    ) -> None:
        """One span, of this thread unless another is named; parent_id -1: the job's own parent."""
        if level > self._level:
            return
        if not span_id:
            self._last_id += 1
            span_id = self._last_id
        parent_id = self._parent_id if parent_id < 0 else parent_id
        start_ns = self.clock.epoch_ns(monotonic_ns)
        thread = thread or self.thread
        self._keep([span_id, parent_id, level, name, start_ns, duration_ns, thread, 0, tags])

    def add_calls(self, name: str, times: Times, batch_size: int, parent_id: int) -> Iterator[None]:
        """A model-level span for each call of a run, numbered by `query`; yields after a block."""
        if self._level < MODEL:
            return
        self.flush()
        offset_ns = self.clock.offset_ns
        for first in range(0, len(times.starts_ns), BLOCK_ROWS):
            starts_ns = times.starts_ns[first : first + BLOCK_ROWS]
            durations_ns = times.durations_ns[first : first + BLOCK_ROWS]
            ids = range(self._last_id + 1, self._last_id + 1 + len(starts_ns))
            self._last_id = ids[-1]
            thread = self.thread
            self._rows = [
                [
                    span_id, parent_id, MODEL, name, start_ns + offset_ns, took_ns, thread, 0,
                    {"query": query, "batch_size": batch_size},
                ]
                for span_id, start_ns, took_ns, query in zip(
                    ids, starts_ns, durations_ns, range(first, first + len(ids)), strict=True
                )
            ]  # fmt: skip
            self.flush()
            yield

    def add_layer(
        self, name: str, start_ns: int, duration_ns: int, thread: int, tags: dict[str, Any]
    ) -> None:
        """One framework-level span at an epoch time; its parent is found later, by containment."""
        self._last_id += 1
        self._keep([self._last_id, 0, FRAMEWORK, name, start_ns, duration_ns, thread, 0, tags])

    def add_seen(
        self,
        level: int,
        name: str,
        start_ns: int,
        duration_ns: int,
        thread: int,
        tags: Mapping[str, Any],
        correlation_id: int = 0,
    ) -> None:
        """One span that a profiler saw, at an epoch time, where the run records its level."""
        if level <= self._level:
            self._last_id += 1
            seen = [name, start_ns, duration_ns, thread, correlation_id, tags]
            self._keep([self._last_id, 0, level, *seen])

    def lose(self, spans: int, level: int = FRAMEWORK) -> None:
        """Spans of this level that a profiler made and could not keep."""
        self.dropped[LEVELS[level]] += spans
        self._dropped_unsaid[LEVELS[level]] += spans

    def _keep(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= BLOCK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Send what is kept as one block. Never called inside a measured loop."""
        if not self._rows and not self._dropped_unsaid:
            return
        rows, self._rows = self._rows, []
        levels = {LEVELS[n]: count for n, count in Counter([row[2] for row in rows]).items()}
        self.emitted.update(levels)
        self._say(
            {
                "said": "spans",
                "batch": self._batch,
                "run": self._run,
                "count": len(rows),
                "levels": levels,
                "first_start_ns": min([row[4] for row in rows], default=0),
                "last_end_ns": max([row[4] + row[5] for row in rows], default=0),
                "lost": self._dropped_unsaid.total(),
                "dropped": dict(self._dropped_unsaid),
                "block": pack(rows),
            }
        )
        self._batch += 1
        self._dropped_unsaid.clear()
