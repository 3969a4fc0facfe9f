"""A8 to A11 and A15: kernels one by one, by name, by layer and of the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.answers import Answer, percent
from analysis.kernel_sums import Rated, sums
from analysis.kernel_table import Kernel
from analysis.kernels import OUTSIDE_NAME, Kernels, moved, only_rated, renamed


class KernelRow(Rated, frozen=True, kw_only=True):
    """A8. place: how many of this name ran before it in its layer. of: what stands for a kernel."""

    name: str
    layer: int
    layer_name: str
    place: int
    of: str
    read_bytes: float | None
    write_bytes: float | None
    occupancy_percent: float | None


class KernelRoofline(Rated, frozen=True, kw_only=True):
    """A9."""

    name: str
    layer: int
    layer_name: str
    place: int


class KernelsByName(Rated, frozen=True, kw_only=True):
    """A10. latency_percent: of the model's latency."""

    name: str
    count: int
    latency_percent: float | None
    read_bytes: float | None
    write_bytes: float | None
    occupancy_percent: float | None


class KernelsByLayer(Rated, frozen=True, kw_only=True):
    """A11. The last row holds what ran in no layer, if anything did."""

    layer: int
    layer_name: str
    count: int
    read_bytes: float | None
    write_bytes: float | None
    occupancy_percent: float | None


class ModelRoofline(Rated, frozen=True, kw_only=True):
    """A15. latency_ns: of all kernels; model_ns: of a predict."""

    batch_size: int
    of: str
    count: int
    model_ns: float | None
    read_bytes: float | None
    write_bytes: float | None
    occupancy_percent: float | None


def _layer_of(kernel: Kernel) -> dict[str, Any]:
    number, name = kernel.layer
    return {"layer": number, "layer_name": name or OUTSIDE_NAME}


def kernel_information(of: Kernels) -> Answer:
    """A8: every kernel with its layer, latency, work, intensity and bound."""
    rows = [
        KernelRow(
            analysis="A8",
            name=kernel.name,
            place=kernel.place,
            of=of.table.of,
            **_layer_of(kernel),
            **moved(kernel),
            **renamed(of.rated(kernel.latency_ns, kernel)),
        )
        for kernel in of.table.kernels
    ]
    return of.answer("A8", "kernel-information", "Kernel information", rows)


def kernel_roofline(of: Kernels) -> Answer:
    """A9: every kernel's intensity against its rate."""
    rows = [
        KernelRoofline(
            analysis="A9",
            name=kernel.name,
            place=kernel.place,
            **_layer_of(kernel),
            **only_rated(of.rated(kernel.latency_ns, kernel)),
        )
        for kernel in of.table.kernels
    ]
    return of.answer("A9", "kernel-roofline", "Kernel roofline", rows)


def kernels_by_name(of: Kernels) -> Answer:
    """A10: all kernels of one name together, those that take most first."""
    named: dict[str, list[Kernel]] = {}
    for kernel in of.table.kernels:
        named.setdefault(kernel.name, []).append(kernel)
    model_ns = of.evidence.predict_ns(of.batch_size)
    rows = []
    for name, kernels in named.items():
        found = sums(kernels)
        columns = renamed(of.rated(found.latency_ns, found))
        share = percent(found.latency_ns, model_ns) if found.latency_ns is not None else None
        if share is None:
            why = found.na.get("latency_ns", "no predict was measured")
            columns["na"] = {**columns["na"], "latency_percent": why}
        rows.append(
            KernelsByName(
                analysis="A10",
                name=name,
                count=found.count,
                latency_percent=share,
                **moved(found),
                **columns,
            )
        )
    rows.sort(key=lambda row: (-(row.latency_ns or 0.0), -(row.flops or 0.0), row.name))
    return of.answer("A10", "kernels-by-name", "Kernels aggregated by name", rows)


def kernels_by_layer(of: Kernels) -> Answer:
    """A11: the kernels of each layer together."""
    rows = []
    for (number, name), kernels in of.by_layer.items():
        found = sums(kernels)
        rows.append(
            KernelsByLayer(
                analysis="A11",
                layer=number,
                layer_name=name or OUTSIDE_NAME,
                count=found.count,
                **moved(found),
                **renamed(of.rated(found.latency_ns, found)),
            )
        )
    return of.answer("A11", "kernels-by-layer", "Kernels aggregated by layer", rows)


def model_roofline(every: Sequence[Kernels]) -> Answer:
    """A15: all kernels of a predict together, a row for each batch size."""
    rows = []
    for of in every:
        if not of.table.kernels:
            continue
        found = sums(of.table.kernels)
        model_ns = of.evidence.predict_ns(of.batch_size)
        columns = renamed(of.rated(found.latency_ns, found))
        if model_ns is None:
            columns["na"] = {**columns["na"], "model_ns": "no predict was measured"}
        rows.append(
            ModelRoofline(
                analysis="A15",
                batch_size=of.batch_size,
                of=of.table.of,
                count=found.count,
                model_ns=model_ns,
                **moved(found),
                **columns,
            )
        )
    shown = next((of for of in every if of.table.kernels), every[0])
    return shown.answer("A15", "model-roofline", "Kernels aggregated by model", rows)
