"""The hardware level: readers on recorded and prepared data, and the reasons on this machine."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from predictor_node import capabilities
from predictor_node.worker.profilers import Session, hardware, nvml, perf_events, rapl
from predictor_node.worker.profilers.perf_events import SOFTWARE, Event, Group, between, parse
from predictor_node.worker.trace import Clock, Times, Trace

MakeJob = Callable[..., dict[str, Any]]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A run of four queries that have been measured."""
    times = Times(4)
    times.done = 4
    return Session(
        run=None,  # type: ignore[arg-type]
        framework="none",
        plugin=None,
        handle=None,
        folder=str(tmp_path),
        settings={},
        thread=threading.get_native_id(),
        times=times,
        trace=Trace(0, 0, Clock(), lambda frame: None),
    )


def samples(session: Session) -> dict[tuple[str, str], list[float]]:
    return {(name, unit): values for (name, unit, _), (_, values) in session.kept.samples.items()}


# ---------------------------------------------------------------- counters


def raw(enabled_ns: int, running_ns: int, *values: int) -> bytes:
    """A group's read as linux/perf_event.h lays it out for GROUP with both times."""
    return struct.pack(f"={3 + len(values)}Q", len(values), enabled_ns, running_ns, *values)


# Task clock and page faults of a thread, as read() gave them (Linux on x86-64).
RECORDED = bytes.fromhex(
    "0200000000000000 314f000000000000 314f000000000000 e04f000000000000 0000000000000000"
)


def test_a_recorded_read_is_parsed() -> None:
    reading = parse(RECORDED)
    assert (reading.enabled_ns, reading.running_ns, reading.values) == (20273, 20273, (20448, 0))


BETWEEN = {
    "always on": (raw(100, 100, 10, 20), raw(300, 300, 50, 60), [40, 40], 1.0),
    "half of the time": (raw(100, 50, 10, 20), raw(300, 150, 50, 61), [80, 82], 0.5),
    "never": (raw(100, 50, 10, 20), raw(300, 50, 10, 20), None, 0.0),
    "the thread slept": (raw(100, 50, 10, 20), raw(100, 50, 10, 20), [0, 0], 1.0),
}


@pytest.mark.parametrize("case", BETWEEN)
def test_counters_that_took_turns_are_scaled(case: str) -> None:
    first, second, counts, share = BETWEEN[case]
    assert between(parse(first), parse(second)) == (counts, share)


CYCLES, INSTRUCTIONS, MISSES = (Event(name, 0, 0) for name in ("cycles", "instructions", "misses"))


def test_threads_are_summed_and_what_was_not_seen_has_no_tag() -> None:
    events = [[CYCLES, INSTRUCTIONS], [MISSES], [CYCLES, INSTRUCTIONS], [MISSES]]
    early = [parse(raw(0, 0, 0, 0)), parse(raw(0, 0, 0))] * 2
    late = [
        *(parse(raw(100, 100, 1000, 3000)), parse(raw(100, 0, 0))),
        *(parse(raw(100, 50, 200, 100)), parse(raw(100, 100, 7))),
    ]
    assert hardware.counted(events, early, late) == {
        "cycles": 1000 + 400,
        "instructions": 3000 + 200,
        "counted_share": 0.0,
    }


TASK_CLOCK, FAULTS = Event("task_clock_ns", SOFTWARE, 1), Event("minor_faults", SOFTWARE, 5)


@pytest.mark.skipif(bool(why := perf_events.why_not(FAULTS)), reason=f"perf: {why}")
def test_a_group_counts_for_real() -> None:
    import mmap

    group = Group([TASK_CLOCK, FAULTS])
    try:
        first = parse(group.read())
        memory = mmap.mmap(-1, 100 * 4096)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(100):
            memory[page * 4096] = 1
        counts, share = between(first, parse(group.read()))
    finally:
        group.close()
    assert share == 1.0 and counts is not None
    assert counts[0] > 0 and 100 <= counts[1] <= 160


def test_the_reasons_are_those_of_the_capabilities() -> None:
    said = {"power": rapl.available(), "counters": hardware.available()}
    assert capabilities.unmeasurable() == {what: why for what, why in said.items() if why}


@pytest.mark.skipif(not hardware.available(), reason="this machine has hardware counters")
def test_a_level_that_this_machine_lacks_is_told_with_every_reason(
    shared_worker: Any, make_job: MakeJob
) -> None:
    modules = {"counters": hardware, "rapl": rapl, "nvml": nvml}
    job = make_job(
        {"level": "model"},
        level="hardware",
        profilers={name: module.__file__ for name, module in modules.items()},
    )
    said = shared_worker.run(job).one("finished")["unavailable"]["hardware"]
    for name, module in modules.items():
        assert f"{name}: {module.available()}" in said


# ---------------------------------------------------------------- energy


ZONES = {
    "intel-rapl:0": ("package-0", 1_000_000),
    "intel-rapl:0:0": ("core", 400_000),
    "intel-rapl:0:1": ("dram", 100_000),
    "intel-rapl:1": ("psys", 5_000_000),
}
RANGE_UJ = 262_143_328_850


