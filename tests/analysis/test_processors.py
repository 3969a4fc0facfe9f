"""What makers promise of processors: their published bandwidths, and peaks worked out by hand."""

from __future__ import annotations

import pytest

from analysis.processors import processor_roof
from analysis.roofline import Roof
from bus.messages import NodeAnnounced, Processor


def node(cpu: str, cores: int, **told: str | int) -> NodeAnnounced:
    return NodeAnnounced(
        node_id="n", incarnation="i", cpu=cpu, cores=cores, processor=Processor(**told)
    )


def intel(model: int, stepping: int, **told: str | int) -> dict[str, str | int]:
    who = {"vendor": "GenuineIntel", "family": 6, "model": model, "stepping": stepping}
    return {**who, "sockets": 1, "threads_per_core": 2, "base_by": "its name", **told}


def amd(family: int, model: int, **told: str | int) -> dict[str, str | int]:
    who = {"vendor": "AuthenticAMD", "family": family, "model": model}
    return {**who, "sockets": 1, "threads_per_core": 2, "base_by": "its name", **told}


PLATINUM = "Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz"
# (processor, threads; GFLOP/s: cores x FLOPs a cycle x GHz; GB/s as the maker's page has it)
PROMISED = {
    "Xeon 8280, all of 28 cores": (
        node(PLATINUM, 56, **intel(85, 7, base_mhz=2700)), 0, 28 * 64 * 2.7, 140.8,
    ),
    "Xeon 8280, four threads": (
        node(PLATINUM, 56, **intel(85, 7, base_mhz=2700)), 4, 4 * 64 * 2.7, 140.8,
    ),
    "two sockets": (
        node(PLATINUM, 112, **intel(85, 7, base_mhz=2700, sockets=2)), 0, 56 * 64 * 2.7, 281.6,
    ),
    "Xeon 8180, an older stepping": (
        node("Intel(R) Xeon(R) Platinum 8180 CPU", 56, **intel(85, 4, base_mhz=2500)),
        0, 28 * 64 * 2.5, 127.968,
    ),
    "half of its memory modules": (
        node("AMD EPYC 7763", 128, **amd(25, 1, base_mhz=2450, memory_modules=4, memory_mts=2933)),
        0, 64 * 32 * 2.45, 4 * 2.933 * 8,
    ),
    "EPYC 7763": (node("AMD EPYC 7763", 128, **amd(25, 1, base_mhz=2450)), 0, 5017.6, 204.8),
    "EPYC 9654": (node("AMD EPYC 9654", 192, **amd(25, 17, base_mhz=2400)), 0, 7372.8, 460.8),
    "two of a virtual machine's": (
        node("Intel(R) Xeon(R) Processor", 2, **intel(207, 2, base_mhz=2300, threads_per_core=1)),
        1, 147.2, 358.4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROMISED)
def test_promised(case: str) -> None:
    which, threads, gflops, gb_per_s = PROMISED[case]
    roof = processor_roof(which, threads)
    assert isinstance(roof, Roof) and roof.source == "datasheet"
    assert roof.peak_gflops == pytest.approx(gflops)
    assert roof.bandwidth_gb_per_s == pytest.approx(gb_per_s, rel=1e-3)  # pages round


UNKNOWN = {
    "an older record": (node("Xeon", 4), "does not tell the processor's family"),
    "a processor of another kind": (
        node("VIA Nano", 1, vendor="CentaurHauls", family=6, model=15),
        "no datasheet is known of VIA Nano (CentaurHauls 6/15)",
    ),
    "one unit or two": (
        node("Intel(R) Xeon(R) Silver 4110", 16, **intel(85, 4, base_mhz=2100)),
        "one or two AVX-512 units",
    ),
    "no frequency": (node("AMD EPYC 7R13", 8, **amd(25, 1)), "does not tell its frequency"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_has_its_reason(case: str) -> None:
    which, why = UNKNOWN[case]
    found = processor_roof(which)
    assert isinstance(found, str) and why in found
