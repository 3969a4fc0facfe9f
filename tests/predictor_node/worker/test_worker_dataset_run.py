"""A dataset through a real worker: each item once and in order, timed, beside what is true."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODELS = Path(__file__).parents[3] / "manifests" / "models"
FRAMEWORKS = Path(__file__).parents[3] / "predictor_node" / "worker" / "frameworks"
ITEMS = 23


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (ITEMS, 28, 28)).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(pixels: np.ndarray) -> np.ndarray:
    """ONNX Runtime called directly."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(MODELS / "mnist-cnn.onnx"))
    batch = (pixels[:, None] / 255).astype(np.float32)
    return np.asarray(session.run(None, {"image": batch})[0])


@pytest.fixture
def make_run(tmp_path: Path, pixels: np.ndarray):  # type: ignore[no-untyped-def]
    """A job over a table of images; every third has no label."""
    path = tmp_path / "d.csv.gz"
    rows = [
        ",".join([*map(str, image.ravel()), "" if n % 3 == 2 else str(n % 10)])
        for n, image in enumerate(pixels)
    ]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))

    def make(dataset: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        run = {"index": 0, "batch_size": 5, "level": "model", "queries": 0, "warmup": 1}
        job = {
            "job_id": "job",
            "framework": "onnxruntime",
            "plugin": str(FRAMEWORKS / "onnxruntime.py"),
            "model": {
                "name": "MNIST-CNN",
                "version": "1.0.0",
                "key": "mnist-cnn",
                "files": {"graph": str(MODELS / "mnist-cnn.onnx"), "weights": ""},
            },
            "inputs": [
                {
                    "type": "image",
                    "parameters": {
                        "element_type": "float32", "dimensions": [1, 28, 28], "color_mode": "L",
                        "scale": 255,
                    },
                }
            ],
            "outputs": [{"type": "classification", "parameters": {}}],
            "labels": "",
            "items": [],
            "runs": [{**run, "scenario": "dataset", **changes.pop("run", {})}],
            "settings": {"device": "cpu", "threads": 1},
            "folder": str(tmp_path / "folder"),
            "dataset": {
                "name": "D",
                "format": "csv",
                "files": {"data": str(path)},
                "parameters": {
                    "header": False, "label_column": "784",
                    "pixels": {"height": 28, "width": 28},
                },
                "labels": [f"digit {n}" for n in range(10)],
                **(dataset or {}),
            },
        }  # fmt: skip
        return job | changes

    return make


def predictions(said: Any) -> list[dict[str, Any]]:
    return [each for frame in said.all("predictions") for each in told_in(frame)]


def told_in(frame: dict[str, Any]) -> list[dict[str, Any]]:
    """A frame's predictions, whichever way they are told."""
    if "columns" not in frame:
        return list(frame["predictions"])
    told, names = frame["columns"], dict(frame["columns"]["labels"])
    count = len(told["inputs"])
    indices = np.frombuffer(told["indices"], "<i4").reshape(count, -1).tolist()
    values = np.frombuffer(told["probabilities"], "<f8").reshape(count, -1).tolist()
    return [
        {
            "input": told["inputs"][n],
            "classes": [
                {"index": index, "label": names.get(index, ""), "probability": value}
                for index, value in zip(indices[n], values[n], strict=True)
            ],
            **({"truth": told["truths"][n]} if told["truths"][n] is not None else {}),
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("size", [1, 5, 23, 100])
def test_each_item_once_and_in_order(
    shared_worker, make_run, expected: np.ndarray, size: int
) -> None:
    said = shared_worker.run(make_run(run={"batch_size": size}))
    told = predictions(said)
    assert [each["input"] for each in told] == [f"D#{n}" for n in range(ITEMS)]
    assert [each["classes"][0]["index"] for each in told] == expected.argmax(1).tolist()
    # The model names no classes: the dataset's names are shown.
    assert told[0]["classes"][0]["label"] == f"digit {expected[0].argmax()}"
    truths = [each.get("truth") for each in told]
    assert truths == [
        None if n % 3 == 2 else {"index": n % 10, "label": f"digit {n % 10}"} for n in range(ITEMS)
    ]
    measured = said.one("measured")
    calls = -(-ITEMS // size)
    assert (measured["scenario"], measured["batch_size"], measured["last"]) == (
        "dataset", size, True,
    )  # fmt: skip
    assert len(measured["durations_ns"]) == len(measured["starts_ns"]) == calls
    assert min(measured["durations_ns"]) > 0
    spans = [span["name"] for span in said.spans()]
    assert spans.count("predict") == calls
    assert spans.count("prepare") == spans.count("postprocess") == 1  # arrays: many at once
    assert said.frames[-1]["said"] == "finished"


def test_selected_limited_and_whole(shared_worker, make_run, expected: np.ndarray) -> None:
    job = make_run({"select": {"seed": 1, "skip": 2, "count": 8}}, limit=3, full_outputs=True)
    told = predictions(shared_worker.run(job))
    numbers = [int(each["input"].removeprefix("D#")) for each in told]
    assert len(numbers) == 3
    for each, number in zip(told, numbers, strict=True):
        scores = {c["index"]: c["probability"] for c in each["classes"]}
        found = [scores[index] for index in range(10)]
        np.testing.assert_allclose(found, expected[number], rtol=1e-4, atol=1e-4)


def test_frames_are_small_enough_for_a_message(shared_worker, make_run, tmp_path: Path) -> None:
    labels = ["x" * 30_000 + str(n) for n in range(10)]
    said = shared_worker.run(make_run({"labels": labels}, full_outputs=True))
    frames = said.all("predictions")
    assert len(frames) > 2
    assert [frame["first"] for frame in frames] == np.cumsum(
        [0, *(len(told_in(frame)) for frame in frames[:-1])]
    ).tolist()
    assert sum(len(told_in(frame)) for frame in frames) == ITEMS


@pytest.mark.parametrize(
    ("dataset", "changes", "says"),
    [
        ({"labels": [f"digit {n}" for n in range(11)]}, {}, "11 labels.*10 values.*background"),
        ({"labels": ["a"]}, {}, "unknown label in row 1 '1'"),
        ({"files": {"data": "/nowhere.csv"}}, {}, "data cannot be read: .*No such file"),
        ({}, {"run": {"scenario": "online", "queries": 1}}, "both or neither"),
        ({}, {"limit": -1}, "limit is -1"),
    ],
    ids=["width", "label", "file", "scenario", "limit"],
)
def test_what_is_wrong_is_named(
    shared_worker, make_run, dataset: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    import re

    failed = shared_worker.run(make_run(dataset, **changes)).one("failed")
    assert re.search(says, failed["text"], re.S), failed["text"]
