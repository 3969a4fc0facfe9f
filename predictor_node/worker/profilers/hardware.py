"""What the processor counted in each predict: cycles, instructions, branches, cache misses.

One span a query, its counts as tags, of all threads of the framework. Counters that take turns are
scaled to the whole time, and `counted_share` says how much of it was seen; what was not seen at all
has no tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from . import Session
from .perf_events import (
    CACHE,
    EXCLUDE_HYPERVISOR,
    EXCLUDE_KERNEL,
    HARDWARE,
    Event,
    Group,
    NotCounted,
    Reading,
    between,
    parse,
    why_not,
)
from .system_counters import MOST_THREADS, framework_threads

LEVEL = "hardware"
USER = EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
CYCLES = Event("cycles", HARDWARE, 0)
# Small enough to be counted at once by any processor of the last ten years.
GROUPS = (
    (
        CYCLES,
        Event("instructions", HARDWARE, 1),
        Event("branches", HARDWARE, 4),
        Event("branch_misses", HARDWARE, 5),
    ),
    (
        Event("cache_references", HARDWARE, 2),
        Event("cache_misses", HARDWARE, 3),
        # cache | operation << 8 | result << 16: loads that miss in the first level, in the TLB.
        Event("l1d_load_misses", CACHE, 0 | 0 << 8 | 1 << 16),
        Event("dtlb_load_misses", CACHE, 3 | 0 << 8 | 1 << 16),
    ),
)
MOST_BYTES = 128 << 20
"""Raw readings that are kept until the loop has ended."""


def available() -> str:
    return why_not(CYCLES, USER)


@contextmanager
def profile(session: Session) -> Iterator[Counting]:
    mode = 0 if not why_not(CYCLES) else USER
    with ExitStack() as stack:
        groups = _groups(session, mode, stack)
        counting = Counting(session, groups, "user and kernel" if mode == 0 else "user")
        yield counting
        counting.tell()


class Counting:
    """Raw readings around each predict, parsed when the loop has ended."""

    def __init__(self, session: Session, groups: Sequence[Group], mode: str) -> None:
        self._session, self._groups, self._mode = session, groups, mode
        size = sum(group.size for group in groups)
        self._queries = MOST_BYTES // max(1, 2 * size)
        self._early: list[list[bytes]] = []
        self._late: list[list[bytes]] = []

    def before(self, query: int) -> None:
        if query < self._queries:
            self._early.append([group.read() for group in self._groups])

    def after(self, query: int) -> None:
        if query < self._queries:
            self._late.append([group.read() for group in self._groups])

    def tell(self) -> None:
        session, mode = self._session, {"counted": self._mode}
        starts_ns, durations_ns = session.starts_ns.tolist(), session.durations_ns.tolist()
        events = [group.events for group in self._groups]
        for query, (early, late) in enumerate(zip(self._early, self._late, strict=True)):
            counts = counted(events, [*map(parse, early)], [*map(parse, late)])
            tags = {"query": query, **mode, **counts}
            start_ns, took_ns = starts_ns[query], durations_ns[query]
            session.add_span(LEVEL, "counters", start_ns, took_ns, session.thread, tags)
        session.lose(len(starts_ns) - len(self._late), LEVEL)


def counted(
    events: Sequence[Sequence[Event]], early: Sequence[Reading], late: Sequence[Reading]
) -> dict[str, int | float]:
    """The events of all groups between two readings of each, threads summed: tags of a span."""
    total: dict[str, int | float] = {}
    unseen: set[str] = set()
    least = 1.0
    for names, first, second in zip(events, early, late, strict=True):
        values, share = between(first, second)
        least = min(least, share)
        if values is None:
            unseen |= {event.name for event in names}
            continue
        for event, value in zip(names, values, strict=True):
            total[event.name] = total.get(event.name, 0) + value
    if least < 1.0:
        total["counted_share"] = round(least, 4)
    return {name: value for name, value in total.items() if name not in unseen}


def _groups(session: Session, mode: int, stack: ExitStack) -> list[Group]:
    threads = framework_threads()
    if len(threads) > MOST_THREADS:
        more = len(threads) - MOST_THREADS
        session.unavailable(f"{more} threads beyond {MOST_THREADS} are not counted")
    possible = []
    for events in GROUPS:
        able = [event for event in events if not why_not(event, mode)]
        if missing := [event.name for event in events if event not in able]:
            session.unavailable(f"this processor does not count {', '.join(missing)}")
        if able:
            possible.append(able)
    found = []
    for thread in threads[:MOST_THREADS]:
        for able in possible:
            try:
                found.append(Group(able, thread, mode))
            except ProcessLookupError:  # it has just ended
                continue
            except NotCounted as error:
                session.unavailable(f"{', '.join(event.name for event in able)}: {error}")
                continue
            stack.callback(found[-1].close)
    return found
