"""What a machine says of its own settings and load, read from trees as kernels make them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.messages import Conditions
from predictor_node import conditions as module
from predictor_node.conditions import FEW_FILES, conditions, look


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


CPU = "devices/system/cpu"
INTEL = {
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "3400000",
    f"{CPU}/intel_pstate/no_turbo": "1",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "2",
    f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "3",
    "class/thermal/thermal_zone0/temp": "41000",
    "class/thermal/thermal_zone1/temp": "55500",
}


def test_a_machine_that_tells_everything(tmp_path: Path) -> None:
    pressure = tmp_path / "pressure"
    pressure.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0 total=9\n")
    found = conditions(tree(tmp_path / "sys", INTEL), pressure)
    assert (found.governor, found.turbo) == ("performance, powersave", "off")
    assert (found.temperature_c, found.throttled, found.frequency_mhz) == (55.5, 5, 3400.0)
    assert (found.stalled_us, found.unavailable) == (1234, {})
    assert found.kernel and found.python and found.load_1m >= 0


@pytest.mark.parametrize(("boost", "turbo"), [("1", "on"), ("0", "off")])
def test_the_other_drivers_word_for_turbo(tmp_path: Path, boost: str, turbo: str) -> None:
    assert conditions(tree(tmp_path, {f"{CPU}/cpufreq/boost": boost})).turbo == turbo


def test_what_is_not_told_has_a_reason(tmp_path: Path) -> None:
    found = conditions(tmp_path, tmp_path / "none")
    reasons = {"governor", "turbo", "temperature", "throttling", "stalled"}
    assert reasons <= {*found.unavailable}
    assert (found.governor, found.temperature_c, found.throttled) == ("", -1, -1)


async def test_only_many_files_are_read_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On few cores the reading is done before a thread would have begun."""
    threads: list[bool] = []
    reading = asyncio.to_thread

    async def noted(work: Callable[[], Conditions]) -> Conditions:
        threads.append(True)
        return await reading(work)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    for cores, expected in ((4, []), (FEW_FILES + 1, [True])):
        name = f"{CPU}/cpu{{}}/cpufreq/scaling_cur_freq"
        root = tree(tmp_path / str(cores), {name.format(core): "1000" for core in range(cores)})
        monkeypatch.setattr(module, "SYSTEM", root)
        assert (await look()).kernel and threads == expected
