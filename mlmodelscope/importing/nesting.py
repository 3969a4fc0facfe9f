"""Who lies in whom on one thread, where levels do not tell: Python functions around the calls.

A Python function may stand above a model's call and below it. Levels order what a collector finds
by time alone; so for annotations and Python functions the parent is found, and told, here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlmodelscope.importing.profile import APPLICATION, MODEL, NOBODY, Spans


def tell(spans: Spans, rows: Sequence[int], told: Mapping[int, int]) -> None:
    """Write the parents of the application and model spans among `rows`: the tightest around.

    told: parents by the profiler's own record (Python's stack), which decides where two would do:
    an annotation between a function and its caller is the tighter one.
    """
    for on_thread in _by_thread(spans, rows):
        open_: list[int] = []
        for row in on_thread:
            start, end = spans.start_ns[row], spans.end_ns(row)
            while open_ and spans.end_ns(open_[-1]) <= start:
                open_.pop()
            holder = next((up for up in reversed(open_) if spans.end_ns(up) >= end), NOBODY)
            if spans.level[row] in (APPLICATION, MODEL):
                caller = told.get(row, NOBODY)
                same_kind = holder != NOBODY and spans.category[holder] == spans.category[row]
                if caller != NOBODY and (holder == NOBODY or same_kind):
                    holder = caller
                spans.parent[row] = holder
            open_.append(row)


def outermost(spans: Spans, rows: Sequence[int]) -> list[int]:
    """Those rows that lie in no other of them on their thread, in order of time."""
    found = []
    for on_thread in _by_thread(spans, rows):
        ended: int | None = None
        for row in on_thread:
            if ended is None or spans.start_ns[row] >= ended:
                found.append(row)
            ended = max(spans.end_ns(row), ended if ended is not None else spans.end_ns(row))
    return spans.by_start(found)


def _by_thread(spans: Spans, rows: Iterable[int]) -> Iterator[list[int]]:
    threads: dict[int, list[int]] = {}
    for row in rows:
        threads.setdefault(spans.thread[row], []).append(row)
    for on_thread in threads.values():
        yield spans.by_start(on_thread)
