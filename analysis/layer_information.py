"""A2 to A7: the layers of a model, one by one and by their type."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analysis.answers import Answer, Row, percent
from analysis.evidence import Evidence
from analysis.layer_table import Layer, LayerTable, layer_table

NO_BYTES = "neither the allocator nor the layer's outputs tell it"
NO_LAYERS = (
    "there are no layers: `mlmodelscope evaluate MODEL --trace framework` measures them, and "
    "an imported recording needs operators"
)


class LayerInformation(Row, frozen=True, kw_only=True):
    """A2. latency_ns: trimmed mean in a query. allocated_by: allocator, or output: its results.

    flops: 2 x MAC of products and convolutions, else operations by rule, from shapes.
    """

    index: int
    name: str
    operator: str
    shape: list[int | str]
    latency_ns: float
    latency_percent: float | None
    allocated_bytes: int | None
    allocated_by: str
    macs: int | None
    flops: int | None


class LayerLatency(Row, frozen=True, kw_only=True):
    """A3. until_ns: this layer's and all before it."""

    index: int
    name: str
    operator: str
    latency_ns: float
    until_ns: float


class LayerMemory(Row, frozen=True, kw_only=True):
    """A4."""

    index: int
    name: str
    operator: str
    allocated_bytes: int | None
    allocated_by: str


class TypeCount(Row, frozen=True, kw_only=True):
    """A5. percent: of all layers."""

    operator: str
    count: int
    percent: float | None


class TypeLatency(Row, frozen=True, kw_only=True):
    """A6. percent: of the sum of all layers' latencies."""

    operator: str
    count: int
    latency_ns: float
    percent: float | None


class TypeMemory(Row, frozen=True, kw_only=True):
    """A7. percent: of the sum of what is known; lacking: layers whose bytes are not known."""

    operator: str
    count: int
    allocated_bytes: int | None
    percent: float | None
    lacking: int


def layer_information(evidence: Evidence, batch_size: int) -> Answer:
    """A2: every layer with its index, name, type, shape, latency and allocated bytes."""
    table = layer_table(evidence, batch_size)
    whole = evidence.predict_ns(batch_size)

    def row(layer: Layer) -> LayerInformation:
        na = _no_bytes(layer)
        if layer.work.why:
            na |= dict.fromkeys(("macs", "flops"), layer.work.why)
        if whole is None:
            na["latency_percent"] = "no predict was measured"
        return LayerInformation(
            analysis="A2",
            na=na,
            index=layer.index,
            name=layer.name,
            operator=layer.operator,
            shape=layer.shape,
            latency_ns=layer.latency_ns,
            latency_percent=percent(layer.latency_ns, whole),
            allocated_bytes=layer.allocated_bytes,
            allocated_by=layer.allocated_by,
            macs=layer.work.macs,
            flops=layer.work.flops,
        )

    return _answer("A2", "layer-information", "Layer information", table, row)


def layer_latency(evidence: Evidence, batch_size: int) -> Answer:
    """A3: each layer's latency in order of execution."""
    table, until_ns = layer_table(evidence, batch_size), 0.0

    def row(layer: Layer) -> LayerLatency:
        nonlocal until_ns
        until_ns += layer.latency_ns
        return LayerLatency(
            analysis="A3",
            index=layer.index,
            name=layer.name,
            operator=layer.operator,
            latency_ns=layer.latency_ns,
            until_ns=until_ns,
        )

    return _answer("A3", "layer-latency", "Layer latency in execution order", table, row)


def layer_memory(evidence: Evidence, batch_size: int) -> Answer:
    """A4: what each layer allocates, in order of execution."""

    def row(layer: Layer) -> LayerMemory:
        return LayerMemory(
            analysis="A4",
            na=_no_bytes(layer),
            index=layer.index,
            name=layer.name,
            operator=layer.operator,
            allocated_bytes=layer.allocated_bytes,
            allocated_by=layer.allocated_by,
        )

    table = layer_table(evidence, batch_size)
    return _answer("A4", "layer-memory", "Layer memory allocation in execution order", table, row)


def layer_types(evidence: Evidence, batch_size: int) -> Answer:
    """A5: how often each type of layer occurs."""
    table = layer_table(evidence, batch_size)
    rows = [
        TypeCount(
            analysis="A5",
            operator=operator,
            count=len(layers),
            percent=percent(len(layers), len(table.layers)),
        )
        for operator, layers in _by_type(table, lambda layers: -len(layers))
    ]
    return _told("A5", "layer-types", "Layer type distribution", table, rows)


def layer_latency_by_type(evidence: Evidence, batch_size: int) -> Answer:
    """A6: what the layers of each type take together."""
    table = layer_table(evidence, batch_size)
    rows = [
        TypeLatency(
            analysis="A6",
            operator=operator,
            count=len(layers),
            latency_ns=(took_ns := _took(layers)),
            percent=percent(took_ns, table.total_ns),
        )
        for operator, layers in _by_type(table, lambda layers: -_took(layers))
    ]
    return _told("A6", "layer-latency-by-type", "Layer latency by type", table, rows)


def layer_memory_by_type(evidence: Evidence, batch_size: int) -> Answer:
    """A7: what the layers of each type allocate together."""
    table = layer_table(evidence, batch_size)
    whole = sum(layer.allocated_bytes or 0 for layer in table.layers)
    rows = []
    for operator, layers in _by_type(table, lambda layers: -_bytes(layers)):
        lacking = sum(1 for layer in layers if layer.allocated_bytes is None)
        known = lacking < len(layers)
        rows.append(
            TypeMemory(
                analysis="A7",
                na={} if known else dict.fromkeys(("allocated_bytes", "percent"), NO_BYTES),
                operator=operator,
                count=len(layers),
                allocated_bytes=_bytes(layers) if known else None,
                percent=percent(_bytes(layers), whole) if known else None,
                lacking=lacking,
            )
        )
    return _told("A7", "layer-memory-by-type", "Layer memory by type", table, rows)


def _took(layers: list[Layer]) -> float:
    return sum(layer.latency_ns for layer in layers)


def _bytes(layers: list[Layer]) -> int:
    return sum(layer.allocated_bytes or 0 for layer in layers)


def _no_bytes(layer: Layer) -> dict[str, str]:
    return {} if layer.allocated_bytes is not None else {"allocated_bytes": NO_BYTES}


def _by_type(
    table: LayerTable, order: Callable[[list[Layer]], float]
) -> list[tuple[str, list[Layer]]]:
    found: dict[str, list[Layer]] = {}
    for layer in table.layers:
        found.setdefault(layer.operator, []).append(layer)
    return sorted(found.items(), key=lambda item: (order(item[1]), item[0]))


def _answer(
    number: str, name: str, title: str, table: LayerTable, row: Callable[[Layer], Row]
) -> Answer:
    return _told(number, name, title, table, [row(layer) for layer in table.layers])


def _told(number: str, name: str, title: str, table: LayerTable, rows: Sequence[Row]) -> Answer:
    return Answer(
        analysis=number,
        name=name,
        title=title,
        rows=rows,
        notes=[where_from(table)] if rows else [],
        unavailable="" if rows else NO_LAYERS,
    )


def where_from(table: LayerTable) -> str:
    """Which run the rows are from."""
    size = f"batch {table.batch_size}" if table.batch_size else "an unknown batch size"
    return f"{size}, run {table.run}, {table.queries} queries"
