"""What the operating system did to each predict: one span a query, its counts as tags.

Of all threads of this process: context switches, page faults and processor time (getrusage), the
time in which threads could have run and had no processor (schedstat), task clock and migrations
(perf software events), and bytes and calls of I/O (/proc/self/io). Pressure is sampled between
queries. What is counted within a predict has no times of its own, so no intervals are made of it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from . import Session
from .system_counters import DELAY, MOST_THREADS, Counter, Pressure, counters, framework_threads

LEVEL = "system"
FIRST_QUERIES = 1024
MOST_QUERIES = 500_000  # 8 bytes for each count of each: 60 MB


def available() -> str:
    return "" if sys.platform == "linux" else "it is read from Linux's /proc"


@contextmanager
def profile(session: Session) -> Iterator[Looking]:
    with ExitStack() as stack:
        looking = Looking(session, counters(session, stack), Pressure(session, stack))
        yield looking
        looking.tell()


class Looking:
    """The counters before and after each predict: what is read last before is read first after."""

    def __init__(self, session: Session, found: list[Counter], pressure: Pressure) -> None:
        self._session, self._counters, self._pressure = session, found, pressure
        self._queries = min(len(session.times.starts_ns), MOST_QUERIES)
        self._threads = set(framework_threads()[:MOST_THREADS])
        self._tags = [tag for counter in found for tag in counter.tags]
        self._counts = array("q", bytes(8 * self._queries * len(self._tags)))
        self._early: list[list[int]] = []

    def before(self, query: int) -> None:
        self._pressure.sample()
        self._early = [counter.read() for counter in self._counters]

    def after(self, query: int) -> None:
        # All are read before anything is kept: keeping may touch memory for the first time.
        late = [counter.read() for counter in reversed(self._counters)]
        if not self._room(query):
            return
        at = query * len(self._tags)
        for early, now in zip(self._early, reversed(late), strict=True):
            for then, value in zip(early, now, strict=True):
                self._counts[at] = value - then
                at += 1

    def _room(self, query: int) -> bool:
        """Whether this query is kept; of a load, how many there will be is not known before."""
        if query >= self._queries and query < MOST_QUERIES:
            more = min(max(2 * query, FIRST_QUERIES), MOST_QUERIES) - self._queries
            self._counts.frombytes(bytes(8 * more * len(self._tags)))
            self._queries += more
        return query < self._queries

    def tell(self) -> None:
        """One span a query, over its predict."""
        session, width = self._session, len(self._tags)
        self._pressure.sample(at_once=True)
        starts_ns, durations_ns = session.starts_ns.tolist(), session.durations_ns.tolist()
        for query, start_ns in enumerate(starts_ns[: self._queries]):
            counted = self._counts[query * width : (query + 1) * width].tolist()
            tags = {"query": query, **dict(zip(self._tags, counted, strict=True))}
            took_ns = durations_ns[query]
            session.add_span(LEVEL, "system", start_ns, took_ns, session.thread, tags)
        session.lose(max(0, len(starts_ns) - self._queries), LEVEL)
        if beyond := set(framework_threads()) - self._threads:
            text = f"{len(beyond)} threads are not in {DELAY}, task_clock_ns and cpu_migrations"
            session.unavailable(f"{text}: they began in the run, or were beyond {MOST_THREADS}")
