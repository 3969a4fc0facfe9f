"""Kernels: those of one batch size with their layers, under the roof of their machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.answers import Answer, Row
from analysis.evidence import Evidence
from analysis.kernel_sums import Rated, Sums, no_roof, rated
from analysis.kernel_table import NO_DEVICE, Kernel, KernelTable, kernel_table
from analysis.layer_information import where_from
from analysis.layer_table import LayerTable, layer_table
from analysis.processors import processor_roof
from analysis.roofline import Roof, datasheet_roof, measured_roof

NOTHING = (
    "there are neither kernels nor layers: `mlmodelscope evaluate MODEL --trace library` measures "
    "them"
)
STANDS = {
    "kernel": "",
    "counted kernel": "kernels are those that were counted: tracing and counting exclude each "
    "other, so the recording has no times of theirs",
    "library call": "it ran on a CPU: calls of oneDNN and MKL stand where kernels do",
    "layer": "no level below the layers was seen: layers stand where kernels do",
}
OUTSIDE_NAME = "(in no layer)"


@dataclass(eq=False)
class Kernels:
    """The kernels and layers of one batch size, and the roof over them."""

    evidence: Evidence
    batch_size: int

    @cached_property
    def layers(self) -> LayerTable:
        """In order of execution."""
        return layer_table(self.evidence, self.batch_size)

    @cached_property
    def table(self) -> KernelTable:
        """What ran, or what stands in its place."""
        return kernel_table(self.evidence, self.layers)

    @property
    def roof(self) -> Roof | None:
        """The measured one on a CPU; a device's is its datasheet's."""
        judged = "datasheet" if self.table.on_device else "measured"
        return next((roof for roof in self.roofs if roof.source == judged), None)

    @cached_property
    def roofs(self) -> list[Roof]:
        """All that is known of the machine, the one that is judged by first."""
        node = self.evidence.node
        sheet = datasheet_roof(node.devices, self.layers.dtype) if node else None
        if self.table.on_device:
            return [sheet] if sheet else []
        found = measured_roof(self.evidence.ceilings, self.evidence.threads)
        return [roof for roof in (found, self.promised) if isinstance(roof, Roof)]

    @cached_property
    def promised(self) -> Roof | str:
        """What the processor's maker promises, or why that is not known."""
        if self.evidence.node is None:
            return "the record does not tell on which machine it was made"
        return processor_roof(self.evidence.node, self.evidence.threads)

    @cached_property
    def by_layer(self) -> dict[tuple[int, str], list[Kernel]]:
        """Layer -> its kernels, in order of layers; OUTSIDE where some are in none."""
        found: dict[tuple[int, str], list[Kernel]] = {}
        for layer in self.layers.layers:
            found[layer.key] = []
        for kernel in self.table.kernels:
            found.setdefault(kernel.layer, []).append(kernel)
        return {key: kernels for key, kernels in found.items() if kernels}

    def rated(self, latency_ns: float | None, of: Sums | Kernel) -> dict[str, Any]:
        """The columns that rows with work and time share."""
        node_id = self.evidence.started.node_id if self.evidence.started else "NODE"
        why = no_roof(self.table, node_id)
        columns = rated(latency_ns, of.flops, of.bytes, of.na, self.roof, why)
        return columns | {"source": of.source}

    def answer(self, number: str, name: str, title: str, rows: Sequence[Row]) -> Answer:
        """The rows with what must be said of all of them."""
        notes = [text for text in (STANDS[self.table.of],) if text]
        run = LayerTable(self.table.run, self.batch_size, self.table.queries, [])
        notes.append(where_from(run))
        notes += self.roof_notes
        return Answer(
            analysis=number,
            name=name,
            title=title,
            rows=rows,
            notes=notes if rows else [],
            unavailable="" if rows else NOTHING,
            roofs=self.roofs,
        )

    @property
    def roof_notes(self) -> list[str]:
        """Each roof in a line, or why the datasheet's is not known."""
        told = [f"{roof.source}: {roof_words(roof)}" for roof in self.roofs]
        if not self.table.on_device and isinstance(self.promised, str):
            told.append(f"datasheet: n/a: {self.promised}")
        return told

    @property
    def device_only(self) -> dict[str, str]:
        """What is n/a where no device was used."""
        return {} if self.table.on_device else dict.fromkeys(("gpu_ns", "cpu_ns"), NO_DEVICE)


def roof_words(roof: Roof) -> str:
    """A roof in a line."""
    return (
        f"{roof.peak_gflops:,.1f} GFLOP/s, {roof.bandwidth_gb_per_s:,.1f} GB/s, "
        f"ideal intensity {roof.ideal_intensity:.2f} FLOP/B ({roof.what})"
    )


def moved(of: Sums | Kernel) -> dict[str, Any]:
    return {
        "read_bytes": of.read_bytes,
        "write_bytes": of.write_bytes,
        "occupancy_percent": of.occupancy,
    }


def renamed(columns: dict[str, Any]) -> dict[str, Any]:
    """The reason for a lack of occupancy under its column's name."""
    if why := columns["na"].pop("occupancy", ""):
        columns["na"]["occupancy_percent"] = why
    return columns


def only_rated(columns: dict[str, Any]) -> dict[str, Any]:
    kept = {key: why for key, why in columns["na"].items() if key in Rated.__struct_fields__}
    return columns | {"na": kept}
