"""Which processor and memory this machine has, as far as it says: for what its maker promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bus.messages import Processor

CPUINFO = Path("/proc/cpuinfo")
CPUS = Path("/sys/devices/system/cpu")
MODULES = Path("/sys/firmware/dmi/entries")
ARM = "0x41"
IN_NAME = re.compile(r"@ *(\d+(?:\.\d+)?) *GHz")
SIZE_AT, CONFIGURED_AT = 0x0C, 0x20
"""Where SMBIOS has a memory module's size and configured speed (DSP0134, 7.18)."""


def processor(cpuinfo: Path = CPUINFO, cpus: Path = CPUS, modules: Path = MODULES) -> Processor:
    """Read from the kernel; what it does not tell stays 0 or empty."""
    blocks = [*_blocks(_text(cpuinfo))]
    first = blocks[0] if blocks else {}
    speeds = [speed for size, speed in _memory(modules) if size and speed]
    base_mhz, base_by = _base(first, cpus)
    arm = first.get("CPU implementer") == ARM
    return Processor(
        vendor="ARM" if arm else first.get("vendor_id", ""),
        family=0 if arm else _number(first.get("cpu family", "")),
        model=_number(first.get("CPU part" if arm else "model", "")),
        stepping=0 if arm else _number(first.get("stepping", "")),
        sockets=len({b["physical id"] for b in blocks if "physical id" in b}),
        threads_per_core=_siblings(cpus),
        base_mhz=base_mhz,
        base_by=base_by,
        most_mhz=_number(_text(cpus / "cpu0/cpufreq/cpuinfo_max_freq")) // 1000,
        memory_modules=len(speeds),
        memory_mts=min(speeds, default=0),
    )


def _blocks(text: str) -> Iterator[dict[str, str]]:
    """One map a processor."""
    for block in text.strip().split("\n\n"):
        pairs = [line.partition(":") for line in block.splitlines()]
        if found := {name.strip(): value.strip() for name, colon, value in pairs if colon}:
            yield found


def _base(first: dict[str, str], cpus: Path) -> tuple[int, str]:
    """The frequency that the maker promises on all cores, in MHz, and who says so."""
    if told := _number(_text(cpus / "cpu0/cpufreq/base_frequency")):
        return told // 1000, "cpufreq"
    if named := IN_NAME.search(first.get("model name", "")):
        return round(float(named[1]) * 1000), "the processor's name"
    flags = first.get("flags", "").split()
    if (
        "constant_tsc" in flags
        and "aperfmperf" not in flags
        and not (cpus / "cpu0/cpufreq").exists()
    ):
        # The kernel then has no other frequency than the time-stamp counter's, which Intel and AMD
        # let run at the nominal one.
        mhz = first.get("cpu MHz", "")
        return (round(float(mhz)), "the time-stamp counter's rate") if mhz else (0, "")
    return 0, ""


def _siblings(cpus: Path) -> int:
    """Threads of one core; 0 where the kernel does not say."""
    text = _text(cpus / "cpu0/topology/thread_siblings_list").strip()
    count = 0
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        count += _number(high or low) - _number(low) + 1
    return count


def _memory(modules: Path) -> Iterator[tuple[int, int]]:
    """(size, configured MT/s) of each place for a memory module; only root may read them."""
    for entry in sorted(modules.glob("17-*")):
        try:
            raw = (entry / "raw").read_bytes()
        except OSError:
            continue
        if len(raw) >= CONFIGURED_AT + 2:
            size, speed = (
                int.from_bytes(raw[at : at + 2], "little") for at in (SIZE_AT, CONFIGURED_AT)
            )
            yield size, speed


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(text: str) -> int:
    try:
        return int(text.strip(), 0)
    except ValueError:
        return 0
