"""The parents of a timeline's spans: told, by correlation, by enclosure, or the request's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bus.messages import LEVELS
from collector.rows import Columns
from collector.sweep import NOBODY, Scope, sweep

Rows = NDArray[np.intp]
Flags = NDArray[np.bool_]
Parents = NDArray[np.int64]


def find_parents(columns: Columns, sources: Sequence[str]) -> Flags:
    """Write each span's parent into `columns.parent_id`; say which remain unclear.

    The columns are sorted by sweep.order_of and every span's id is there once. sources are
    "<machine>/<role>/<run>": times are compared on one machine only.
    """
    machine, role = _numbered(sources, 1), _numbered(sources, 2)
    parent = _told(columns)
    asks = parent == NOBODY
    unclear = np.zeros(len(columns), bool)
    launch = _launches(columns, machine)
    held = launch == NOBODY
    for rows in _by(machine[columns.source], held):
        thread = _threads(columns, rows, role)
        _enclose(columns, rows, thread, asks, parent, unclear)
    late = np.flatnonzero(~held & asks)
    parent[late], unclear[late] = parent[launch[late]], unclear[launch[late]]
    _adopt(columns, sources, parent, unclear)
    _cut_cycles(parent, unclear)
    columns.parent_id = np.where(
        parent >= 0, columns.span_id[np.maximum(parent, 0)] if len(parent) else 0, 0
    ).astype(np.uint64)
    return unclear


def _numbered(sources: Sequence[str], parts: int) -> NDArray[np.int64]:
    """For each source, the number of its machine (1 part) or of machine and role (2 parts)."""
    seen: dict[tuple[str, ...], int] = {}
    keys = [tuple(source.rsplit("/", 2)[:parts]) for source in sources]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)


def _told(columns: Columns) -> Parents:
    """The positions of the parents that spans came with, where these are there."""
    parent = np.full(len(columns), NOBODY, np.int64)
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


def _launches(columns: Columns, machine: NDArray[np.int64]) -> Parents:
    """For asynchronous work, the span that launched it: the first with its correlation id.

    A host's thread before a device's queue (below 0): their clocks differ by microseconds, and a
    kernel may seem to begin before its launch.
    """
    launch = np.full(len(columns), NOBODY, np.int64)
    rows = np.flatnonzero(columns.correlation_id)
    if not len(rows):
        return launch
    correlation, where = columns.correlation_id[rows], machine[columns.source[rows]]
    order = np.lexsort((rows, columns.thread[rows] < 0, correlation, where))
    rows, correlation, where = rows[order], correlation[order], where[order]
    first = np.ones(len(rows), bool)
    first[1:] = (correlation[1:] != correlation[:-1]) | (where[1:] != where[:-1])
    leaders = rows[first][np.cumsum(first) - 1]
    launch[rows[~first]] = leaders[~first]
    return launch


def _by(key: NDArray[np.int64], among: Flags) -> Iterator[Rows]:
    """The rows of each value of a key, in their order."""
    rows = np.flatnonzero(among)
    values = key[rows]
    if not len(rows) or (values == values[0]).all():
        yield rows
        return
    order = np.argsort(values, kind="stable")
    edges = np.flatnonzero(np.diff(values[order])) + 1
    yield from np.split(rows[order], edges)


def _threads(columns: Columns, rows: Rows, role: NDArray[np.int64]) -> NDArray[np.int64]:
    """Thread numbers that do not clash between the programs of one machine; 0: not known."""
    thread, program = columns.thread[rows], role[columns.source[rows]]
    if not len(rows) or (program == program[0]).all():
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
    known = np.unique(thread[thread != 0])
    if len(known) > 1 and (thread != 0).all():
        scopes = list(_by(thread, np.ones(len(rows), bool)))
    else:
        scopes = [np.arange(len(rows))]
    for scope in scopes:
        _apply(columns, rows[scope], thread[scope], False, asks, parent, unclear)
    if len(known) < 2:
        return
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
    asking = asks[rows]
    heard = rows[asking]
    found, vague = found[asking], vague[asking]
    parent[heard] = np.where(found >= 0, rows[np.maximum(found, 0)], NOBODY)
    unclear[heard] = vague


def _adopt(columns: Columns, sources: Sequence[str], parent: Parents, unclear: Flags) -> None:
    """What has no parent hangs below the client's request, when that is there."""
    client = np.array([source.rsplit("/", 2)[1] == "client" for source in sources], bool)
    alone = (parent == NOBODY) & ~unclear
    if not client.any():
        return
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
