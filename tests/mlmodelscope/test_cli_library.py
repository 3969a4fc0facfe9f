"""From the request to the primitives of a CPU: one command, one timeline, every parent right."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from predictor_node.worker import profilers

FOLDER = Path(profilers.__file__).parent
LIBRARY = {
    "MLMS_PROFILERS": ",".join(
        f"{name}={FOLDER / name}.py" for name in ("library", "library_onnxruntime")
    )
}
QUICK = ("--batch-size", "2", "--runs", "5", "--warmup", "2", "--threads", "1")


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    """A system of the test's own, whose node has these profilers, installed or not."""
    return LIBRARY | {"MLMS_HOME": str(tmp_path / "own")}


def test_a_trace_goes_from_the_request_to_the_primitives(mlms, own, tmp_path) -> None:
    done = mlms(
        "evaluate", "MNIST-CNN", "--framework", "pytorch", "--trace", "library", *QUICK,
        "--output", "json", **own,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "library" not in result["unavailable"]
    assert [row["level"] for row in result["overhead"]] == ["framework", "library"]
    framework, library = result["coverage"]
    assert (framework["deepest"], library["deepest"]) == ("framework", "library")
    assert 0 < framework["layers_percent"] <= 100
    assert 0 < library["calls_percent"] <= 100 and library["calls"] >= 5 * 2
    assert framework["calls_percent"] is None

    mlms("timeline", result["evaluation_id"], "-o", "spans.csv", **own)
    with (tmp_path / "spans.csv").open() as file:
        spans = {row["span_id"]: row for row in csv.DictReader(file)}
    assert not [row for row in spans.values() if row["ambiguous"] == "True"]
    convolutions = [row for row in spans.values() if row["name"] == "convolution"]
    assert Counter(spans[row["parent_id"]]["name"] for row in convolutions) == {
        "conv2d": 5,
        "conv2d_1": 5,
    }
    above, at = [], convolutions[0]
    while at["parent_id"]:
        at = spans[at["parent_id"]]
        above.append((at["level"], at["name"]))
    assert above[:2] == [("framework", "conv2d"), ("model", "predict")]
    assert above[2] == ("application", "run") and above[-1] == ("application", "evaluate")

    shown = mlms("show", result["evaluation_id"], **own)
    assert "layers cover" in shown.stdout and "library calls cover" in shown.stdout


def test_what_cannot_be_seen_below_a_layer_is_said(mlms, own) -> None:
    done = mlms(
        "evaluate", "MNIST-CNN", "--framework", "onnxruntime", "--trace", "library", *QUICK,
        "--output", "json", **own,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MLAS" in json.loads(done.stdout)["unavailable"]["library"]
