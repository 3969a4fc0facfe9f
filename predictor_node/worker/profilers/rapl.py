"""Power and energy of processor packages and memory, from the kernel's powercap counters."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import Session
from .periodic import sampled

LEVEL = "hardware"
POWERCAP = Path("/sys/class/powercap")
INTERVAL_S = 0.1
"""The counters move about every millisecond: over a tenth of a second that is 1 % of error."""


@dataclass(slots=True)
class Domain:
    """One counter of energy: a package, or a part of it. It begins again at 0 after range_uj."""

    name: str
    file: Path
    range_uj: int
    last_uj: int = 0
    used_uj: int = 0

    def read(self) -> int:
        """The microjoules since the last reading."""
        now_uj = int(self.file.read_text())
        used_uj = now_uj - self.last_uj
        if used_uj < 0:
            used_uj += self.range_uj
        self.last_uj = now_uj
        self.used_uj += used_uj
        return used_uj


def available() -> str:
    return why_not(POWERCAP)


def why_not(folder: Path) -> str:
    """Why no energy can be read there, or nothing."""
    zones = _zones(folder)
    if not zones:
        return f"no RAPL interface (intel-rapl is not under {folder})"
    unreadable = [zone for zone in zones if not os.access(zone / "energy_uj", os.R_OK)]
    if len(unreadable) == len(zones):
        return f"{unreadable[0] / 'energy_uj'} may not be read by this user (root may)"
    return ""


def domains(folder: Path) -> list[Domain]:
    """Every counter that may be read: package-0, package-0.dram …, begun now."""
    found = []
    for zone in _zones(folder):
        if not os.access(zone / "energy_uj", os.R_OK):
            continue
        name = (zone / "name").read_text().strip()
        if zone.name.count(":") > 1:  # intel-rapl:0:2 is a part of intel-rapl:0
            parent = folder / zone.name.rpartition(":")[0]
            name = f"{(parent / 'name').read_text().strip()}.{name}"
        found.append(
            Domain(name, zone / "energy_uj", int((zone / "max_energy_range_uj").read_text()))
        )
        found[-1].last_uj = int(found[-1].file.read_text())
    return found


@dataclass(slots=True)
class Meter:
    """Power between two readings of every domain."""

    domains: Sequence[Domain]
    then_ns: int = field(default_factory=time.perf_counter_ns)

    def read(self) -> dict[tuple[str, str], float]:
        now_ns = time.perf_counter_ns()
        took_ns, self.then_ns = max(1, now_ns - self.then_ns), now_ns
        # Microjoules a nanosecond are kilowatts.
        return {
            (f"power.{domain.name}", "watts"): 1000 * domain.read() / took_ns
            for domain in self.domains
        }


@contextmanager
def profile(session: Session, folder: Path = POWERCAP) -> Iterator[None]:
    found = domains(folder)
    meter = Meter(found)
    meter.read()
    for domain in found:
        domain.used_uj = 0
    # The first reading would be of no time at all, so it comes when an interval is over.
    with sampled(session, LEVEL, INTERVAL_S, meter.read, at_once=False):
        yield
    now_ns, queries = session.now_ns(), max(1, session.times.done)
    for domain in found:
        joules = domain.used_uj / 1e6
        session.add_sample(f"energy.{domain.name}", "joules", LEVEL, now_ns, joules)
    whole_j = sum(domain.used_uj for domain in found if _counts(domain.name)) / 1e6
    session.add_sample("energy.per_query", "joules", LEVEL, now_ns, whole_j / queries)


def _counts(name: str) -> bool:
    """Packages and their memory; cores lie inside a package, and psys around all of it."""
    return name.startswith("package") and ("." not in name or name.endswith(".dram"))


def _zones(folder: Path) -> list[Path]:
    """The zones of RAPL; the same counters by MMIO would count everything twice."""
    return sorted(zone for zone in folder.glob("intel-rapl:*") if (zone / "energy_uj").exists())
