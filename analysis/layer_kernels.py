"""A12 to A14: of each layer, what its kernels counted, took and reached."""

from __future__ import annotations

from analysis.answers import Answer, Row
from analysis.kernel_sums import Rated, Sums, sums
from analysis.kernel_table import Kernel
from analysis.kernels import OUTSIDE_NAME, Kernels, moved, only_rated, renamed
from analysis.layer_table import Layer

LAUNCHED = (
    "some layers only launch what runs after them: what is outside of their kernels is negative "
    "there; --serialize makes each layer wait"
)
OTHER_RUN = (
    "layers and calls are of two runs, the shallowest that has each: where a layer was slower in "
    "the deeper one, what is outside of its calls is negative"
)


class LayerMetrics(Row, frozen=True, kw_only=True):
    """A12."""

    layer: int
    layer_name: str
    flops: float | None
    read_bytes: float | None
    write_bytes: float | None
    occupancy_percent: float | None
    source: str


class LayerSplit(Row, frozen=True, kw_only=True):
    """A13. gpu_ns + cpu_ns = layer_ns. asynchronous: its kernels took longer than the layer.

    On a CPU, kernels_ns is what library calls took, and outside_ns the framework's own part.
    """

    layer: int
    layer_name: str
    layer_ns: float
    kernels_ns: float | None
    outside_ns: float | None
    gpu_ns: float | None
    cpu_ns: float | None
    asynchronous: bool


class LayerRoofline(Rated, frozen=True, kw_only=True):
    """A14. latency_ns: of its kernels on a device, otherwise the layer's own."""

    layer: int
    layer_name: str
    operator: str


def layer_metrics(of: Kernels) -> Answer:
    """A12: FLOPs, DRAM reads and writes and occupancy of each layer's kernels."""
    rows = []
    for (number, name), kernels in of.by_layer.items():
        found = sums(kernels)
        columns = renamed({"na": dict(found.na)})
        na = {k: v for k, v in columns["na"].items() if k in LayerMetrics.__struct_fields__}
        rows.append(
            LayerMetrics(
                analysis="A12",
                layer=number,
                layer_name=name or OUTSIDE_NAME,
                flops=found.flops,
                source=found.source,
                na=na,
                **moved(found),
            )
        )
    return of.answer("A12", "layer-metrics", "GPU metrics by layer", rows)


def layer_split(of: Kernels) -> Answer:
    """A13: of each layer's latency, what its kernels take and what is outside of them."""
    rows = []
    for layer in of.layers.layers:
        kernels = of.by_layer.get(layer.key, [])
        found = sums(kernels)
        took = found.latency_ns if kernels else 0.0
        na = dict(of.device_only)
        if of.table.of == "layer":
            why = f"{of.evidence.framework} shows nothing below its layers here"
            na |= dict.fromkeys(("kernels_ns", "outside_ns"), why)
            took = None
        elif took is None:
            why = found.na.get("latency_ns", "")
            na |= dict.fromkeys(("kernels_ns", "outside_ns", "gpu_ns", "cpu_ns"), why)
        rest = layer.latency_ns - took if took is not None else None
        on_device = of.table.on_device
        rows.append(
            LayerSplit(
                analysis="A13",
                na=na,
                layer=layer.index,
                layer_name=layer.name,
                layer_ns=layer.latency_ns,
                kernels_ns=took,
                outside_ns=rest,
                gpu_ns=took if on_device else None,
                cpu_ns=rest if on_device else None,
                asynchronous=rest is not None and rest < 0,
            )
        )
    answer = of.answer("A13", "layer-split", "GPU and CPU latency by layer", rows)
    if any(row.asynchronous for row in rows):
        answer.notes.append(LAUNCHED if of.table.on_device else OTHER_RUN)
    return answer


def layer_roofline(of: Kernels) -> Answer:
    """A14: every layer's intensity against its rate."""
    rows = []
    for layer in of.layers.layers:
        latency_ns, found = work_of_layer(of, layer)
        rows.append(
            LayerRoofline(
                analysis="A14",
                layer=layer.index,
                layer_name=layer.name,
                operator=layer.operator,
                **only_rated(of.rated(latency_ns, found)),
            )
        )
    return of.answer("A14", "layer-roofline", "Layer roofline", rows)


def work_of_layer(of: Kernels, layer: Layer) -> tuple[float | None, Kernel | Sums]:
    """Counted where it was counted; else from shapes, in the time that its kernels took."""
    kernels = of.by_layer.get(layer.key, [])
    found = sums(kernels)
    if of.table.on_device and kernels and found.flops is not None:
        return found.latency_ns, found
    na = {"flops": layer.work.why} if layer.work.why else {}
    if layer.bytes is None:
        na["bytes"] = "the shapes that its traffic follows from are not recorded"
    took: float | None = layer.latency_ns
    if of.table.on_device:
        took = found.latency_ns if kernels else None
        if took is None:
            na["latency_ns"] = found.na.get("latency_ns", "") if kernels else "it has no kernels"
    made = Kernel(
        name=layer.name,
        layer=layer.key,
        place=0,
        latency_ns=took,
        flops=layer.work.flops,
        bytes=layer.bytes,
        source="analytic",
        na=na,
    )
    return took, made
