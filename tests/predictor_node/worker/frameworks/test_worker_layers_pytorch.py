"""PyTorch's layers and what they call: names, shapes and sums known from the network's code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor_node import worker

if TYPE_CHECKING:
    from ..conftest import Process, Said, StartWorker
    from .conftest import NetJob, SmallNet

PROFILERS = Path(worker.__file__).parent / "profilers"
LIBRARY = {"library": str(PROFILERS / "library.py")}
CONSTRUCTED = {"constructor": "small_net:SmallNet", "arguments": {"classes": "5", "label": "7"}}
MODELS: dict[str, dict[str, Any]] = {
    "state_dict": {"files": {"weights": "net.pth"}, **CONSTRUCTED},
    "torchscript": {"files": {"graph": "net.pt"}},
    "exported_program": {"files": {"graph": "net.pt2"}},
}
OPERATORS = ["aten::conv2d", "aten::relu", "aten::flatten", "aten::linear"]
NAMES = {
    "state_dict": ["conv", "relu", "flatten", "dense"],  # modules, and operators outside of one
    "torchscript": ["conv", "relu", "flatten", "dense"],
    "exported_program": ["conv2d", "relu", "flatten", "linear"],  # the graph's own nodes
}
# Worked by hand: 4 filters of 3×3×3 over 8×8, five classes; float32, and a bias each.
OUTPUTS = [[2, 4, 6, 6], [2, 4, 6, 6], [2, 144], [2, 5]]
PARAMETER_BYTES = [4 * (4 * 27 + 4), 0, 0, 4 * (144 * 5 + 5)]
FRAMEWORK, LIBRARY_LEVEL = 3, 4
CHATTY = """
import torch

