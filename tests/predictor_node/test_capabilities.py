"""What a node says of its machine is what the machine says of itself."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import pytest

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


@pytest.mark.parametrize(
    ("cpuinfo", "features"),
    [
        # As Linux prints them: a Sapphire Rapids, a Haswell, a Graviton 3; and without such a line.
        (
            "processor: 0\nflags\t\t: fpu sse4_2 avx f16c avx2 fma avx512f avx512_vnni amx_tile\n",
            ["amx", "avx", "avx2", "avx512", "avx512_vnni", "f16c", "fma", "sse4.2"],
        ),
        ("flags : fpu avx avx2 fma\nflags : fpu\n", ["avx", "avx2", "fma"]),
        (
            "Features : fp asimd asimddp sve bf16 i8mm\n",
            ["bf16", "dotprod", "i8mm", "neon", "sve"],
        ),
        ("cpu : POWER9\n", []),
        ("", []),
    ],
)
def test_what_the_processor_can_do(cpuinfo: str, features: list[str]) -> None:
    assert capabilities.cpu_features(cpuinfo) == features


def test_this_processor_the_disk_and_the_boot(tmp_path: Path) -> None:
    flags = capabilities.read_cpuinfo()
    assert ("avx2" in capabilities.cpu_features(flags)) == (" avx2" in flags)
    free, said = shutil.disk_usage(tmp_path).free, capabilities.disk_bytes(tmp_path / "not" / "yet")
    assert free * 0.5 <= said <= free * 1.01 and bin(said).count("1") <= 2
    assert len(capabilities.boot_id()) == 16 == len(capabilities.machine_id())


async def test_the_stack_of_an_environment_is_told() -> None:
    seen = capabilities.frameworks_seen(await Environment().describe(), "default")
    assert {one.python for one in seen} == {platform.python_version()}
    assert {one.packages["numpy"] for one in seen} == {version("numpy")}
