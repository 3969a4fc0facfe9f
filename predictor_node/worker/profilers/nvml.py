"""Power, utilisation, memory, clocks and temperature of NVIDIA GPUs, sampled by NVML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from . import Session
from .periodic import sampled

LEVEL = "hardware"
INTERVAL_S = 0.1
"""NVML's own values move every 20 to 100 ms."""
Values = dict[tuple[str, str], float]


def available() -> str:
    try:
        import pynvml
    except ImportError:
        return "NVML: nvidia-ml-py is not installed in this environment"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"NVML: {error}"
    try:
        return "" if pynvml.nvmlDeviceGetCount() else "NVML sees no device"
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def profile(session: Session) -> Iterator[None]:
    import pynvml

    pynvml.nvmlInit()
    try:
        count = pynvml.nvmlDeviceGetCount()
        reader = Reader(pynvml, [pynvml.nvmlDeviceGetHandleByIndex(gpu) for gpu in range(count)])
        before = reader.energy()
        with sampled(session, LEVEL, INTERVAL_S, reader.read):
            yield
        tell_energy(session, before, reader.energy())
        for name, why in reader.missing.items():
            session.unavailable(f"{name}: {why}")
    finally:
        pynvml.nvmlShutdown()


class Reader:
    """What NVML says of some devices now; what a device does not tell is asked once."""

    def __init__(self, nvml: Any, handles: Sequence[Any]) -> None:
        self._nvml, self._handles = nvml, handles
        self.missing: dict[str, str] = {}

    def read(self) -> Values:
        """A value of each quantity of each device: gpu0.power …"""
        values: Values = {}
        for gpu, handle in enumerate(self._handles):
            for name, ask in self._questions(handle).items():
                about = f"gpu{gpu}.{name}"
                answer = self._answer(about, ask)
                values |= {(f"gpu{gpu}.{key}", unit): v for (key, unit), v in answer.items()}
        return values

    def energy(self) -> dict[str, float]:
        """Joules since the driver was loaded, of those devices that count them."""
        found: dict[str, float] = {}
        for gpu, handle in enumerate(self._handles):
            ask = partial(self._energy, handle)
            found |= {f"gpu{gpu}": v for v in self._answer(f"gpu{gpu}.energy", ask).values()}
        return found

    def _energy(self, handle: Any) -> Values:
        used_mj = self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        return {("energy", "joules"): used_mj / 1e3}

    def _questions(self, handle: Any) -> dict[str, Callable[[], Values]]:
        nvml = self._nvml
        return {
            "power": lambda: {("power", "watts"): nvml.nvmlDeviceGetPowerUsage(handle) / 1e3},
            "utilisation": lambda: _utilisation(nvml.nvmlDeviceGetUtilizationRates(handle)),
            "memory": lambda: {
                ("memory", "bytes"): float(nvml.nvmlDeviceGetMemoryInfo(handle).used)
            },
            "sm_clock": lambda: {
                ("sm_clock", "MHz"): float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
            },
            "memory_clock": lambda: {
                ("memory_clock", "MHz"): float(
                    nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)
                )
            },
            "temperature": lambda: {
                ("temperature", "°C"): float(
                    nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
                )
            },
        }

    def _answer(self, name: str, ask: Callable[[], Values]) -> Values:
        if name in self.missing:
            return {}
        try:
            return ask()
        except self._nvml.NVMLError as error:
            self.missing[name] = str(error)
            return {}


def tell_energy(session: Session, before: dict[str, float], after: dict[str, float]) -> None:
    """What the run took, as a whole and for each query; nothing where a device does not count."""
    now_ns, queries = session.now_ns(), max(1, session.times.done)
    used = {name: after[name] - joules for name, joules in before.items() if name in after}
    for name, joules in used.items():
        session.add_sample(f"{name}.energy", "joules", LEVEL, now_ns, joules)
    if used:
        joules = sum(used.values()) / queries
        session.add_sample("gpu.energy_per_query", "joules", LEVEL, now_ns, joules)


def _utilisation(rates: Any) -> Values:
    return {
        ("utilisation", "percent"): float(rates.gpu),
        ("memory_utilisation", "percent"): float(rates.memory),
    }
