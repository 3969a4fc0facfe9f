"""The worker as the node meets it: a real process, a real model, real photographs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import PIL
import pytest
import yaml

from predictor_node import worker

if TYPE_CHECKING:
    from conftest import EfficientNet, MakeJob, Process

WORKER = Path(worker.__file__).parent
PLUGIN = WORKER / "frameworks" / "onnxruntime.py"

LAYERS = 53  # nodes that ONNX Runtime runs of this graph, after its own fusions
APPLICATION, MODEL, FRAMEWORK = 1, 2, 3


def test_the_shipped_manifest_is_the_model_under_test(
    make_job: MakeJob, efficientnet: EfficientNet
) -> None:
    folder = WORKER.parents[1] / "manifests" / "models"
    manifest = yaml.safe_load((folder / "efficientnet-lite0.yml").read_text("utf-8"))
    job, shipped, output = make_job(), manifest["model"], manifest["outputs"][0]
    assert manifest["inputs"][0]["parameters"] == job["inputs"][0]["parameters"]
    assert manifest["inputs"][0]["name"] == job["inputs"][0]["name"]
    assert (output["type"], output["name"]) == ("classification", "logits")
    assert output["parameters"]["transform"] == "softmax"
    photographs = [sample["checksum"] for sample in manifest["samples"]]
    for path, checksum in (
        (folder / shipped["graph_path"], shipped["graph_checksum"]),
        (efficientnet.weights, shipped["weights_checksum"]),
        (efficientnet.labels, output["parameters"]["checksum"]),
        (efficientnet.coffee, photographs[0]),
        (efficientnet.chelsea, photographs[1]),
    ):
        assert checksum == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_the_photographs_are_named_as_torch_names_them(
    shared_worker: Process, make_job: MakeJob
) -> None:
    said = shared_worker.run(make_job(top_k=3))
    answer = said.one("predictions")
    assert (answer["run"], answer["first"]) == (0, 0)
    coffee, chelsea = answer["predictions"]
    assert coffee["input"] == "coffee.png"
    assert [(c["index"], c["label"]) for c in coffee["classes"]][0] == (967, "espresso")
    assert coffee["classes"][0]["probability"] == pytest.approx(0.951, abs=0.002)
    # Class 282 is ILSVRC's "tiger cat"; this list of names describes it instead.
    assert [c["index"] for c in chelsea["classes"]] == [282, 285, 281]
    assert chelsea["classes"][0]["probability"] == pytest.approx(0.408, abs=0.002)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_batch_size_changes_no_prediction(
    shared_worker: Process, make_job: MakeJob, batch_size: int
) -> None:
    said = shared_worker.run(make_job({"batch_size": batch_size}))
    best = [p["classes"][0]["index"] for p in said.one("predictions")["predictions"]]
    assert best == [967, 282]


RECORDED = {
    "none": {},
    "application": {"application": 8},
    "model": {"application": 8, "model": 4},
    "framework": {"application": 8, "model": 4, "framework": 4 * LAYERS},
    "hardware": {"application": 8, "model": 4, "framework": 4 * LAYERS},
}


@pytest.mark.parametrize("level", RECORDED)
def test_a_level_records_what_it_names_and_all_above(
    shared_worker: Process, make_job: MakeJob, level: str
) -> None:
    said = shared_worker.run(make_job({"level": level}))
    finished = said.one("finished")
    assert finished["spans"] == RECORDED[level]
    assert finished["lost"] == 0
    rows = said.spans()
    assert len(rows) == sum(RECORDED[level].values()) == sum(f["count"] for f in said.all("spans"))
    assert sorted(row["id"] for row in rows) == [1001 + i for i in range(len(rows))]
    assert [f["batch"] for f in said.all("spans")] == list(range(len(said.all("spans"))))
    below = ["library", "system", "hardware"] if level == "hardware" else []
    assert list(finished["unavailable"]) == below
    measured = said.one("measured")
    assert len(measured["durations_ns"]) == len(measured["starts_ns"]) == 4


def test_application_spans_hang_where_they_belong(
    shared_worker: Process, make_job: MakeJob
) -> None:
    said = shared_worker.run(make_job())
    rows = said.spans(APPLICATION)
    counts = {"open": 1, "decode": 2, "preprocess": 2, "postprocess": 2, "run": 1}
    assert Counter(row["name"] for row in rows) == counts
    assert {row["parent"] for row in rows} == {41}
    (run,) = [row for row in rows if row["name"] == "run"]
    assert run["tags"] == {"run": 0, "batch_size": 1, "level": "model", "queries": 4}
    predicts = said.spans(MODEL)
    assert {row["parent"] for row in predicts} == {run["id"]}
    assert [row["tags"]["query"] for row in predicts] == [0, 1, 2, 3]
    for row in predicts:
        assert run["start_ns"] <= row["start_ns"]
        assert row["start_ns"] + row["duration_ns"] <= run["start_ns"] + run["duration_ns"]


def test_measured_times_are_the_predict_spans(shared_worker: Process, make_job: MakeJob) -> None:
    before_ns = time.time_ns()
    said = shared_worker.run(make_job({"queries": 12}))
    measured, predicts = said.one("measured"), said.spans(MODEL)
    assert measured["starts_ns"][0] == 0
    assert measured["start_ns"] == predicts[0]["start_ns"]
    assert measured["durations_ns"] == [row["duration_ns"] for row in predicts]
    starts = [measured["start_ns"] + s for s in measured["starts_ns"]]
    assert starts == [row["start_ns"] for row in predicts]
    assert (measured["first_query"], measured["last"]) == (0, True)
    # Another process's wall clock: the anchor is right to far better than a millisecond.
    assert before_ns - 1_000_000 <= starts[0] <= time.time_ns() + 1_000_000
    clock = said.one("finished")["clock"]
    assert before_ns - 1_000_000 <= clock["start_epoch_ns"] <= starts[0] < clock["end_epoch_ns"]
    assert abs(clock["drift_ns"]) < 10_000_000


def test_layers_lie_inside_their_predict_call(shared_worker: Process, make_job: MakeJob) -> None:
    said = shared_worker.run(make_job({"level": "framework", "queries": 5, "warmup": 3}))
    layers = said.spans(FRAMEWORK)
    assert {row["parent"] for row in layers} == {0}
    for predict in said.spans(MODEL):
        begin_ns, end_ns = predict["start_ns"], predict["start_ns"] + predict["duration_ns"]
        inside = [row for row in layers if begin_ns <= row["start_ns"] <= end_ns]
        assert len(inside) == LAYERS
        assert all(row["start_ns"] + row["duration_ns"] <= end_ns for row in inside)
        total_ns = sum(row["duration_ns"] for row in inside)
        assert 0.5 * predict["duration_ns"] < total_ns <= predict["duration_ns"]
        assert [row["tags"]["index"] for row in inside] == list(range(LAYERS))
        for one, next_one in pairwise(inside):
            assert one["start_ns"] + one["duration_ns"] <= next_one["start_ns"]


def test_a_layers_tags_are_the_same_in_every_query(
    shared_worker: Process, make_job: MakeJob
) -> None:
    said = shared_worker.run(make_job({"level": "framework"}))
    tags: dict[str, list[dict]] = {}
    for row in said.spans(FRAMEWORK):
        tags.setdefault(row["name"], []).append(row["tags"])
    assert len(tags) == LAYERS
    assert all(len(seen) == 4 and seen.count(seen[0]) == 4 for seen in tags.values())
    graph = said.one("graph")
    assert [layer["name"] for layer in graph["layers"]] == list(tags)
    stem = graph["layers"][0]
    # 3 input channels, 32 filters of 3 × 3, stride 2 on 224 × 224; weights and 32 biases.
    assert stem["operator"] == "Conv"
    assert stem["provider"] == "CPUExecutionProvider"
    assert stem["outputs"] == [{"dtype": "float32", "shape": [1, 32, 112, 112]}]
    assert stem["output_bytes"] == 4 * 32 * 112 * 112
    assert stem["parameter_bytes"] == 4 * (32 * 3 * 3 * 3 + 32)
    assert Counter(layer["operator"] for layer in graph["layers"])["Conv"] == 49


def test_runs_of_one_job_share_inputs_and_graph(shared_worker: Process, make_job: MakeJob) -> None:
    runs = [
        {"index": 0, "batch_size": 1, "level": "model", "queries": 3, "warmup": 1},
        {"index": 1, "batch_size": 2, "level": "framework", "queries": 2, "warmup": 0},
        {"index": 2, "batch_size": 2, "level": "framework", "queries": 2, "warmup": 1},
    ]
    said = shared_worker.run(make_job(runs=runs))
    assert [frame["run"] for frame in said.all("measured")] == [0, 1, 2]
    assert [frame["run"] for frame in said.all("predictions")] == [0]
    assert [frame["run"] for frame in said.all("graph")] == [1]
    assert Counter(row["run"] for row in said.spans(FRAMEWORK)) == {1: 2 * LAYERS, 2: 2 * LAYERS}
    assert Counter(row["name"] for row in said.spans(APPLICATION))["decode"] == 2
    # A profiled handle is never a warm one.
    assert [frame["cached"] for frame in said.all("opened")][1:] == [False, False]


def test_a_second_job_finds_the_model_warm(fresh_worker: Process, make_job: MakeJob) -> None:
    cached = [
        fresh_worker.run(make_job(settings=settings)).one("opened")["cached"]
        for settings in (
            {"device": "cpu", "threads": 1},
            {"device": "cpu", "threads": 1},
            {"device": "cpu", "threads": 1, "graph_optimization": "basic"},
            {"device": "cpu", "threads": 1},
            {"device": "cpu", "threads": 1, "graph_optimization": "disabled"},
            {"device": "cpu", "threads": 1},
            {"device": "cpu", "threads": 1, "graph_optimization": "basic"},
        )
    ]
    # Two are kept: "disabled" pushed "basic" out, the least recently used.
    assert cached == [False, True, False, True, False, True, False]


def test_effective_settings_are_told(shared_worker: Process, make_job: MakeJob) -> None:
    opened = shared_worker.run(
        make_job(settings={"threads": "2", "graph_optimization": "basic"})
    ).one("opened")
    assert opened["settings"] == {
        "device": "cpu",
        "providers": ["CPUExecutionProvider"],
        "intra_op_threads": 2,
        "inter_op_threads": 1,
        "execution": "sequential",
        "graph_optimization": "basic",
        "precision": "float32",
        "decoder": f"pillow {PIL.__version__}",
    }
    assert list(opened["providers"]) == ["CPUExecutionProvider"]
    images = {"name": "images", "dtype": "float32", "shape": ["batch", 3, 224, 224]}
    assert opened["inputs"] == [images]
    assert opened["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 1000]}]


def test_weights_in_another_folder_are_found(
    shared_worker: Process, make_job: MakeJob, efficientnet: EfficientNet, tmp_path: Path
) -> None:
    apart = tmp_path / "apart"
    apart.mkdir()
    graph = apart / efficientnet.graph.name
    graph.write_bytes(efficientnet.graph.read_bytes())
    files = {"graph": str(graph), "weights": str(efficientnet.weights)}
    said = shared_worker.run(
        make_job(model={"name": "m", "version": "1.0.0", "key": "apart", "files": files})
    )
    assert said.one("predictions")["predictions"][0]["classes"][0]["index"] == 967


def test_a_cancel_ends_the_job_within_half_a_second(
    shared_worker: Process, make_job: MakeJob
) -> None:
    shared_worker.tell({"do": "run", "job": make_job({"queries": 1_000_000})})
    while (frame := shared_worker.hear())["said"] != "progress" or frame["phase"] != "measure":
        assert frame["said"] != "failed"
    assert 0 < frame["done"] < frame["total"] == 1_000_000
    asked_s = time.monotonic()
    shared_worker.tell({"do": "cancel"})
    failed = shared_worker.listen().one("failed")
    assert time.monotonic() - asked_s < 0.5
    assert failed["kind"] == "cancelled"
    # Neither the next job nor an idle worker minds a cancel that came before it.
    shared_worker.tell({"do": "cancel"})
    assert shared_worker.run(make_job()).one("finished")


def test_progress_is_told_at_most_five_times_a_second(
    shared_worker: Process, make_job: MakeJob
) -> None:
    begin_s = time.monotonic()
    said = shared_worker.run(make_job({"queries": 60, "batch_size": 2}))
    took_s = time.monotonic() - begin_s
    assert len(said.all("progress")) <= took_s / 0.2 + 1


def test_frameworks_prints_do_not_break_the_pipe(
    fresh_worker: Process, make_job: MakeJob, tmp_path: Path
) -> None:
    loud = tmp_path / "loud.py"
    loud.write_text(
        "import os\n"
        "from .onnxruntime import close, describe, layers, open\n"
        "from .onnxruntime import predict as quiet\n"
        "def predict(handle, batch):\n"
        "    print('printed', flush=True)\n"
        "    os.write(1, b'written\\n')\n"
        "    return quiet(handle, batch)\n"
    )
    said = fresh_worker.run(make_job(framework="loud", plugin=str(loud)))
    assert said.one("finished")["spans"]["model"] == 4
    log = (tmp_path / "worker.log").read_text()
    assert "printed" in log
    assert "written" in log


def test_the_worker_ends_when_its_node_dies(fresh_worker: Process, make_job: MakeJob) -> None:
    fresh_worker.tell({"do": "run", "job": make_job({"queries": 1_000_000})})
    while fresh_worker.hear()["said"] != "opened":
        pass
    os.close(fresh_worker.writing)
    assert fresh_worker.popen.wait(5) == 0


def test_exit_ends_an_idle_worker(fresh_worker: Process) -> None:
    fresh_worker.tell({"do": "exit"})
    assert fresh_worker.popen.wait(5) == 0


def test_bytes_that_are_no_frames_end_the_worker(fresh_worker: Process, tmp_path: Path) -> None:
    os.write(fresh_worker.writing, b"GET / HTTP/1.1\r\n\r\n")
    assert fresh_worker.popen.wait(5) == 2
    assert "frame of" in (tmp_path / "worker.log").read_text()


def test_describe_names_what_can_be_loaded(tmp_path: Path) -> None:
    absent = tmp_path / "absent.py"
    absent.write_text("import a_library_that_is_not_installed\n")
    answer = subprocess.run(
        [
            *(sys.executable, "-c", worker.BOOTSTRAP, str(WORKER), "--describe"),
            *(f"--plugin=onnxruntime={PLUGIN}", f"--plugin=absent={absent}"),
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    described = json.loads(answer.stdout)
    assert described["executable"] == sys.executable
    (found,) = [each for each in described["frameworks"] if each["name"] == "onnxruntime"]
    assert found["plugin"] == str(PLUGIN)
    assert "cpu" in found["devices"]
    assert "CPUExecutionProvider" in found["providers"]
    (unusable,) = [each for each in described["unusable"] if each["name"] == "absent"]
    assert unusable["missing"] and "a_library_that_is_not_installed" in unusable["text"]
