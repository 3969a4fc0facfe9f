"""Constraints as text: what each means, what a node lacks, and what is no constraint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bus.errors import MLModelScopeError
from bus.messages import Device, FrameworkSeen, NodeAnnounced, Wanted
from coordinator.constraints import fit, survey
from coordinator.needs import read_needs
from coordinator.registry import Registry

GIB = 2**30
SMALL = Device(kind="gpu", name="NVIDIA T4", memory_bytes=16 * GIB, capability="7.5")
LARGE = Device(kind="gpu", name="NVIDIA A100-SXM4-40GB", memory_bytes=40 * GIB, capability="8.0")
CPU = Device(kind="cpu", name="a cpu")
BUILDS = [
    FrameworkSeen(
        name="onnxruntime",
        version="1.20.1",
        python="3.10.4",
        environment="old",
        packages={"numpy": "1.26.4"},
    ),
    FrameworkSeen(
        name="onnxruntime",
        version="1.31.1",
        python="3.11.7",
        packages={"numpy": "2.4.6"},
        providers=["CPUExecutionProvider"],
    ),
]


@pytest.fixture
def rich(node: Callable[..., NodeAnnounced]) -> NodeAnnounced:
    return node(
        "n1",
        devices=[CPU, SMALL, SMALL, LARGE],
        frameworks=BUILDS,
        cpu="AMD EPYC 7742",
        cpu_features=["avx", "avx2", "fma"],
        disk_bytes=100 * GIB,
        system="linux",
        distribution="debian 12",
        kernel="6.1.0-13-amd64",
        interconnect="nvlink pcie4",
        labels={"site": "basel", "price": "2.5"},
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "gpu", "gpu>=3", "gpu.count=3", "gpu.memory>=16GiB", "gpu.memory>16GB"),
        *("gpu.name=a100", "gpu.model=T4", "gpu.name!=H100", "gpu.capability>=8.0"),
        *("gpu.memory>=16GiB, gpu.count>=3", "gpu.memory>=40GiB, gpu.name=A100, gpu.count=1"),
        *("cores>=4", "cores=4", "cores<8", "memory>=8GiB", "disk>=50GiB"),
        *("arch=amd64", "arch=x86_64", "arch!=arm64", "avx2", "!avx512", "cpu.features=fma"),
        *("cpu=epyc", "os=linux", "os=Debian", "os!=windows", "kernel>=5.10", "kernel=^6"),
        *("interconnect=nvlink", "interconnect=pcie4", "!containers", "containers=no"),
        *("label.site=basel", "label.site!=zug", "label.site", "!label.rack", "label.price<=2.5"),
        *("framework=onnxruntime@^1.30", "framework=ONNX Runtime", "python>=3.11 <3.13"),
        *("package.numpy>=2", "package.NumPy=^2.4", "!package.torch", "environment=old"),
        *("provider=CPUExecutionProvider", "node=n1", "node!=n2", "framework!=pytorch"),
    ],
)
def test_what_the_node_has(rich: NodeAnnounced, text: str) -> None:
    found = fit(None, Wanted(device="", requires=[text]), rich)
    assert found.failures == ()


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("gpu>=4", [("gpu.count", ">=4", "3")]),
        ("gpu.memory>=80GiB", [("gpu.memory", ">=80GiB", "16.0 GiB, 40.0 GiB")]),
        ("gpu.memory>=40GiB, gpu>=2", [("gpu.count", ">=2", "1 such")]),
        (
            "gpu.name=T4, gpu.memory>=40GiB",
            [
                (
                    "gpu",
                    "one with gpu.name=T4, gpu.memory>=40GiB",
                    "NVIDIA T4 16.0 GiB, NVIDIA T4 16.0 GiB, NVIDIA A100-SXM4-40GB 40.0 GiB",
                )
            ],
        ),
        ("!gpu", [("gpu.count", "0", "3")]),
        ("cores>=8, memory>=64GiB", [("cores", ">=8", "4"), ("memory", ">=64GiB", "8.0 GiB")]),
        ("avx512", [("cpu.features", "avx512", "avx avx2 fma")]),
        ("!avx2", [("cpu.features", "!=avx2", "avx avx2 fma")]),
        (
            "neon, arch=arm64",
            [("cpu.features", "neon", "avx avx2 fma"), ("arch", "arm64", "x86_64")],
        ),
        ("containers", [("containers", "yes", "no")]),
        ("os=windows", [("os", "windows", "linux debian")]),
        ("kernel>=6.2", [("kernel", ">=6.2", "6.1.0-13-amd64")]),
        ("label.rack=a", [("label.rack", "a", "no such label")]),
        ("label.price<2", [("label.price", "<2", "2.5")]),
        ("node!=n1", [("node", "!=n1", "this node")]),
        ("node=n2", [("node", "n2", "another node")]),
        ("framework=onnxruntime@^2", [("framework", "onnxruntime@^2", "onnxruntime 1.20.1")]),
        (
            "python>=3.11, package.numpy<2",
            [("package.numpy", "<2", "2.4.6")],
        ),
        ("package.torch>=2", [("package.torch", ">=2", "not in environment old")]),
    ],
)
def test_what_it_lacks(rich: NodeAnnounced, text: str, failed: list[tuple[str, str, str]]) -> None:
    found = fit(None, Wanted(device="", requires=[text]), rich)
    shown = [(f.constraint, f.wanted, f.has) for f in found.failures]
    if text.startswith("python"):  # each build lacks one of the two: the first such is shown
        assert shown in ([("python", ">=3.11", "3.10.4 in environment old")], failed)
    else:
        assert shown == failed


def test_the_build_that_meets_all_runs_the_model(
    rich: NodeAnnounced, model: Callable[..., Any]
) -> None:
    wanted = Wanted(device="", requires=["package.numpy<2", "python=^3.10"])
    found = fit(model(), wanted, rich)
    assert found.framework is not None and found.framework.environment == "old"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpu.mem>=16GiB", "did you mean gpu.memory"),
        ("memory>=lots", "expected a size such as 16GiB"),
        ("cores>=four", "expected a number"),
        ("cores", "an operator and a value"),
        ("cores>=", "expected a value after >="),
        ("arch>=amd64", "expected = or != for arch"),
        ("python>=what", "no version range"),
        ("!cores=4", "expected `!` before a NAME alone"),
        ("containers=maybe", "containers=yes"),
        ("16GiB", "expected NAME"),
        ("label.=a", "unknown constraint"),
        (",".join(["avx"] * 33), "at most 32"),
    ],
)
def test_what_is_no_constraint(text: str, says: str) -> None:
    with pytest.raises(MLModelScopeError, match=says.replace("`", ".")):
        read_needs([text])


def test_only_named_nodes_stand_apart(node: Callable[..., NodeAnnounced]) -> None:
    registry = Registry()
    for name in ("n1", "n2", "n3"):
        registry.announced(name, node(name))
        registry.heard(name, f"{name}-first")
    wanted = Wanted(device="", requires=["node!=n2"])
    found = {one.nodes: not one.fit.failures for one in survey(None, wanted, registry.kinds())}
    assert found == {("n2",): False, ("n1", "n3"): True}
