"""What a node says of its machine is what the machine says of itself."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import onnxruntime

from predictor_node import capabilities
from predictor_node.process import Environment, plugins
from predictor_node.worker.profilers import hardware, rapl


def test_the_machine_is_described_in_its_own_words() -> None:
    devices, missing = capabilities.devices()
    assert devices[0].kind == "cpu"
    assert devices[0].count == len(os.sched_getaffinity(0))
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert abs(capabilities.memory_bytes() - total_kib * 1024) < 1 << 20
    assert len(devices) > 1 or missing["gpu"].startswith("NVML")
    assert capabilities.architecture() in ("amd64", "arm64", platform.machine())


def test_what_cannot_be_measured_has_a_reason() -> None:
    for what, why in capabilities.unmeasurable().items():
        assert what in ("power", "counters") and len(why) > 10
    said = {"power": rapl.available(), "counters": hardware.available()}
    assert capabilities.unmeasurable() == {what: why for what, why in said.items() if why}


async def test_a_worker_describes_its_frameworks() -> None:
    seen = capabilities.frameworks_seen(await Environment().describe(), "default")
    found = {framework.name: framework for framework in seen}
    assert found["onnxruntime"].version == onnxruntime.__version__
    assert "cpu" in found["onnxruntime"].devices


def test_our_frameworks_are_found_by_entry_point() -> None:
    assert Path(plugins()["onnxruntime"]).name == "onnxruntime.py"
