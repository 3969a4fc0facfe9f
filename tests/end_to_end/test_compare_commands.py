"""Comparing as a person does it: real runs, verdicts, refusals, exit codes, and wrong inputs."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bus.messages import JobStarted
from mlmodelscope import cli
from mlmodelscope.client import Client
from mlmodelscope.where import ENDING

QUICK: dict[str, Any] = {"threads": 1, "warmup": 2}


@pytest.fixture(scope="module")
def measured(home: Path) -> dict[str, str]:
    """Evaluations by a name of their own."""
    return asyncio.run(_measured(home))


async def _measured(home: Path) -> dict[str, str]:
    found = {}
    async with Client.local(home) as client:
        for name, framework, more in (
            ("one", "onnxruntime", {"trace": "framework", "full_outputs": True}),
            ("torch", "pytorch", {"trace": "framework", "full_outputs": True}),
            ("batch", "onnxruntime", {"batch_sizes": [4]}),
            ("other threads", "pytorch", {"threads": 2, "batch_sizes": [1, 4]}),
        ):
            wish = {**QUICK, "runs": 120, **more}
            models = (await client.models("MNIST-CNN")).models
            # By a name of its own: other tests' runs are no history of these.
            model = replace(next(m for m in models if m.framework.name == framework), name="Mine")
            evaluation = await client.evaluate(model, framework=framework, **wish)
            await evaluation.result()
            found[name] = evaluation.evaluation_id
    return found


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def test_across_frameworks_with_their_layers_and_one_picture(
    mlms, measured: dict[str, str], tmp_path: Path
) -> None:
    picture = tmp_path / "both.json.gz"
    done = mlms(
        "compare", measured["one"], measured["torch"][:10], "--across", "framework",
        "--output", "json", "--timeline", picture, "--force",
    )  # fmt: skip
    (found,) = json.loads(done.stdout)
    assert done.returncode == 4, done.stderr  # PyTorch takes several times as long for so little
    assert found["worse"] and "B is slower at batch 1" in found["headline"]
    latency = found["metrics"][0]
    assert latency["ratio"]["low"] > 1.5 and latency["queries_a"] == 120
    names = {d["name"] for d in found["gate"]["differences"] if d["asked"]}
    assert {"framework", "framework_version"} <= names
    assert [pair["by"] for pair in found["layers"]] == ["name"] * 6
    assert found["layers"][0]["b"] == ["conv2d", "relu"]
    assert found["answers"]["differing"] == 0
    events = json.loads(gzip.decompress(picture.read_bytes()))["traceEvents"]
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    predicts = [e for e in events if e.get("cat") == "model" and e["args"]["run"] == 1]
    first = {
        side: min(e["ts"] for e in predicts if processes[e["pid"]].startswith(side))
        for side in ("A ", "B ")
    }
    assert first["A "] == first["B "]


def test_what_was_not_asked_about_stops_the_verdict(mlms, measured: dict[str, str]) -> None:
    """Threads differ beside the framework."""
    done = mlms("compare", measured["one"], measured["other threads"], "--across", "framework")
    words = said(done)
    assert done.returncode == 5, words
    assert "no verdict" in words and "intra_op_threads" in words and "not asked about" in words
    forced = mlms("compare", measured["one"], measured["other threads"], "--force")
    assert forced.returncode == 4 and "forced" in forced.stdout


def test_the_conditions_of_a_run_are_recorded(mlms, measured: dict[str, str]) -> None:
    alike = mlms("compare", measured["one"], measured["one"], "--output", "csv")
    rows = [*csv.DictReader(io.StringIO(alike.stdout))]
    assert alike.returncode == 0
    assert [row["metric"] for row in rows] == ["latency", "p99", "throughput"]
    assert {row["verdict"] for row in rows} == {"no evidence"}
    assert float(rows[0]["ratio_value"]) == 1.0


async def test_a_node_tells_how_it_was(home: Path, measured: dict[str, str]) -> None:
    async with Client.local(home) as client:
        _, facts, _ = await client.stored(measured["one"])
    started = next(fact for fact in facts if isinstance(fact, JobStarted))
    told = started.conditions
    assert told is not None and told.kernel and told.python and told.load_1m >= 0
    assert bool(told.governor) != ("governor" in told.unavailable)


def test_divergence_of_two_frameworks(mlms, measured: dict[str, str]) -> None:
    done = mlms("divergence", measured["one"], measured["torch"], "--output", "json")
    found = json.loads(done.stdout)
    assert (found["inputs"], found["differing"]) == (3, 0)
    assert 0 < found["worst"]["max_difference"] < 1e-5
    assert found["worst"]["kullback_leibler"] < 1e-6
    assert found["worst"]["correlation"] > 0.999999
    lines = mlms("divergence", measured["one"], measured["torch"], "--output", "csv").stdout
    assert [row["values"] for row in csv.DictReader(io.StringIO(lines))] == ["10"] * 3
    assert "largest difference" in mlms("divergence", measured["one"], measured["torch"]).stdout


WRONG = [
    (("compare", "one"), 2, "expected two evaluations or more"),
    (("compare", "one", "batch"), 2, "A was measured at batch sizes 1, B at 4"),
    (("compare", "one", "torch", "--metric", "speed"), 2, "unknown --metric 'speed'"),
    (("compare", "one", "torch", "--tolerance", "lots"), 2, "expected a part like 2% or 0.02"),
    (("compare", "one", "torch", "--across", "weather"), 2, "unknown --across 'weather'"),
    (("compare", "one", "0000beef"), 2, "no evaluation '0000beef'"),
    (("compare", "one", "torch", "--timeline", "x.bmp"), 2, "x.bmp"),
    (("compare", "one", "--baseline", "Nobody"), 2, "no finished evaluation of Nobody"),
    (("divergence", "one", "batch"), 2, "run it with --full-outputs"),
    (("ab", "MNIST-CNN", "MNIST-CNN"), 2, "expected --dataset D, or --input"),
    (("ab", "MNIST-CNN", "MNIST-CNN", "--dataset", "Nothing"), 2, "there is no such dataset"),
    (("ab", "MNST", "MNIST-CNN", "--dataset", "MNIST-5k"), 2, "did you mean MNIST-CNN"),
    (("pitfall", "color", "MNIST-CNN", "--dataset", "MNIST-5k"), 2, "grey images"),
    (("pitfall", "colour", "MNIST-CNN", "--dataset", "MNIST-5k"), 2, "did you mean color"),
    (("pitfall", "labels", "MNST-CNN", "--dataset", "MNIST-5k"), 2, "MNST-CNN"),
    (("pitfall", "labels"), 2, "expected a pitfall, a model and --dataset"),
]


@pytest.fixture
def here(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """A command in this very process, which has imported everything: its exit code and words."""
    handlers = {number: signal.getsignal(number) for number in ENDING}
    monkeypatch.setenv("MLMS_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), " ".join((shown.out + shown.err).split())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("typed", "code", "says"), WRONG, ids=lambda x: str(x)[:60])
def test_what_is_wrong_is_named(
    here, measured: dict[str, str], typed: tuple[str, ...], code: int, says: str
) -> None:
    found, words = here(*(measured.get(word, word) for word in typed))
    assert (found, says in words) == (code, True), words


async def test_a_history_of_its_own(mlms, home: Path) -> None:
    """Six runs of the same model by another name, then one more."""
    async with Client.local(home) as client:
        models = (await client.models("MNIST-CNN")).models
        manifest = replace(next(m for m in models if m.framework.name == "onnxruntime"), name="Own")
        for count in range(7):
            evaluation = await client.evaluate(manifest, runs=30, warmup=2, threads=1)
            await evaluation.result()
            if count == 0:
                few = await asyncio.to_thread(mlms, "compare", "last", "--baseline", "Own")
    assert few.returncode == 2 and "run some" in said(few)
    typed = ("compare", "last", "--baseline", "Own", "--tolerance", "99%")
    done, shown = mlms(*typed, "--output", "json"), mlms(*typed)
    (row,) = json.loads(done.stdout)["baseline"]
    assert done.returncode == (4 if row["verdict"] == "slower" else 0)
    assert row["history"] == 6 and row["normal_low_ns"] <= row["normal_high_ns"]
    assert row["false_alarms"]["of"] == max(row["normal"] - 5, 0)
    assert "false alarms" in said(shown)
    nobody = mlms(*typed, "--by", "nobody")
    assert nobody.returncode == 2 and "framework onnxruntime" in said(nobody)
    assert "user nobody" in said(nobody)
    whose = mlms("compare", "last", "last", "--by", "ann")
    assert whose.returncode == 2 and "--baseline" in said(whose)
    listed = [mlms("history", "--model", "Own", "--batch-size", size, "--limit", "3",
                   "--output", "json") for size in ("1", "2")]  # fmt: skip
    assert [len(json.loads(each.stdout)) for each in listed] == [3, 0]
