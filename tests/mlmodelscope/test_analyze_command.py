"""`analyze` and `ceilings` as a person types them, on evaluations that were really run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from analysis.fifteen import FIFTEEN
from mlmodelscope.pictures import BROWSERS

ONNX = ("MNIST-CNN", "--framework", "onnxruntime", "--threads", "1", "--runs", "20")
TORCH = ("MNIST-CNN", "--framework", "pytorch", "--threads", "1", "--runs", "20")
MACS = 333_056

Evaluated = Callable[..., str]
_done: dict[tuple[str, ...], str] = {}


@pytest.fixture
def evaluated(mlms: Any) -> Evaluated:
    """The id of an evaluation with these options, run once."""

    def get(*options: str) -> str:
        if options not in _done:
            done = mlms("evaluate", *options, "--output", "json")
            assert done.returncode == 0, done.stderr
            _done[options] = json.loads(done.stdout)["evaluation_id"]
        return _done[options]

    return get


def test_every_analysis_is_a_table_a_csv_and_json(mlms: Any, evaluated: Evaluated) -> None:
    """A1 to A15 and theoretical, on a machine without a GPU."""
    which = evaluated(*ONNX, "--batch-size", "1,2", "--trace", "framework")
    found = json.loads(mlms("analyze", which, "--output", "json").stdout)
    assert [each["analysis"] for each in found] == list(FIFTEEN)
    for each in found:
        assert each["rows"] and not each["unavailable"], each["analysis"]
        assert {row["analysis"] for row in each["rows"]} == {each["analysis"]}
    assert [row["batch_size"] for row in found[0]["rows"]] == [1, 2]
    text = mlms("analyze", which).stdout
    for each in found:
        assert f"{each['analysis']} · {each['title']}" in text
    assert "it ran on a CPU: only a GPU's counters tell this" in text
    rows = list(
        csv.DictReader(
            io.StringIO(mlms("analyze", which, "--what", "A8", "--output", "csv").stdout)
        )
    )
    assert len(rows) == len(found[7]["rows"]) and rows[0]["analysis"] == "A8"
    assert rows[0]["occupancy_percent"].startswith("n/a: it ran on a CPU")


def test_files_are_named_for_their_analysis(mlms: Any, evaluated: Evaluated, tmp_path: Any) -> None:
    which = evaluated(*ONNX, "--batch-size", "1,2", "--trace", "framework")
    done = mlms("analyze", which, "--what", "A3,A14", "--output", "html", "--to", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["out/A3-layer-latency.html", "out/A14-layer-roofline.html"]
    page = (tmp_path / "out" / "A14-layer-roofline.html").read_text()
    assert "A14 · Layer roofline" in page and "/2/MaxPool" in page
    assert "<script src=" not in page  # plotly itself lies inside
    done = mlms("analyze", which, "--what", "A3,A14", "--output", "csv")
    assert (tmp_path / f"analyses-{which[:8]}" / "A3-layer-latency.csv").exists(), done.stderr


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium or Chrome here")
def test_a_picture(mlms: Any, evaluated: Evaluated, tmp_path: Any) -> None:
    """Each analysis has a plot."""
    from PIL import Image

    which = evaluated(*ONNX, "--batch-size", "1,2", "--trace", "framework")
    done = mlms("analyze", which, "--what", "A3", "--output", "png", "--to", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "A3-layer-latency.png") as picture:
        assert picture.size == (1000, 600)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20  # something is drawn


def test_without_a_browser_it_says_what_to_do(mlms: Any, evaluated: Evaluated) -> None:
    which = evaluated(*ONNX, "--batch-size", "1,2", "--trace", "framework")
    done = mlms("analyze", which, "--what", "A3", "--output", "png", PATH="/nowhere")
    assert done.returncode == 2 and "--output html" in done.stderr


def test_two_frameworks_count_the_same_graph(mlms: Any, evaluated: Evaluated) -> None:
    """ONNX's shape inference and PyTorch's FlopCounterMode: one network, one number."""
    for options, by in ((ONNX, "shape inference"), (TORCH, "FlopCounterMode")):
        which = evaluated(*options, "--trace", "library")
        found = json.loads(
            mlms("analyze", which, "--what", "theoretical", "--output", "json").stdout
        )
        (told,) = [note for note in found["notes"] if "multiply-adds" in note]
        assert told.startswith(f"{MACS:,} multiply-adds in the model's own graph"), told
        assert by in told


def test_a_library_level_stands_where_kernels_do(mlms: Any, evaluated: Evaluated) -> None:
    which = evaluated(*TORCH, "--trace", "library")
    found = json.loads(mlms("analyze", which, "--what", "A8,A13", "--output", "json").stdout)
    calls, split = (each["rows"] for each in found)
    assert {row["of"] for row in calls} == {"library call"}
    assert any(row["name"].startswith(("convolution ", "sgemm ")) for row in calls)
    assert all(row["flops"] is not None and row["source"] == "analytic" for row in calls)
    for row in split:
        assert row["kernels_ns"] + row["outside_ns"] == pytest.approx(row["layer_ns"])
        assert row["gpu_ns"] is None and "CPU" in row["na"]["gpu_ns"]


def test_ceilings_judge_what_was_measured_before(mlms: Any, evaluated: Evaluated) -> None:
    which = evaluated(*ONNX, "--batch-size", "1,2", "--trace", "framework")
    done = mlms("ceilings", "--output", "json")
    assert done.returncode == 0, done.stderr
    ceilings = json.loads(done.stdout)
    kinds = {(each["kind"], each["dtype"], each["unit"]) for each in ceilings}
    assert kinds == {
        ("compute", "float32", "GFLOP/s"),
        ("compute", "float64", "GFLOP/s"),
        ("memory", "", "GB/s"),
    }
    assert all(each["value"] > 0.1 and each["how"] for each in ceilings)
    assert json.loads(mlms("ceilings", "--output", "json").stdout) == ceilings  # kept
    found = json.loads(mlms("analyze", which, "--what", "A14", "--output", "json").stdout)
    roof = found["roofs"][0]
    assert roof["source"] == "measured"
    beside = [each["source"] for each in found["roofs"][1:]]
    # What the maker promises of this processor, or why that is not known.
    assert beside == ["datasheet"] or any("datasheet: n/a: " in note for note in found["notes"])
    able = [each for each in ceilings if each["threads"] == 1 and each["dtype"] != "float64"]
    assert (roof["peak_gflops"], roof["bandwidth_gb_per_s"]) == (able[0]["value"], able[1]["value"])
    assert {row["bound"] for row in found["rows"]} <= {"memory", "compute"}


WRONG = {
    "unknown analysis": (("A99",), "unknown analysis 'A99'"),
    "a batch size that was not run": (("A2", "--batch-size", "7"), "was not measured: there is 1"),
    "a level that was not run": (
        ("A2",),
        "`mlmodelscope evaluate MNIST-CNN --framework onnxruntime --trace framework`",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_questions(mlms: Any, evaluated: Evaluated, case: str) -> None:
    options, text = WRONG[case]
    done = mlms("analyze", evaluated(*ONNX), "--what", *options)
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split()), done.stderr


def test_other_things_that_are_not_there(mlms: Any) -> None:
    assert mlms("analyze", "ffffffff").returncode == 2
    done = mlms("ceilings", "nobody")
    assert done.returncode == 2 and "unknown node 'nobody'" in done.stderr
