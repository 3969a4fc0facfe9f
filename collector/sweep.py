"""Who encloses whom: one pass over spans in order of time, with the open ones on a stack.

A span may be the parent of another when it encloses it, is of the same or a higher level (a
smaller index), and both may be on one thread (0: not known, so it may be any). The tightest
one is the parent. Two that could be it without one inside the other, or a partial overlap with
one that would be tighter, are ambiguous: said, never guessed.

Of two equal intervals the higher level is the parent, then the one that came first. A span of
no length belongs to what lies around it; what only touches it must be of a higher level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CHUNK = 8_192
MAX_OPEN = 256
"""How many open spans are looked through for one; where more are tangled, it is unclear."""
NOBODY = -1


class Scope(NamedTuple):
    """The spans that may be each other's parents, as columns sorted by `order_of`.

    across: parents are looked for on other threads, so only a higher level will do.
    """

    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    level: NDArray[np.uint8]
    thread: NDArray[np.int64]
    across: bool = False


class _Open(NamedTuple):
    """A span that has started; `up` is the parent that was found for it."""

    start: int
    end: int
    level: int
    thread: int
    row: int
    up: _Open | None


def is_one(thread: NDArray[np.int64]) -> bool:
    """Whether at most one thread is known; without a copy of the column."""
    known = thread != 0
    if not known.any():
        return True
    return bool((~known | (thread == thread[np.argmax(known)])).all())


def order_of(
    start_ns: NDArray[np.int64], duration_ns: NDArray[np.int64], level: NDArray[np.uint8]
) -> NDArray[np.intp]:
    """Earliest first; what may enclose before what it encloses; then order of arrival."""
    return np.lexsort((level, -duration_ns, start_ns))


def sweep(scope: Scope) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """For each span of the scope: its parent's position (or NOBODY), and whether it is unclear."""
    search = _Search(scope)
    found = np.empty(len(scope.start_ns), np.int32)
    for first in range(0, len(found), CHUNK):
        piece = slice(first, first + CHUNK)
        found[piece] = search.through(first, piece)
    unclear = np.zeros(len(found), bool)
    if search.unclear:
        unclear[np.fromiter(search.unclear, np.intp, len(search.unclear))] = True
        found[unclear] = NOBODY
    return found, unclear


class _Search:
    """One pass; `simple` while the open spans are nested in one another on a single thread."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.unclear: set[int] = set()
        self.one_thread = not scope.across and is_one(scope.thread)
        self.simple = self.one_thread
        self.open: list[_Open] = []
        self.ended: list[_Open] = []
        self.ended_ns = 0

    def through(self, first: int, piece: slice) -> list[int]:
        """The parents of one piece of the scope."""
        scope, found = self.scope, []
        columns = (scope.start_ns, scope.end_ns, scope.level, scope.thread)
        rows = zip(*(column[piece].tolist() for column in columns), strict=True)
        for row, (start, end, level, thread) in enumerate(rows, first):
            if not self.simple:
                self._close_all(start)
            elif self.open and self.open[-1].end <= start:
                self._close_top(start)
            open_ = self.open
            if start == end:
                found.append(self._instant(_Open(start, end, level, thread, row, None)))
                continue
            if self.simple and (not open_ or end <= open_[-1].end):
                up = open_[-1] if open_ else None
                if up is not None and up.level > level:
                    up = self._nearest(level)
                open_.append(_Open(start, end, level, thread, row, up))
                found.append(NOBODY if up is None else up.row)
            else:
                self.simple = False
                found.append(self._tangled(_Open(start, end, level, thread, row, None)))
        return found

    def _nearest(self, level: int) -> _Open | None:
        """Of nested spans, the innermost of the same or a higher level."""
        for span in reversed(self.open[-MAX_OPEN:]):
            if span.level <= level:
                return span
        return None

    def _close_top(self, now: int) -> None:
        if now != self.ended_ns:
            self.ended.clear()
            self.ended_ns = now
        while self.open and self.open[-1].end <= now:
            self.ended.append(self.open.pop())

    def _close_all(self, now: int) -> None:
        """Drop what has ended, wherever it is; simple again when the rest is nested."""
        if all(span.end > now for span in self.open):
            return
        if now != self.ended_ns:
            self.ended.clear()
            self.ended_ns = now
        self.ended += [span for span in self.open if span.end <= now]
        self.open = [span for span in self.open if span.end > now]
        ends = [span.end for span in self.open]
        self.simple = self.one_thread and all(
            inner <= outer for outer, inner in zip(ends, ends[1:], strict=False)
        )

    def _instant(self, span: _Open) -> int:
        """A span of no length: what only touches it encloses it when of a higher level."""
        around = [o for o in self.open if o.start < span.start or o.level < span.level]
        touching = [o for o in self.ended if o.end == span.start and o.level < span.level]
        candidates = [o for o in touching + around if self._may_hold(o, span)]
        candidates.sort(key=lambda o: (o.start, -o.end, o.level, o.row))
        if span.start != self.ended_ns:
            self.ended.clear()
            self.ended_ns = span.start
        if len(self.ended) < MAX_OPEN:
            self.ended.append(span)
        up, clear = _tightest(candidates)
        if not clear:
            self.unclear.add(span.row)
        return NOBODY if up is None else up.row

    def _tangled(self, span: _Open) -> int:
        """A span that starts while others are open that are not nested, or on other threads."""
        if len(self.open) >= MAX_OPEN:
            self.unclear.add(span.row)
            return NOBODY
        near = [o for o in self.open if _one_thread(o, span) or self.scope.across]
        holding = [o for o in near if o.end >= span.end and self._may_hold(o, span)]
        up, clear = _tightest(holding)
        for other in near:
            if not other.start < span.start < other.end < span.end:
                continue
            if self._above(other, span) and _tighter(other, up):
                clear = False
            if self._above(span, other) and _tighter(span, other.up):
                self.unclear.add(other.row)
        if not clear:
            self.unclear.add(span.row)
        self.open.append(span._replace(up=up))
        return NOBODY if up is None else up.row

    def _may_hold(self, outer: _Open, inner: _Open) -> bool:
        return self._above(outer, inner) and (self.scope.across or _one_thread(outer, inner))

    def _above(self, outer: _Open, inner: _Open) -> bool:
        return outer.level < inner.level or (outer.level == inner.level and not self.scope.across)


def _one_thread(one: _Open, other: _Open) -> bool:
    return one.thread == other.thread or not one.thread or not other.thread


def _tighter(span: _Open, than: _Open | None) -> bool:
    return than is None or span.end - span.start < than.end - than.start


def _tightest(holding: list[_Open]) -> tuple[_Open | None, bool]:
    """The innermost of the spans that hold another, and whether there is only one such."""
    if not holding:
        return None, True
    inner = holding[-1]
    clear = all(
        outer.end >= inner.end
        and not (outer.level == inner.level and not _one_thread(outer, inner))
        for outer in holding
    )
    return inner, clear
