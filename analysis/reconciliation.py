"""How much of a predict its layers account for, and how much of these layers what they called."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from bus.messages import LEVELS, Level
from collector.timeline import Timeline

EXECUTED = ("kernel", "memcpy", "memset")
"""What a device does on its own: it may run after its layer, so that its time is no part of it."""


class CoverageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run with layers. Times in ns, summed over its queries; inner ones count once.

    layers_percent = 100 · layers_ns / predict_ns: less than 100, because what is between layers
    (calling, converting, waiting) is no layer's; more only where layers ran side by side.
    calls_percent = 100 · calls_ns / calling_layers_ns, of the layers that called the library.
    None where there is nothing to divide by. deepest: the deepest level that was looked at.
    """

    run: int
    deepest: Level
    queries: int
    predict_ns: int
    layers_ns: int
    layers_percent: float | None
    calls: int = 0
    calls_ns: int = 0
    calling_layers_ns: int = 0
    calls_percent: float | None = None
    device_ns: int = 0


def reconcile(timeline: Timeline) -> list[CoverageRow]:
    """For each run with layers, their sum against the predicts', their calls' against theirs."""
    model, framework, library = (LEVELS.index(level) for level in ("model", "framework", "library"))
    parent = parents_of(timeline)
    level, took_ns, run = timeline.level, timeline.duration_ns, timeline.run
    outer = np.where(parent >= 0, level[parent], 0)
    predict = _named(timeline, "predict") & (level == model)
    layer = (level == framework) & (outer != framework)
    device = (level == library) & _tagged(timeline, "kind", EXECUTED)
    call = (level == library) & (outer != library) & ~device
    rows = []
    for number in np.unique(run[layer]).tolist():
        here = run == number
        above = parent[call & here]
        calling = np.unique(above[(above >= 0) & (level[above] == framework)])
        in_layers = call & here & (outer == framework)
        predict_ns, layers_ns = _sum(took_ns, predict & here), _sum(took_ns, layer & here)
        calls_ns, calling_ns = _sum(took_ns, in_layers), int(took_ns[calling].sum())
        rows.append(
            CoverageRow(
                run=number,
                deepest=LEVELS[int(level[here].max())],
                queries=int((predict & here).sum()),
                predict_ns=predict_ns,
                layers_ns=layers_ns,
                layers_percent=_percent(layers_ns, predict_ns),
                calls=int((call & here).sum()),
                calls_ns=calls_ns,
                calling_layers_ns=calling_ns,
                calls_percent=_percent(calls_ns, calling_ns),
                device_ns=_sum(took_ns, device & here),
            )
        )
    return rows


def parents_of(timeline: Timeline) -> NDArray[np.intp]:
    """For each span the row of its parent, or -1."""
    if not len(timeline):
        return np.zeros(0, np.intp)
    order = np.argsort(timeline.span_id, kind="stable")
    at = np.searchsorted(timeline.span_id, timeline.parent_id, sorter=order)
    row = order[np.minimum(at, len(order) - 1)]
    there = (timeline.span_id[row] == timeline.parent_id) & (timeline.parent_id != 0)
    return np.where(there, row, -1)


def _named(timeline: Timeline, name: str) -> NDArray[np.bool_]:
    return np.array([each == name for each in timeline.names], bool)[timeline.name_index]


def _tagged(timeline: Timeline, tag: str, values: tuple[str, ...]) -> NDArray[np.bool_]:
    has = [tags.get(tag) in values for tags in timeline.tag_maps]
    return np.array(has, bool)[timeline.tags_index]


def _sum(times_ns: NDArray[np.int64], which: NDArray[np.bool_]) -> int:
    return int(times_ns[which].sum())


def _percent(part_ns: int, whole_ns: int) -> float | None:
    return 100.0 * part_ns / whole_ns if whole_ns else None