def powercap(folder: Path) -> Path:
    """As the kernel lays it out: flat links, a zone's parts beside it."""
    for zone, (name, energy_uj) in ZONES.items():
        (folder / zone).mkdir(parents=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "energy_uj").write_text(f"{energy_uj}\n")
        (folder / zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (folder / "intel-rapl-mmio:0").mkdir()
    return folder


def test_energy_is_told_of_each_domain_and_for_each_query(session: Session, tmp_path: Path) -> None:
    folder = powercap(tmp_path / "powercap")
    with rapl.profile(session, folder):
        for zone, used_uj in (("0", 8_000_000), ("0:0", 6_000_000), ("0:1", 2_000_000), ("1", 1)):
            energy_uj = ZONES[f"intel-rapl:{zone}"][1] + used_uj
            (folder / f"intel-rapl:{zone}" / "energy_uj").write_text(f"{energy_uj}\n")
    found = samples(session)
    assert found["energy.package-0", "joules"] == [8.0]
    assert found["energy.package-0.core", "joules"] == [6.0]
    assert found["energy.package-0.dram", "joules"] == [2.0]
    # The package and its memory, over four queries; the cores are inside the package.
    assert found["energy.per_query", "joules"] == [(8.0 + 2.0) / 4]
    assert all(watts >= 0 for watts in found["power.package-0", "watts"])
    assert ("power.psys", "watts") in found


def test_a_counter_that_began_again_at_zero(tmp_path: Path) -> None:
    folder = powercap(tmp_path)
    package = next(domain for domain in rapl.domains(folder) if domain.name == "package-0")
    package.file.write_text(f"{RANGE_UJ - 1_000}\n")
    package.read()
    package.file.write_text("500\n")
    assert package.read() == 1_500


def test_power_is_energy_over_time(tmp_path: Path) -> None:
    folder = powercap(tmp_path)
    found = rapl.domains(folder)
    meter = rapl.Meter(found, then_ns=rapl.time.perf_counter_ns() - 2_000_000_000)
    (folder / "intel-rapl:0" / "energy_uj").write_text(f"{1_000_000 + 30_000_000}\n")
    # 30 J in 2 s (and the little time since) are 15 W.
    assert meter.read()["power.package-0", "watts"] == pytest.approx(15.0, rel=0.05)


def test_why_no_energy_can_be_read(tmp_path: Path) -> None:
    assert rapl.why_not(tmp_path) == f"no RAPL interface (intel-rapl is not under {tmp_path})"
    assert rapl.why_not(powercap(tmp_path)) == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_counters_of_root_alone_are_named(tmp_path: Path) -> None:
    folder = powercap(tmp_path)
    for zone in ZONES:
        (folder / zone / "energy_uj").chmod(0)
    assert "may not be read by this user" in rapl.why_not(folder)


# ---------------------------------------------------------------- NVML


class NotSupported(Exception):
    """As NVML says that a device does not know a quantity."""


def library(**changes: Any) -> Any:
    """NVML's functions by their documented names and units, for one device at full work."""

    def refuse(*_: Any) -> None:
        raise NotSupported("Not Supported")

    functions = {
        "NVMLError": NotSupported,
        "NVML_CLOCK_SM": 1,
        "NVML_CLOCK_MEM": 2,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlDeviceGetPowerUsage": lambda handle: 312_450,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=97, memory=41),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=7 << 30),
        "nvmlDeviceGetClockInfo": lambda handle, clock: {1: 1980, 2: 2619}[clock],
        "nvmlDeviceGetTemperature": lambda handle, sensor: 64,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 5_000_000,
    }
    return SimpleNamespace(**functions | {n: refuse for n, v in changes.items() if v is None})


def test_nvml_is_read_in_our_units() -> None:
    assert nvml.Reader(library(), ["a device"]).read() == {
        ("gpu0.power", "watts"): 312.45,
        ("gpu0.utilisation", "percent"): 97.0,
        ("gpu0.memory_utilisation", "percent"): 41.0,
        ("gpu0.memory", "bytes"): 7 * 2.0**30,
        ("gpu0.sm_clock", "MHz"): 1980.0,
        ("gpu0.memory_clock", "MHz"): 2619.0,
        ("gpu0.temperature", "°C"): 64.0,
    }


def test_what_a_gpu_does_not_tell_is_named_and_never_zero() -> None:
    reader = nvml.Reader(library(nvmlDeviceGetPowerUsage=None), ["a device", "another"])
    for _ in range(2):
        assert not [name for name, _ in reader.read() if "power" in name]
    assert reader.missing == {"gpu0.power": "Not Supported", "gpu1.power": "Not Supported"}


def test_a_gpus_energy_is_told_for_each_query(session: Session) -> None:
    assert nvml.Reader(library(), ["a device"]).energy() == {"gpu0": 5000.0}
    nvml.tell_energy(session, {"gpu0": 5000.0, "gpu1": 10.0}, {"gpu0": 5008.0})
    found = samples(session)
    assert found["gpu0.energy", "joules"] == [8.0]
    assert found["gpu.energy_per_query", "joules"] == [2.0]
    nvml.tell_energy(session, {}, {})
    assert samples(session) == found
