"""What this machine is doing now and how it is set: what two measurements must share."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bus.messages import Conditions

SYSTEM = Path("/sys")
CPU = Path("devices/system/cpu")
PRESSURE = Path("/proc/pressure/cpu")
FEW_FILES = 32
"""Read in less than half a millisecond."""


@dataclass(frozen=True)
class Files:
    """Where a machine tells of its zones and cores: one file each."""

    zones: tuple[Path, ...]
    slowed: tuple[Path, ...]
    speeds: tuple[Path, ...]
    governors: tuple[Path, ...]

    def __len__(self) -> int:
        return sum(map(len, (self.zones, self.slowed, self.speeds, self.governors)))


@cache
def told_by(system: Path) -> Files:
    """The files that are there: looked for once, for they come and go with the hardware."""
    cpu = system / CPU
    return Files(
        zones=tuple((system / "class" / "thermal").glob("thermal_zone*/temp")),
        slowed=tuple(cpu.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")),
        speeds=tuple(cpu.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")),
        governors=tuple(cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")),
    )


async def look() -> Conditions:
    """This machine's conditions now.

    In a thread only where many cores have much to tell: a hand-over costs more than some files.
    """
    if len(told_by(SYSTEM)) <= FEW_FILES:
        return conditions()
    return await asyncio.to_thread(conditions)


def conditions(system: Path = SYSTEM, pressure: Path = PRESSURE) -> Conditions:
    """Governor, turbo, load, temperature and throttling; what cannot be read says why."""
    missing: dict[str, str] = {}
    there, cpu = told_by(system), system / CPU
    zones, slowed, speeds = _numbers(there.zones), _numbers(there.slowed), _numbers(there.speeds)
    governors = {_text(path) for path in there.governors} - {""}
    if not governors:
        missing["governor"] = f"no {cpu}/cpu*/cpufreq: a virtual machine, or no driver"
    if not (turbo := _turbo(cpu)):
        missing["turbo"] = f"neither {cpu}/intel_pstate/no_turbo nor {cpu}/cpufreq/boost is there"
    if not zones:
        missing["temperature"] = f"no {system}/class/thermal/thermal_zone*"
    if not slowed:
        missing["throttling"] = f"no {cpu}/cpu*/thermal_throttle"
    stalled_us = _stalled_us(pressure)
    if stalled_us < 0:
        missing["stalled"] = f"no {pressure}: a kernel without pressure stall information"
    load = _load()
    if load < 0:
        missing["load"] = "the system tells no load average"
    return Conditions(
        governor=", ".join(sorted(governors)),
        turbo=turbo,
        kernel=platform.release(),
        python=platform.python_version(),
        load_1m=load,
        frequency_mhz=max(speeds) / 1000 if speeds else -1.0,
        temperature_c=max(zones) / 1000 if zones else -1.0,
        throttled=sum(slowed) if slowed else -1,
        stalled_us=stalled_us,
        unavailable=missing,
    )


def _turbo(cpu: Path) -> str:
    """Whether cores may run faster than their base clock: two drivers say it, in opposite words."""
    if told := _text(cpu / "intel_pstate" / "no_turbo"):
        return "off" if told == "1" else "on"
    if told := _text(cpu / "cpufreq" / "boost"):
        return "on" if told == "1" else "off"
    return ""


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except OSError:
        return -1.0


def _stalled_us(pressure: Path) -> int:
    """The total of the line `some avg10=… total=N`: time in which some process lacked a core."""
    for line in _text(pressure).splitlines():
        kind, *fields = line.split()
        if kind == "some" and fields and fields[-1].startswith("total="):
            return int(fields[-1].removeprefix("total="))
    return -1


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _numbers(paths: Iterable[Path]) -> list[int]:
    return [int(text) for path in paths if (text := _text(path)).lstrip("-").isdigit()]
