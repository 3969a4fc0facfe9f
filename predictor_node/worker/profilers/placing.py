"""Where a library's calls lie among the layers of a query: by their own times, else by order.

Pure. A call that says when it was goes into the layer around its middle, and is cut to it: the
library's clock and the framework's differ by microseconds. One that only says how long it took goes
into the next layer that multiplies matrices and has the room.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .verbose_lines import Call

WORKING = ("convolution", "deconvolution", "inner_product", "matmul", "graph", "rnn", "cudnn")
"""How calls begin that do a layer's own work: where there is one, no call without a time does."""
MULTIPLYING = (
    *("linear", "mm", "matmul", "conv", "einsum", "dot", "addmv", "aten::mv", "lstm", "gru", "rnn"),
    *("attention", "transformer", "bilinear", "cdist", "fused"),
)
SIDE_BY_SIDE = 256  # layers that may run at once


@dataclass(frozen=True, slots=True)
class Interval:
    """From when to when, epoch ns."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Layer(Interval):
    """One layer of one query, or all of it."""

    operator: str
    thread: int


@dataclass(frozen=True, slots=True)
class Place(Interval):
    """Where a call is put; timed: it said itself when it was. thread 0: not known."""

    call: Call
    timed: bool
    thread: int


def place(
    calls: Sequence[Call], layers: Sequence[Layer], predict: Layer, skew_ns: int
) -> list[Place]:
    """The calls of one query, in their order; skew_ns: to add to the library's clock."""
    starts = [layer.start_ns for layer in layers]
    places: list[Place | None] = [None] * len(calls)
    busy = set()
    for number, call in enumerate(calls):
        if call.start_ns:
            at_ns = call.start_ns + skew_ns
            rows = _around(at_ns + call.duration_ns // 2, layers, starts)
            rows = [row for row in rows if layers[row].thread == call.thread] or rows
            places[number] = _cut(call, at_ns, [layers[row] for row in rows] or [predict])
            if len(rows) == 1 and call.name.startswith(WORKING):
                busy.add(rows[0])
    able = [
        layer
        for row, layer in enumerate(layers)
        if row not in busy and any(word in layer.operator for word in MULTIPLYING)
    ]
    for first, last in _untimed(calls):
        before = places[first - 1] if first else None
        after = places[last] if last < len(calls) else None
        begin_ns = before.end_ns if before else predict.start_ns
        gap = Interval(begin_ns, after.start_ns if after else predict.end_ns)
        here = [each for each in able if each.end_ns > gap.start_ns and each.start_ns < gap.end_ns]
        places[first:last] = _by_order(calls[first:last], here, gap)
    return [each for each in places if each is not None]


def _around(at_ns: int, layers: Sequence[Layer], starts: Sequence[int]) -> list[int]:
    """The layers that ran at a time: one, or several where several threads compute layers."""
    last = bisect_right(starts, at_ns)
    return [row for row in range(max(0, last - SIDE_BY_SIDE), last) if at_ns < layers[row].end_ns]


def _cut(call: Call, at_ns: int, around: Sequence[Layer]) -> Place:
    """Inside the one layer that can have made the call; of several, the collector decides."""
    if len(around) > 1:
        return Place(at_ns, at_ns + call.duration_ns, call, timed=True, thread=0)
    layer = around[0]
    start_ns = min(max(at_ns, layer.start_ns), layer.end_ns)
    end_ns = min(start_ns + call.duration_ns, layer.end_ns)
    return Place(start_ns, end_ns, call, timed=True, thread=layer.thread)


def _untimed(calls: Sequence[Call]) -> list[tuple[int, int]]:
    """Each run of calls without a time: from, to."""
    runs: list[tuple[int, int]] = []
    for number, call in enumerate(calls):
        if call.start_ns:
            continue
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


def _by_order(calls: Sequence[Call], layers: Sequence[Layer], gap: Interval) -> list[Place]:
    """At least one call a layer, more while they have room and enough are left for the others."""
    rest, places = list(calls), list[Place]()
    for number, layer in enumerate(layers):
        later, taken, took_ns = len(layers) - number - 1, list[Call](), 0
        while rest and took_ns + rest[0].duration_ns <= layer.end_ns - layer.start_ns:
            if taken and len(rest) <= later:
                break
            taken.append(rest.pop(0))
            took_ns += taken[-1].duration_ns
        # What a layer computes it computes last: before, it makes room for what comes out.
        at = Interval(layer.end_ns - took_ns, layer.end_ns)
        places += _one_by_one(taken, at, layer.thread)
    left = Interval(places[-1].end_ns if places else gap.start_ns, gap.end_ns)
    return places + _one_by_one(rest, left, 0)


def _one_by_one(calls: Sequence[Call], within: Interval, thread: int) -> list[Place]:
    places, at_ns = [], within.start_ns
    for call in calls:
        last_ns = max(at_ns, min(at_ns + call.duration_ns, within.end_ns))
        places.append(Place(at_ns, last_ns, call, timed=False, thread=thread))
        at_ns = last_ns
    return places