class Chatty(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.calls = torch.nn.Conv2d(3, 8, 3), 0

    def forward(self, images):
        self.calls += 1
        print(f"call {self.calls} of", flush=True, end=" ")
        made = self.conv(images)
        print("the user's code", flush=True)
        return made.flatten(1)
"""


def run_of(level: str, **changes: Any) -> dict[str, Any]:
    return {"index": 0, "level": level, "batch_size": 2, "queries": 5, "warmup": 2, **changes}


def inside(spans: list[dict[str, Any]], outer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The spans that lie within another one."""
    begin, end = outer["start_ns"], outer["start_ns"] + outer["duration_ns"]
    return [
        each
        for each in spans
        if begin <= each["start_ns"] and each["start_ns"] + each["duration_ns"] <= end
    ]


def of_one(said: Said) -> Said:
    if failed := said.all("failed"):
        raise AssertionError(failed[0]["text"])
    return said


@pytest.mark.parametrize("format", MODELS)
def test_layers_are_the_networks_operators(
    net_worker: Process, net_job: NetJob, format: str
) -> None:
    job = net_job("pytorch", dict(MODELS[format]), runs=[run_of("framework")])
    said = of_one(net_worker.run(job))
    table = said.one("graph")["layers"]
    assert [row["name"] for row in table] == NAMES[format]
    assert [row["operator"] for row in table] == OPERATORS
    assert [row["module"] for row in table] == ["conv", "", "", "dense"]
    assert table[0]["inputs"][0] == {"dtype": "float32", "shape": [2, 3, 8, 8]}
    assert table[0]["allocated_bytes"] >= 2 * 4 * 36 * 4
    assert [row["parameter_bytes"] for row in table] == PARAMETER_BYTES
    if format != "torchscript":  # TorchScript's interpreter does not say what comes out
        assert [row["outputs"][0]["shape"] for row in table] == OUTPUTS
        assert [row["output_bytes"] for row in table] == [4 * np.prod(s) for s in OUTPUTS]
    assert said.one("finished")["unavailable"] == {}
    predicts, layers = said.spans(2), said.spans(FRAMEWORK)
    predicts = [span for span in predicts if span["name"] == "predict"]
    assert len(predicts) == 5 and len(layers) == 5 * 4
    for predict in predicts:
        here = inside(layers, predict)
        assert [span["name"] for span in here] == NAMES[format]
        assert sum(span["duration_ns"] for span in here) <= predict["duration_ns"]
        assert {span["thread"] for span in here} == {predict["thread"]}


def test_each_layer_has_the_primitives_that_it_called(
    start_worker: StartWorker, net_job: NetJob, small_net: SmallNet
) -> None:
    started = start_worker(
        PYTHONPATH=str(small_net.site), OMP_NUM_THREADS="1", ONEDNN_VERBOSE_TIMESTAMP="1"
    )
    job = net_job("pytorch", dict(MODELS["state_dict"]), profilers=LIBRARY)
    assert_variables(started, job)
    said = of_one(started.run(job | {"runs": [run_of("library")]}))
    layers, calls = said.spans(FRAMEWORK), said.spans(LIBRARY_LEVEL)
    assert len(layers) == 5 * 4
    convolutions = [span for span in calls if span["name"] == "convolution"]
    assert len(convolutions) == 5
    for span in convolutions:
        assert span["tags"]["library"] == "onednn"
        assert span["tags"]["implementation"]  # jit:avx512_core, jit:avx2, ref … by the machine
        assert span["tags"]["problem"].startswith("mb2_ic3oc4_ih8oh6kh3")
        assert "f32" in span["tags"]["tensors"]
    for layer in layers:
        if layer["name"] == "conv":
            assert "convolution" in {span["name"] for span in inside(calls, layer)}
    for layer in layers:
        here = inside(calls, layer)
        assert sum(span["duration_ns"] for span in here) <= layer["duration_ns"]
    gemms = [span for span in calls if span["tags"]["library"] == "mkl"]
    for span in gemms:  # PyTorch is built with MKL on some machines only
        assert span["tags"]["placed"] == "by order" and span["tags"]["problem"]
        assert [each["name"] for each in layers if inside([span], each)] == ["dense"]
    assert "library" not in said.one("finished")["unavailable"]


def assert_variables(started: Process, job: dict[str, Any]) -> None:
    """Only the run that looks into the library needs a process of its own."""
    runs = [run_of("framework"), run_of("library", index=1)]
    started.tell({"do": "prepare", "job": job | {"runs": runs}})
    assert started.hear()["variables"] == [{}, {"ONEDNN_VERBOSE_TIMESTAMP": "1"}]


def test_what_the_users_code_prints_stays_whole(
    start_worker: StartWorker, net_job: NetJob, tmp_path: Path
) -> None:
    package = tmp_path / "chatty-1.0.0.dist-info"
    package.mkdir()
    (tmp_path / "chatty.py").write_text(CHATTY)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: chatty\nVersion: 1\n")
    (package / "top_level.txt").write_text("chatty\n")
    started = start_worker(
        PYTHONPATH=str(tmp_path), OMP_NUM_THREADS="1", ONEDNN_VERBOSE_TIMESTAMP="1"
    )
    model = {"constructor": "chatty:Chatty", "weights": "random", "format": "state_dict"}
    run = run_of("library", queries=40)
    said = of_one(started.run(net_job("pytorch", model, profilers=LIBRARY, runs=[run])))
    log = Path(os.readlink(f"/proc/{started.popen.pid}/fd/2")).read_text().splitlines()
    spoken = [line for line in log if line.startswith("call ")]
    # 2 for the three images, 2 of the warm-up, 40 measured ones, a described and a counted one.
    assert spoken == [f"call {n} of the user's code" for n in range(1, 47)]
    assert not [line for line in log if "onednn_verbose" in line or "MKL_VERBOSE" in line]
    assert sum(span["name"] == "convolution" for span in said.spans(LIBRARY_LEVEL)) == 40
    assert not list(tmp_path.glob("library-*"))


def test_a_worker_without_oneDNNs_times_says_so(net_worker: Process, net_job: NetJob) -> None:
    job = net_job("pytorch", dict(MODELS["state_dict"]), profilers=LIBRARY)
    said = of_one(net_worker.run(job | {"runs": [run_of("library")]}))
    assert "ONEDNN_VERBOSE_TIMESTAMP" in said.one("finished")["unavailable"]["library"]
