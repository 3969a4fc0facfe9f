"""What a processor's maker promises: the datasheet's roof of a CPU, or why there is none.

FLOPs a cycle of a core are those of its multiply-add units: units x lanes x 2, in float32; they and
the memory's channels follow from the processor's family and model as CPUID tells them. Sources:
Intel 64 and IA-32 Architectures Optimization Reference Manual and the product briefs of the Xeon
families; AMD Software Optimization Guides for families 17h, 19h and 1Ah and the EPYC datasheets;
Arm Neoverse Software Optimization Guides. What is not in the table is not guessed.
"""

from __future__ import annotations

import msgspec

from analysis.roofline import Roof
from bus.messages import NodeAnnounced, Processor

INTEL, AMD, ARM = "GenuineIntel", "AuthenticAMD", "ARM"
BYTES = 8
"""A transfer on a memory channel."""


class Maker(msgspec.Struct, frozen=True):
    """One kind of processor. flops: float32, a core and cycle; channels: of a socket's memory."""

    vendor: str
    family: int
    model: int
    name: str
    flops: int
    channels: int
    memory_mts: int
    steppings: range = range(256)


# Two AVX-512 units of 16 lanes make 64; two AVX2 units of 8 lanes 32; two of 4 lanes 16.
KNOWN = (
    Maker(INTEL, 6, 63, "Xeon E5 v3 (Haswell-EP)", 32, 4, 2133),
    Maker(INTEL, 6, 79, "Xeon E5 v4 (Broadwell-EP)", 32, 4, 2400),
    Maker(INTEL, 6, 85, "Xeon Scalable (Skylake-SP)", 64, 6, 2666, range(5)),
    Maker(INTEL, 6, 85, "2nd Gen Xeon Scalable (Cascade Lake)", 64, 6, 2933, range(5, 8)),
    Maker(INTEL, 6, 106, "3rd Gen Xeon Scalable (Ice Lake-SP)", 64, 8, 3200),
    Maker(INTEL, 6, 143, "4th Gen Xeon Scalable (Sapphire Rapids)", 64, 8, 4800),
    Maker(INTEL, 6, 207, "5th Gen Xeon Scalable (Emerald Rapids)", 64, 8, 5600),
    Maker(AMD, 23, 1, "EPYC 7001 (Naples)", 16, 8, 2666),
    Maker(AMD, 23, 49, "EPYC 7002 (Rome)", 32, 8, 3200),
    Maker(AMD, 25, 1, "EPYC 7003 (Milan)", 32, 8, 3200),
    Maker(AMD, 25, 17, "EPYC 9004 (Genoa)", 32, 12, 4800),
    Maker(AMD, 25, 160, "EPYC 9004 (Bergamo)", 32, 12, 4800),
    Maker(ARM, 0, 0xD0C, "Neoverse N1 (Graviton2, Altra)", 16, 8, 3200),
    Maker(ARM, 0, 0xD40, "Neoverse V1 (Graviton3)", 32, 8, 4800),
)
VARIES = 85
"""Of this Intel model some have one AVX-512 unit; those that have two say so in their names."""
TWO_UNITS = ("Platinum", "Gold 6")


def processor_roof(node: NodeAnnounced, threads: int = 0) -> Roof | str:
    """Both limits for so many threads (0: all) in float32; where one is unknown, the reason."""
    told = node.processor
    if not told.vendor:
        return "the record does not tell the processor's family and model"
    which = f"{told.vendor} {told.family}/{told.model}"
    found = [each for each in KNOWN if _is(each, told)]
    if not found:
        return f"no datasheet is known of {node.cpu} ({which})"
    (sheet,) = found
    if (
        sheet.vendor == INTEL
        and sheet.model == VARIES
        and not any(word in node.cpu for word in TWO_UNITS)
    ):
        return f"{node.cpu} does not tell whether it has one or two AVX-512 units"
    mhz = told.base_mhz or told.most_mhz
    if not mhz:
        return f"{node.cpu} ({sheet.name}) does not tell its frequency"
    cores = _cores(node, threads)
    by = f"base, by {told.base_by}" if told.base_mhz else "the highest that it may reach"
    turbo = f", turbo {told.most_mhz:,} MHz" if told.most_mhz > mhz else ""
    return Roof(
        peak_gflops=cores * sheet.flops * mhz / 1e3,
        bandwidth_gb_per_s=bandwidth(sheet, told),
        source="datasheet",
        what=f"{sheet.name}, float32: {cores} core{'s' * (cores > 1)} x {sheet.flops} FLOPs a "
        f"cycle x {mhz:,} MHz ({by}{turbo}); {_memory(sheet, told)}",
    )


def bandwidth(sheet: Maker, told: Processor) -> float:
    """GB/s: channels x MT/s x 8 bytes; of the modules that are there where the machine says."""
    channels = sheet.channels * max(told.sockets, 1)
    if told.memory_modules and told.memory_mts:
        return min(channels, told.memory_modules) * told.memory_mts * BYTES / 1e3
    return channels * sheet.memory_mts * BYTES / 1e3


def _memory(sheet: Maker, told: Processor) -> str:
    if told.memory_modules and told.memory_mts:
        return f"{told.memory_modules} memory modules at {told.memory_mts:,} MT/s (SMBIOS)"
    return f"{sheet.channels} channels of {sheet.memory_mts:,} MT/s a socket, the family's most"


def _is(sheet: Maker, told: Processor) -> bool:
    same = (sheet.vendor, sheet.family, sheet.model) == (told.vendor, told.family, told.model)
    return same and told.stepping in sheet.steppings


def _cores(node: NodeAnnounced, threads: int) -> int:
    """How many cores these threads can use: two threads of one core share its units."""
    cores = -(-node.cores // max(node.processor.threads_per_core, 1))
    return min(threads or cores, cores) or 1
