"""TensorFlow's layers and what they call: the graph's own nodes, by TensorFlow's own profiler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from predictor_node import worker
from predictor_node.serialised import settings_for

if TYPE_CHECKING:
    from ..conftest import Process, Said, StartWorker
    from .conftest import NetJob, SmallNet

PROFILERS = Path(worker.__file__).parent / "profilers"
LIBRARY = {"library_tensorflow": str(PROFILERS / "library_tensorflow.py")}
MODELS: dict[str, dict[str, Any]] = {
    "keras": {"files": {"graph": "net.keras"}},
    "saved_model": {"files": {"graph": "net_saved"}},
}
FRAMEWORK, LIBRARY_LEVEL = 3, 4


def run_of(level: str, **changes: Any) -> dict[str, Any]:
    return {"index": 0, "level": level, "batch_size": 2, "queries": 4, "warmup": 2, **changes}


def of_one(said: Said) -> Said:
    if failed := said.all("failed"):
        raise AssertionError(failed[0]["text"])
    return said


def inside(spans: list[dict[str, Any]], outer: dict[str, Any]) -> list[dict[str, Any]]:
    begin, end = outer["start_ns"], outer["start_ns"] + outer["duration_ns"]
    return [
        each
        for each in spans
        if begin <= each["start_ns"] and each["start_ns"] + each["duration_ns"] <= end
    ]


@pytest.mark.parametrize("format", MODELS)
def test_layers_are_the_graphs_nodes(net_worker: Process, net_job: NetJob, format: str) -> None:
    settings = {"device": "cpu", "threads": 1, "inter_op_threads": 1}
    job = net_job("tensorflow", dict(MODELS[format]), runs=[run_of("framework")], settings=settings)
    said = of_one(net_worker.run(job))
    assert said.one("finished")["unavailable"] == {}
    table = said.one("graph")["layers"]
    # 6 x 6 x 4 results of 3 x 3 x 3 numbers, and 5 of 144; a batch of two.
    assert said.one("graph")["macs"] == 2 * (6 * 6 * 4 * 27 + 5 * 144)
    work = [row for row in table if "Conv2D" in row["operator"] or "MatMul" in row["operator"]]
    conv, dense = work
    assert "conv" in conv["name"] and "scores" in dense["name"]
    assert conv["outputs"] == [{"dtype": "float32", "shape": [2, 6, 6, 4]}]
    assert dense["outputs"] == [{"dtype": "float32", "shape": [2, 5]}]
    assert conv["output_bytes"] == 2 * 6 * 6 * 4 * 4
    # Fused as they are, what goes in is what went into the product.
    assert [tensor["shape"] for tensor in conv["inputs"][:2]] == [[2, 8, 8, 3], [3, 3, 3, 4]]
    assert [tensor["shape"] for tensor in dense["inputs"][:2]] == [[2, 144], [144, 5]]
    predicts = [span for span in said.spans(2) if span["name"] == "predict"]
    layers = said.spans(FRAMEWORK)
    assert len(predicts) == 4 and len(layers) == 4 * len(table)
    for predict in predicts:
        here = inside(layers, predict)
        assert sorted(span["name"] for span in here) == sorted(row["name"] for row in table)
        assert sum(span["duration_ns"] for span in here) <= predict["duration_ns"]


def test_litert_says_that_it_reads_no_layers(net_worker: Process, net_job: NetJob) -> None:
    job = net_job(
        "tensorflow", {"files": {"graph": "net.tflite"}}, runs=[run_of("framework", batch_size=1)]
    )
    said = of_one(net_worker.run(job))
    assert "LiteRT" in said.one("finished")["unavailable"]["framework"]
    assert not said.spans(FRAMEWORK)


def test_litert_can_be_serialised_because_it_is(net_worker: Process, net_job: NetJob) -> None:
    known = ("threads", "inter_op_threads", "precision", "onednn")
    settings = settings_for("tensorflow", {"device": "cpu", "serialize": 1}, known)
    model = {"files": {"graph": "net.tflite"}}
    job = net_job("tensorflow", model, runs=[run_of("model", batch_size=1)], settings=settings)
    said = of_one(net_worker.run(job))
    effective = said.one("opened")["settings"]
    assert (effective["intra_op_threads"], effective["inter_op_threads"]) == (1, 1)


def test_each_node_has_the_primitives_that_it_called(
    start_worker: StartWorker, net_job: NetJob, small_net: SmallNet
) -> None:
    variables = {"ONEDNN_VERBOSE": "profile_exec", "ONEDNN_VERBOSE_TIMESTAMP": "1"}
    started = start_worker(PYTHONPATH=str(small_net.site), OMP_NUM_THREADS="1", **variables)
    settings = {"device": "cpu", "threads": 1, "inter_op_threads": 1, "onednn": "on"}
    model = dict(MODELS["keras"])
    job = net_job("tensorflow", model, profilers=LIBRARY, settings=settings)
    started.tell({"do": "prepare", "job": job | {"runs": [run_of("library")]}})
    assert started.hear()["variables"] == [variables]
    said = of_one(started.run(job | {"runs": [run_of("library")]}))
    layers, calls = said.spans(FRAMEWORK), said.spans(LIBRARY_LEVEL)
    convolutions = [span for span in calls if span["name"] == "convolution"]
    if not convolutions:
        pytest.skip("this TensorFlow has no oneDNN kernels on this processor")
    assert len(convolutions) == 4
    for span in convolutions:
        assert span["tags"]["implementation"] and "mb2_ic3oc4" in span["tags"]["problem"]
        (layer,) = [each for each in layers if inside([span], each)]
        assert "conv" in layer["name"] and layer["thread"] == span["thread"]
    log = Path(os.readlink(f"/proc/{started.popen.pid}/fd/2")).read_text()
    said_before = [line for line in log.splitlines() if ",exec,cpu,convolution" in line]
    assert len(said_before) == 4  # two calls for three images, two to warm up: none measured
