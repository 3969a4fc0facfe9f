"""The parents of a timeline's spans: told, by correlation, by enclosure, or the request's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bus.messages import LEVELS
from collector.rows import Columns
from collector.sweep import NOBODY, Scope, is_one, sweep

Rows = NDArray[np.intp] | slice
"""Which rows: all of them are a slice, which costs no memory."""
Flags = NDArray[np.bool_]
Parents = NDArray[np.int32]

ALL = slice(None)
PIECE = 65_536
"""Rows that are looked at together where a whole column more would cost memory."""


def find_parents(columns: Columns, sources: Sequence[str]) -> Flags:
    """Write each span's parent into `columns.parent_id`; say which remain unclear.

    The columns are sorted by sweep.order_of and every span's id is there once. sources are
    "<machine>/<role>/<run>": times are compared on one machine only.
    """
    machine, role = _numbered(sources, 1), _numbered(sources, 2)
    parent = _told(columns)
    asks = parent == NOBODY
    told = not asks.all()
    unclear = np.zeros(len(columns), bool)
    launch = _launches(columns, machine)
    held = None if launch is None else launch == NOBODY
    for rows in _by_machine(columns, machine, held):
        _enclose(columns, rows, _threads(columns, rows, role), asks, parent, unclear)
    if launch is not None and held is not None:
        late = np.flatnonzero(~held & asks)
        parent[late], unclear[late] = parent[launch[late]], unclear[launch[late]]
    _adopt(columns, sources, parent, unclear)
    if told:
        _cut_cycles(parent, unclear)
    if len(parent):
        np.take(columns.span_id, parent, out=columns.parent_id, mode="clip")
        columns.parent_id[parent < 0] = 0
    return unclear


def _numbered(sources: Sequence[str], parts: int) -> NDArray[np.int32]:
    """For each source, the number of its machine (1 part) or of machine and role (2 parts)."""
    seen: dict[tuple[str, ...], int] = {}
    keys = [tuple(source.rsplit("/", 2)[:parts]) for source in sources]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int32)


def _told(columns: Columns) -> Parents:
    """The positions of the parents that spans came with, where these are there."""
    parent = np.full(len(columns), NOBODY, np.int32)
    rows = np.flatnonzero((columns.parent_id != 0) & (columns.parent_id != columns.span_id))
    if not len(rows):
        return parent
    order = np.argsort(columns.span_id, kind="stable")
    wanted = columns.parent_id[rows]
    at = np.searchsorted(columns.span_id, wanted, sorter=order)
    candidate = order[np.minimum(at, len(order) - 1)]
    there = columns.span_id[candidate] == wanted
    parent[rows[there]] = candidate[there]
    return parent


def _launches(columns: Columns, machine: NDArray[np.int32]) -> Parents | None:
    """For asynchronous work, the span that launched it: the first with its correlation id.

    A host's thread before a device's queue (below 0): their clocks differ by microseconds, and a
    kernel may seem to begin before its launch.
    """
    rows = np.flatnonzero(columns.correlation_id)
    if not len(rows):
        return None
    launch = np.full(len(columns), NOBODY, np.int32)
    correlation, where = columns.correlation_id[rows], machine[columns.source[rows]]
    order = np.lexsort((rows, columns.thread[rows] < 0, correlation, where))
    rows, correlation, where = rows[order], correlation[order], where[order]
    first = np.ones(len(rows), bool)
    first[1:] = (correlation[1:] != correlation[:-1]) | (where[1:] != where[:-1])
    leaders = rows[first][np.cumsum(first) - 1]
    launch[rows[~first]] = leaders[~first]
    return launch


def _by_machine(columns: Columns, machine: NDArray[np.int32], held: Flags | None) -> Iterator[Rows]:
    """The rows of each machine, in their order; those that are `held` alone."""
    if held is None and len(set(machine.tolist())) <= 1:
        yield ALL
        return
    rows = np.arange(len(columns)) if held is None else np.flatnonzero(held)
    for scope in _by(machine[columns.source[rows]]):
        yield rows[scope]


def _by(key: NDArray[np.int64] | NDArray[np.int32]) -> list[NDArray[np.intp]]:
    """The positions of each value of a key, in their order."""
    order = np.argsort(key, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)


def _threads(columns: Columns, rows: Rows, role: NDArray[np.int32]) -> NDArray[np.int64]:
    """Thread numbers that do not clash between the programs of one machine; 0: not known."""
    thread = columns.thread[rows]
    if len(set(role.tolist())) <= 1:
        return thread
    program = role[columns.source[rows]]
    if not len(program) or (program == program[0]).all():
        return thread
    distinct, number = np.unique(thread, return_inverse=True)
    return np.where(thread == 0, 0, program * len(distinct) + number + 1)


def _enclose(
    columns: Columns,
    rows: Rows,
    thread: NDArray[np.int64],
    asks: Flags,
    parent: Parents,
    unclear: Flags,
) -> None:
    """Parents by enclosure on one machine: first on the same thread, then on any other."""
    if is_one(thread):
        _apply(columns, rows, thread, False, asks, parent, unclear)
        return
    rows = np.arange(len(columns)) if isinstance(rows, slice) else rows
    scopes = _by(thread) if (thread != 0).all() else [np.arange(len(rows))]
    for scope in scopes:
        _apply(columns, rows[scope], thread[scope], False, asks, parent, unclear)
    left = asks & ~unclear & (parent == NOBODY)
    # What a device did while a host's span was open need not have been launched by it.
    queued = left[rows] & (columns.thread[rows] < 0)
    unclear[rows[queued]] = True
    orphan = left[rows] & (thread != 0) & ~queued
    if not orphan.any():
        return
    deepest = columns.level[rows[orphan]].max()
    useful = orphan | (columns.level[rows] < deepest)
    only = np.zeros(len(columns), bool)
    only[rows[orphan]] = True
    _apply(columns, rows[useful], thread[useful], True, only, parent, unclear)


def _apply(
    columns: Columns,
    rows: Rows,
    thread: NDArray[np.int64],
    across: bool,
    asks: Flags,
    parent: Parents,
    unclear: Flags,
) -> None:
    start = columns.start_ns[rows]
    end = start + columns.duration_ns[rows]
    found, vague = sweep(Scope(start, end, columns.level[rows], thread, across))
    del end
    asking = np.flatnonzero(asks[rows])
    row_of = None if isinstance(rows, slice) else rows
    for first in range(0, len(asking), PIECE):
        position = asking[first : first + PIECE]
        heard, up = position, found[position]
        if row_of is not None:
            heard, up = row_of[position], np.where(up >= 0, row_of[np.maximum(up, 0)], NOBODY)
        parent[heard] = up
        unclear[heard] = vague[position]


def _adopt(columns: Columns, sources: Sequence[str], parent: Parents, unclear: Flags) -> None:
    """What has no parent hangs below the client's request, when that is there.

    What keeps a clock of its own (see clocks.py) does not: nobody knows when it was.
    """
    client = np.array([source.rsplit("/", 2)[1] == "client" for source in sources], bool)
    alone = (parent == NOBODY) & ~unclear
    if not client.any():
        return
    foreign = np.array(["@" in source.rsplit("/", 2)[0] for source in sources], bool)
    if foreign.any():
        alone &= ~foreign[columns.source]
    requests = np.flatnonzero(
        alone & client[columns.source] & (columns.level == LEVELS.index("application"))
    )
    if not len(requests):
        return
    root = requests[np.argmax(columns.duration_ns[requests])]
    alone[root] = False
    parent[alone] = root


def _cut_cycles(parent: Parents, unclear: Flags) -> None:
    """Parents that were told and parents by time can contradict each other: then neither holds."""
    ancestor = parent.copy()
    for _ in range(len(parent).bit_length() + 1):
        rows = np.flatnonzero(ancestor >= 0)
        if not len(rows):
            return
        ancestor[rows] = ancestor[ancestor[rows]]
    circle = np.unique(ancestor[ancestor >= 0])
    parent[circle], unclear[circle] = NOBODY, True
