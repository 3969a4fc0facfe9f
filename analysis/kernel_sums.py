"""Sums over kernels, and what follows from sums: intensity, GFLOP/s, which limit holds them.

XSP (arXiv 1908.06869): durations, FLOPs, reads and writes are added; intensity and rate are made
of the sums again; occupancy is weighted by duration. A sum with an unknown part is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.answers import Row, lacking, total
from analysis.kernel_table import Kernel, KernelTable
from analysis.roofline import Roof, gflops, intensity

NO_ROOF = "what this machine can do is not known: `mlmodelscope ceilings {node}` measures it"
NO_SHEET = "what this device can do is not known: no ceilings were measured, and no datasheet fits"


@dataclass(frozen=True, slots=True)
class Sums:
    """Kernels together; None where a part is not known, with the reason in na."""

    count: int
    latency_ns: float | None
    flops: float | None
    read_bytes: float | None
    write_bytes: float | None
    bytes: float | None
    occupancy: float | None
    source: str
    na: Mapping[str, str]


COLUMNS = ("latency_ns", "flops", "read_bytes", "write_bytes", "bytes")


def sums(kernels: Sequence[Kernel]) -> Sums:
    """Of one layer, of one name, of all."""
    found: dict[str, float | None] = {}
    na: dict[str, str] = {}
    for column in COLUMNS:
        values = [getattr(kernel, column) for kernel in kernels]
        found[column] = total(values)
        if found[column] is None:
            whys = [kernel.na.get(column, "") for kernel in kernels]
            na[column] = lacking(values, whys, column)
    occupancy, why = _occupancy(kernels)
    if occupancy is None:
        na["occupancy"] = why
    sources = {kernel.source for kernel in kernels if kernel.source}
    return Sums(
        count=len(kernels),
        occupancy=occupancy,
        source=", ".join(sorted(sources)),
        na=na,
        **found,
    )


def _occupancy(kernels: Sequence[Kernel]) -> tuple[float | None, str]:
    known = [k for k in kernels if k.occupancy is not None and k.latency_ns is not None]
    if len(known) < len(kernels) or not kernels:
        values = [k.occupancy if k.latency_ns is not None else None for k in kernels]
        whys = [k.na.get("occupancy") or k.na.get("latency_ns", "") for k in kernels]
        return None, lacking(values, whys, "occupancy") if kernels else "there are no kernels"
    took = sum(k.latency_ns or 0.0 for k in known)
    if not took:
        return None, "its kernels took no time"
    return sum((k.latency_ns or 0.0) * (k.occupancy or 0.0) for k in known) / took, ""


class Rated(Row, frozen=True, kw_only=True):
    """The base of rows with work and time. intensity: FLOPs a byte; gflops: 10^9 FLOPs a second.

    bound: memory or compute, by `bound_by` (measured or datasheet); source: where flops and bytes
    are from: counters, or analytic (from shapes: every input, weight and output moved once).
    """

    latency_ns: float | None
    flops: float | None
    bytes: float | None
    intensity: float | None
    gflops: float | None
    attainable_gflops: float | None
    bound: str | None
    bound_by: str
    source: str


def rated(
    latency_ns: float | None,
    flops: float | None,
    moved: float | None,
    na: Mapping[str, str],
    roof: Roof | None,
    no_roof: str,
) -> dict[str, Any]:
    """The columns of Rated but for `source`, with their reasons as `na`."""
    whys = {name: why for name, why in na.items() if name in ("latency_ns", "flops", "bytes")}
    for_flops = whys.get("flops", "its FLOPs are not known")
    for_bytes = whys.get("bytes", "the bytes that it moves are not known")
    for_time = whys.get("latency_ns", "its time is not known")
    made: dict[str, Any] = {"latency_ns": latency_ns, "flops": flops, "bytes": moved}
    made |= {"intensity": None, "gflops": None, "attainable_gflops": None, "bound": None}
    made["bound_by"] = roof.source if roof else ""
    if flops is None or latency_ns is None:
        whys["gflops"] = for_flops if flops is None else for_time
    else:
        made["gflops"] = gflops(flops, latency_ns)
    if flops is None or moved is None:
        why = for_flops if flops is None else for_bytes
        whys |= dict.fromkeys(("intensity", "attainable_gflops", "bound"), why)
        return made | {"na": {**na, **whys}}
    made["intensity"] = reached = intensity(flops, moved)
    if roof is None:
        whys |= dict.fromkeys(("attainable_gflops", "bound"), no_roof)
    else:
        made |= {"attainable_gflops": roof.attainable(reached), "bound": roof.bound(reached)}
    return made | {"na": {**na, **whys}}


def no_roof(table: KernelTable, node_id: str) -> str:
    """What to do where no roof is known."""
    return NO_SHEET if table.on_device else NO_ROOF.format(node=node_id)
