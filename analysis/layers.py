"""Where a predict spends its time: the framework's layers."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bus.messages import GraphDescribed, LayerDescribed
from collector.timeline import Timeline


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of one run. median_ns is of one query.

    share_percent = 100 * sum of the layer's times / sum of the run's predict times (XSP, "by
    name"); None when the run has no predict spans. Layers that enclose others count these too.
    """

    index: int
    name: str
    operator: str
    output_shape: list[int | str]
    queries: int
    median_ns: int
    total_ns: int
    share_percent: float | None
    run: int


def slowest_layers(
    timeline: Timeline, graph: GraphDescribed | None, k: int = 5, run: int | None = None
) -> list[LayerRow]:
    """The k layers that take most of the time, the slowest first."""
    rows = layer_times(timeline, graph, run)
    return sorted(rows, key=lambda row: (-row.total_ns, row.index, row.name))[:k]


def layer_times(
    timeline: Timeline, graph: GraphDescribed | None, run: int | None = None
) -> list[LayerRow]:
    """Every layer in execution order, of one run: the first that has layers, unless given.

    A layer is known by its index and its name. Runs are not mixed: their batch sizes differ. Where
    layers are numbered, an operator without a number lies inside one of them.
    """
    layers = timeline.at("framework", run)
    if run is None and len(layers):
        run = int(layers.run.min())
        layers = layers.only(np.flatnonzero(layers.run == run))
    if run is None or not len(layers):
        return []
    predict_ns = int(timeline.at("model", run).duration_ns.sum())
    described = {layer.index: layer for layer in graph.layers} if graph else {}
    rows = []
    for (index, name), members in _grouped(layers).items():
        times = np.sort(layers.duration_ns[members])
        total_ns = int(times.sum())
        tags = layers.tag_maps[int(layers.tags_index[members[0]])]
        layer = described.get(index)
        rows.append(
            LayerRow(
                index=index,
                name=name,
                operator=layer.operator if layer else str(tags.get("operator", "")),
                output_shape=_output_shape(tags, layer),
                queries=len(times),
                median_ns=int(times[(len(times) - 1) // 2]),
                total_ns=total_ns,
                share_percent=100.0 * total_ns / predict_ns if predict_ns else None,
                run=run,
            )
        )
    if any(row.index >= 0 for row in rows):
        rows = [row for row in rows if row.index >= 0]
    return sorted(rows, key=lambda row: (row.index < 0, row.index, row.name))


def _grouped(layers: Timeline) -> dict[tuple[int, str], NDArray[np.intp]]:
    """The rows of each layer; equal tags are one number, so a layer's spans share theirs."""
    keys = np.stack([layers.tags_index, layers.name_index])
    distinct, number = np.unique(keys, axis=1, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    pieces = np.split(order, np.flatnonzero(np.diff(number.ravel()[order])) + 1)
    found: dict[tuple[int, str], list[NDArray[np.intp]]] = {}
    for (tags, name), rows in zip(distinct.T.tolist(), pieces, strict=True):
        index = layers.tag_maps[tags].get("index", -1)
        key = (index if isinstance(index, int) else -1, layers.names[name])
        found.setdefault(key, []).append(rows)
    return {key: np.concatenate(rows) for key, rows in found.items()}


def _output_shape(tags: dict[str, Any], layer: LayerDescribed | None) -> list[int | str]:
    """As it was in this run; else as the graph was described once, maybe at another batch size."""
    if shapes := tags.get("output_shapes"):
        return list(shapes[0])
    return list(layer.outputs[0].shape) if layer and layer.outputs else []
