"""The layers of one batch size: times, shapes and work, from the shallowest run with layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analysis.evidence import Evidence, distinct, per_query, trimmed
from analysis.theoretical import Work, bytes_of, result_of, work_of
from bus.messages import TensorSpec


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. number: as its framework numbers it, or -1; index: else its place in time.

    latency_ns: its trimmed mean in a query. bytes: compulsory traffic, or None.
    """

    index: int
    number: int
    name: str
    operator: str
    latency_ns: float
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    allocated_bytes: int | None
    allocated_by: str
    work: Work
    bytes: int | None

    @property
    def key(self) -> tuple[int, str]:
        """What it is known by in every run."""
        return self.number, self.name

    @property
    def shape(self) -> list[int | str]:
        """Of what comes out of it."""
        return list(self.outputs[0].shape) if self.outputs else []


@dataclass(frozen=True, slots=True)
class LayerTable:
    """Layers in execution order, and the run that they are from (-1: there are none)."""

    run: int
    batch_size: int
    queries: int
    layers: list[Layer]

    @property
    def dtype(self) -> str:
        """The type that the layer with most to compute works in; float32 where none is told."""
        heaviest = max(self.layers, key=lambda layer: layer.work.macs or 0, default=None)
        return (heaviest.inputs[0].dtype if heaviest and heaviest.inputs else "") or "float32"

    @property
    def total_ns(self) -> float:
        """What all of them take in a query."""
        return sum(layer.latency_ns for layer in self.layers)


def layer_table(evidence: Evidence, batch_size: int) -> LayerTable:
    """The numbered layers (or outermost framework spans) of this batch size, in order."""
    if batch_size not in evidence.tables:
        evidence.tables[batch_size] = _table(evidence, batch_size)
    found: LayerTable = evidence.tables[batch_size]
    return found


def _table(evidence: Evidence, batch_size: int) -> LayerTable:
    spans = evidence.spans
    if spans is None:
        return LayerTable(-1, batch_size, 0, [])
    timeline = spans.timeline
    rows = spans.in_run(spans.is_layer, evidence.runs_of(batch_size))
    if not len(rows):
        return LayerTable(-1, batch_size, 0, [])
    first, ids = distinct(spans.number[rows], timeline.name_index[rows].astype("int64"))
    queries, count = spans.queries(rows)
    times = trimmed(per_query(ids, queries, timeline.duration_ns[rows].astype(float), count))
    layers = []
    for order, (at, latency_ns) in enumerate(zip(rows[first], times.tolist(), strict=True)):
        number = int(spans.number[at])
        tags = spans.tags(int(at))
        name = timeline.names[int(timeline.name_index[at])]
        layers.append(_layer(evidence, (number, order, name), tags, latency_ns))
    layers.sort(key=lambda layer: layer.index)
    return LayerTable(int(timeline.run[rows[0]]), batch_size, count, layers)


def _layer(
    evidence: Evidence, known_by: tuple[int, int, str], tags: dict[str, Any], latency_ns: float
) -> Layer:
    number, order, name = known_by
    told = evidence.described.get(number)
    operator = (told.operator if told else "") or str(tags.get("operator", "")) or name
    inputs = _tensors(tags.get("input_shapes"), told.inputs if told else [])
    outputs = _tensors(tags.get("output_shapes"), told.outputs if told else [])
    if not outputs and (shape := result_of(operator, _shapes(inputs))) is not None:
        outputs = [TensorSpec(dtype=inputs[0].dtype, shape=list(shape))]
    taken = tags.get("allocated_bytes", told.allocated_bytes if told else 0)
    made = tags.get("output_bytes", told.output_bytes if told else 0)
    return Layer(
        index=number if number >= 0 else order,
        number=number,
        name=name,
        operator=operator,
        latency_ns=latency_ns,
        inputs=inputs,
        outputs=outputs,
        allocated_bytes=taken or made or None,
        allocated_by="allocator" if taken else "output" if made else "",
        work=work_of(operator, _shapes(inputs), _shapes(outputs)),
        bytes=bytes_of(operator, inputs, outputs),
    )


def _tensors(shapes: Any, told: Sequence[TensorSpec]) -> list[TensorSpec]:
    """As they were in this run; the types are those that the graph was described with once."""
    if not isinstance(shapes, list) or not shapes:
        return list(told)
    if len(shapes) != len(told):
        return [TensorSpec(shape=list(shape)) for shape in shapes]
    return [
        msgspec.structs.replace(tensor, shape=list(shape))
        for tensor, shape in zip(told, shapes, strict=True)
    ]


def _shapes(tensors: Sequence[TensorSpec]) -> list[list[int]]:
    return [list(tensor.shape) for tensor in tensors]  # type: ignore[arg-type]
