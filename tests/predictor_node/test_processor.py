"""What the kernel's files say of a processor, as several machines have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.messages import Processor
from predictor_node.processor import processor

INTEL = """processor\t: {n}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R) {name}
stepping\t: 2
cpu MHz\t\t: 2299.998
physical id\t: {socket}
flags\t\t: fpu avx512f constant_tsc {more}
"""
ARM = """processor\t: 0
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd40
"""
COMMON = {"vendor": "GenuineIntel", "family": 6, "model": 207, "stepping": 2}
COUNTER = "the time-stamp counter's rate"


def intel(sockets: int = 1, name: str = "Processor", more: str = "") -> str:
    blocks = [INTEL.format(n=n, name=name, socket=n, more=more) for n in range(sockets)]
    return "\n".join(blocks) + "\n"


# (cpuinfo, files below /sys/devices/system/cpu, what is read)
MACHINES = {
    "a virtual machine": (
        intel(),
        {"cpu0/topology/thread_siblings_list": "0"},
        Processor(**COMMON, sockets=1, threads_per_core=1, base_mhz=2300, base_by=COUNTER),
    ),
    "two sockets, named": (
        intel(2, "Gold 6548Y+ @ 2.50GHz", "aperfmperf"),
        {"cpu0/topology/thread_siblings_list": "0,64"},
        Processor(
            **COMMON, sockets=2, threads_per_core=2, base_mhz=2500, base_by="the processor's name"
        ),
    ),
    "one whose frequency the system manages": (
        intel(),
        {
            "cpu0/cpufreq/base_frequency": "2100000",
            "cpu0/cpufreq/cpuinfo_max_freq": "4100000",
            "cpu0/topology/thread_siblings_list": "0-1",
        },
        Processor(
            **COMMON, sockets=1, threads_per_core=2, base_mhz=2100, base_by="cpufreq", most_mhz=4100
        ),
    ),
    "one that measures what it runs at": (
        intel(more="aperfmperf"), {}, Processor(**COMMON, sockets=1)
    ),
    "an ARM": (ARM, {}, Processor(vendor="ARM", model=0xD40)),
    "none that is told": ("", {}, Processor()),
}  # fmt: skip


@pytest.mark.parametrize("case", MACHINES)
def test_the_processor(tmp_path: Path, case: str) -> None:
    cpuinfo, files, expected = MACHINES[case]
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    for name, text in files.items():
        path = tmp_path / "cpu" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert processor(tmp_path / "cpuinfo", tmp_path / "cpu", tmp_path) == expected


def module(size_mb: int, configured_mts: int) -> bytes:
    """A memory device as SMBIOS 3 has it: type 17, 40 bytes; size at 0x0C, speed at 0x20."""
    raw = bytearray(40)
    raw[0], raw[1] = 17, 40
    raw[0x0C:0x0E] = size_mb.to_bytes(2, "little")
    raw[0x20:0x22] = configured_mts.to_bytes(2, "little")
    return bytes(raw)


def test_the_memorys_speed_is_that_of_the_modules_that_are_there(tmp_path: Path) -> None:
    places = [module(0x7FFF, 4800), module(0, 0), module(0x7FFF, 4400), b"\x11\x05"]
    for number, raw in enumerate(places):
        entry = tmp_path / f"17-{number}"
        entry.mkdir()
        (entry / "raw").write_bytes(raw)
    found = processor(tmp_path / "none", tmp_path / "none", tmp_path)
    assert (found.memory_modules, found.memory_mts) == (2, 4400)
