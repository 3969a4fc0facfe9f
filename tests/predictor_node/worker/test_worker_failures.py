"""What goes wrong with a job names the thing, what was expected, and who must act."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import EfficientNet, MakeJob, Process


def fails(worker: Process, job: dict[str, Any], kind: str, *words: str) -> None:
    failed = worker.run(job).one("failed")
    assert failed["kind"] == kind, failed["text"]
    for word in words:
        assert word in failed["text"]
    assert "Traceback" in failed["detail"]


BAD_ITEMS = {
    "a text file": (b"x" * 120, ["notes.png", "text file, 120 bytes", "an image is expected"]),
    "an empty file": (b"", ["notes.png", "empty file, 0 bytes"]),
    "a PDF": (b"%PDF-1.7 ...", ["PDF file, 12 bytes"]),
    "bytes": (b"\x00\xff\x00\xff", ["binary file, 4 bytes"]),
    "half an image": (None, ["notes.png", "PNG file, 100000 bytes", "whole image"]),
}


@pytest.mark.parametrize("case", BAD_ITEMS)
def test_an_item_that_is_no_image(
    shared_worker: Process,
    make_job: MakeJob,
    efficientnet: EfficientNet,
    tmp_path: Path,
    case: str,
) -> None:
    content, words = BAD_ITEMS[case]
    path = tmp_path / "notes.png"
    path.write_bytes(efficientnet.coffee.read_bytes()[:100_000] if content is None else content)
    job = make_job(items=[{"name": "notes.png", "path": str(path)}])
    fails(shared_worker, job, "input", *words)


def test_an_item_that_is_missing(shared_worker: Process, make_job: MakeJob) -> None:
    job = make_job(items=[{"name": "gone.png", "path": "/nowhere/gone.png"}])
    fails(shared_worker, job, "input", "gone.png", "missing file")


@pytest.mark.parametrize(
    ("graph_bytes", "weights_bytes"), [(5000, None), (0, None), (None, 1_000_000), (None, 0)]
)
def test_a_model_that_was_cut_short(
    shared_worker: Process,
    make_job: MakeJob,
    efficientnet: EfficientNet,
    tmp_path: Path,
    graph_bytes: int | None,
    weights_bytes: int | None,
) -> None:
    files = {}
    for role, source, kept in (
        ("graph", efficientnet.graph, graph_bytes),
        ("weights", efficientnet.weights, weights_bytes),
    ):
        target = tmp_path / source.name
        target.write_bytes(source.read_bytes()[:kept])
        files[role] = str(target)
    job = make_job(model={"name": "m", "version": "1.0.0", "key": "cut", "files": files})
    fails(shared_worker, job, "asset", "efficientnet-lite0", "onnxruntime says:", "fetch it again")


def test_a_model_that_is_missing(shared_worker: Process, make_job: MakeJob) -> None:
    files = {"graph": "/nowhere/model.onnx", "weights": ""}
    job = make_job(model={"name": "m", "version": "1.0.0", "key": "gone", "files": files})
    fails(shared_worker, job, "asset", "model.onnx")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (1001, ["1001 labels", "1000 values", "background class that the output have not"]),
        (999, ["999 labels", "1000 values", "background class that the labels have not"]),
        (10, ["10 labels", "1000 values"]),
    ],
)
def test_labels_of_another_width(
    shared_worker: Process, make_job: MakeJob, tmp_path: Path, names: int, words: list[str]
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps([f"class {index}" for index in range(names)]))
    fails(shared_worker, make_job(labels=str(labels)), "request", *words)


BAD_SETTINGS = {
    "a misspelled setting": ({"treads": 2}, "request", ["'treads'", "did you mean threads"]),
    "a negative number": ({"threads": -1}, "request", ["'-1'", "0–1024"]),
    "words for a number": ({"threads": "many"}, "request", ["'many'"]),
    "an unknown optimisation": ({"graph_optimization": "al"}, "request", ["did you mean all"]),
    "an unknown device": ({"device": "abacus"}, "request", ["known: cpu, gpu"]),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_settings_that_mean_nothing(shared_worker: Process, make_job: MakeJob, case: str) -> None:
    settings, kind, words = BAD_SETTINGS[case]
    fails(shared_worker, make_job(settings=settings), kind, *words)


def test_a_gpu_that_is_not_there_is_not_replaced(shared_worker: Process, make_job: MakeJob) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has a GPU provider")
    job = make_job(settings={"device": "gpu"})
    fails(shared_worker, job, "framework", "CUDAExecutionProvider", "onnxruntime-gpu")


BAD_JOBS = {
    "a shape that the graph refuses": (
        {"dimensions": [3, 100, 224]},
        "request",
        ["[batch, 3, 100, 224]", "'batch', 3, 224, 224"],
    ),
    "another element type": ({"element_type": "uint8"}, "request", ["takes float32", "uint8"]),
    "a misspelled parameter": ({"scales": 3}, "request", ["'scales'", "did you mean scale"]),
    "an unknown step": ({"steps": ["decode", "rotate"]}, "request", ["'rotate'"]),
    "steps without decode": ({"steps": ["crop"]}, "request", ["decode must come first"]),
    "steps in no order": (
        {"steps": ["decode", "normalize", "crop"]},
        "request",
        ["crop and resize come before"],
    ),
    "no dimensions": ({"dimensions": []}, "request", ["[C, H, W] is expected"]),
    "a zero scale": ({"scale": [1, 0, 1]}, "request", ["scale holds a zero"]),
    "two means for three channels": ({"mean": [1, 2]}, "request", ["one a channel"]),
    "an unknown filter": ({"interpolation": "cubic"}, "request", ["did you mean bicubic"]),
    "no resize": (
        {"steps": ["decode", "crop", "normalize", "transpose"]},
        "request",
        ["the manifest promises [3, 224, 224]"],
    ),
}


@pytest.mark.parametrize("case", BAD_JOBS)
def test_image_parameters_that_cannot_be(
    shared_worker: Process, make_job: MakeJob, case: str
) -> None:
    changes, kind, words = BAD_JOBS[case]
    job = make_job()
    job["inputs"][0]["parameters"] |= changes
    fails(shared_worker, job, kind, *words)


BAD_FIELDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no items": ({"items": []}, ["no items"]),
    "no runs": ({"runs": []}, ["no runs"]),
    "no such level": ({"runs": [{"index": 0, "level": "deep"}]}, ["unknown level 'deep'"]),
    "no such scenario": (
        {"runs": [{"index": 0, "scenario": "onlin"}]},
        ["unknown scenario", "did you mean online"],
    ),
    "no query": ({"runs": [{"index": 0, "queries": 0}]}, ["queries is 0"]),
    "an unknown field": ({"surprise": 1}, ["surprise"]),
    "no such input": ({"inputs": [{"type": "sound"}]}, ["unknown input type 'sound'"]),
    "no such output": ({"outputs": [{"type": "song"}]}, ["unknown output type 'song'"]),
    "a name that the graph has not": (
        {"outputs": [{"type": "classification", "name": "logit"}]},
        ["did you mean logits"],
    ),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_a_job_that_cannot_be_read(shared_worker: Process, make_job: MakeJob, case: str) -> None:
    changes, words = BAD_FIELDS[case]
    fails(shared_worker, make_job(**changes), "request", *words)


def test_a_framework_that_is_not_installed(
    shared_worker: Process, make_job: MakeJob, tmp_path: Path
) -> None:
    module = tmp_path / "absent.py"
    module.write_text("import a_library_that_is_not_installed\n")
    job = make_job(framework="absent", plugin=str(module))
    fails(shared_worker, job, "framework", "absent", "a_library_that_is_not_installed")


def test_an_unknown_command_is_answered(shared_worker: Process, make_job: MakeJob) -> None:
    shared_worker.tell({"do": "dance"})
    assert "unknown command 'dance'" in shared_worker.listen().one("failed")["text"]
    assert shared_worker.run(make_job()).one("finished")
