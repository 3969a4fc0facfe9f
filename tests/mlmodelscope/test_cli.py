"""The command line as a person meets it: real output, real errors, documented exit codes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = "EfficientNet-Lite0"
QUICK = ("--runs", "10", "--warmup", "1", "--threads", "1")
SHIPPED = Path(__file__).parents[2] / "manifests" / "models"


def test_evaluate_prints_what_it_says_how_fast_and_where_the_time_goes(
    mlms, home, tmp_path
) -> None:
    trace = tmp_path / "trace.json.gz"
    done = mlms(
        "evaluate", MODEL, *QUICK, "--batch-size", "1,2", "--trace", "framework",
        "--timeline", trace,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "espresso" in text and "0.951" in text
    assert "← best" in text and "p99 needs 100 queries" in text
    assert "The 5 slowest layers" in text and "Conv" in text
    assert "cost of looking at framework level" in text
    assert "unavailable" in text
    assert "timeline complete" in text
    next_commands = text.partition("\nNext:\n")[2].splitlines()
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert sum(e["ph"] == "X" and e["cat"] == "model" for e in events) == 40
    assert len(next_commands) == 4
    for line in next_commands:  # they work as they stand, in the same shell
        typed = subprocess.run(
            line, shell=True, cwd=tmp_path, env=os.environ | {"MLMS_HOME": str(home)}
        )
        assert typed.returncode == 0, line


def test_json_and_csv_for_programs(mlms) -> None:
    done = mlms("evaluate", MODEL, *QUICK, "--output", "json")
    result = json.loads(done.stdout)
    assert result["predictions"][0]["classes"][0]["label"] == "espresso"
    assert result["latency"][0]["queries"] == 10
    assert result["latency"][0]["p99_ns"] is None
    assert result["effective"]["intra_op_threads"] == 1
    shown = mlms("show", result["evaluation_id"][:10], "--output", "csv")
    (row,) = csv.DictReader(io.StringIO(shown.stdout))
    assert int(row["p50_ns"]) == result["latency"][0]["p50_ns"]
    for command in ("models", "nodes", "history"):
        rows = json.loads(mlms(command, "--output", "json").stdout)
        assert rows and isinstance(rows, list)


def test_own_manifest_with_its_files_and_own_photograph(mlms, tmp_path: Path) -> None:
    """A manifest beside its model file, on a photograph that came with neither."""
    model = mlms("models", MODEL, "--output", "json")
    assert model.returncode == 0
    text = (SHIPPED / "efficientnet-lite0.yml").read_text()
    claims = "claims: [{metric: latency, value: 1, unit: s, batch_size: 1, on: an abacus}]\n"
    (tmp_path / "mine.yml").write_text(text.replace(f"name: {MODEL}", "name: Mine") + claims)
    (tmp_path / "efficientnet-lite0.onnx").write_bytes(
        (SHIPPED / "efficientnet-lite0.onnx").read_bytes()
    )
    photo = "package://scikit-learn==1.9.1/sklearn/datasets/images/flower.jpg"
    done = mlms("evaluate", "mine.yml", *QUICK, "--input", photo, "--output", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["model"] == "Mine" and result["weights"] == "trained"
    (claim,) = result["claims"]
    median_s = result["latency"][0]["p50_ns"] / 1e9
    assert claim["measured"] == pytest.approx(median_s) and claim["ratio"] == claim["measured"]
    shown = mlms("show", result["evaluation_id"]).stdout
    assert "claimed latency 1 s (batch 1, an abacus), measured 0.0" in shown
    assert result["predictions"][0]["classes"][0]["label"] == "daisy"


def test_a_photograph_too_large_for_a_message(mlms, tmp_path: Path) -> None:
    """It travels through the bus's object store, and back out of it unharmed."""
    from PIL import Image

    rng = random.Random(0)
    noise = bytes(rng.randrange(256) for _ in range(3 * 300 * 300))
    Image.frombytes("RGB", (300, 300), noise).save(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 64 * 1024
    done = mlms("evaluate", MODEL, *QUICK, "--input", "noise.png", "--output", "json")
    assert done.returncode == 0, done.stderr
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert prediction["input"] == "noise.png" and len(prediction["classes"]) == 5


def test_history_finds_what_was_measured(mlms) -> None:
    mlms("evaluate", MODEL, *QUICK, "--user", "historian")
    done = mlms("history", "--model", MODEL, "--limit", "1", "--output", "json")
    (row,) = json.loads(done.stdout)
    assert row["model"] == f"{MODEL} 1.0.0" and row["state"] == "finished"
    theirs = mlms("delete", row["evaluation_id"][:12])
    assert theirs.returncode == 1 and "is historian's, not " in theirs.stderr
    deleted = mlms("delete", row["evaluation_id"][:12], "--user", "historian")
    assert row["evaluation_id"] in deleted.stdout
    assert mlms("show", row["evaluation_id"]).returncode == 2


def test_publish_evaluate_by_name_and_withdraw(mlms, tmp_path: Path) -> None:
    text = (SHIPPED / "efficientnet-lite0.yml").read_text()
    (tmp_path / "mine.yml").write_text(text.replace(f"name: {MODEL}", "name: Shared"))
    model = (SHIPPED / "efficientnet-lite0.onnx").read_bytes()
    (tmp_path / "efficientnet-lite0.onnx").write_bytes(model)
    checked = mlms("check", "mine.yml")
    assert checked.returncode == 0 and "Shared 1.0.0 for onnxruntime" in checked.stdout
    for _ in range(2):  # the same again is harmless
        done = mlms("publish", "mine.yml")
        assert done.returncode == 0 and "published: Shared 1.0.0" in done.stdout, done.stderr
    changed = (tmp_path / "mine.yml").read_text().replace("crop_ratio: 0.875", "crop_ratio: 0.5")
    (tmp_path / "mine.yml").write_text(changed)
    refused = mlms("publish", "mine.yml")
    assert refused.returncode == 2 and "1.0.0" in refused.stderr
    result = json.loads(mlms("evaluate", "Shared", *QUICK, "--output", "json").stdout)
    assert result["predictions"][0]["classes"][0]["label"] == "espresso"
    assert mlms("unpublish", "Shared@1.0.0").returncode == 0
    gone = mlms("evaluate", "Shared", *QUICK)
    assert gone.returncode == 2 and "unknown model" in gone.stderr


WRONG = [
    (("check", "missing.yml"), 2, "missing.yml"),
    (("publish", "missing.yml"), 2, "missing.yml"),
    (("unpublish", "Nothing@1.0.0"), 2, "Nothing"),
    (("evaluate", "EficientNet"), 2, "did you mean EfficientNet-Lite0"),
    (("evaluate", f"{MODEL}@^2"), 3, "there is: 1.0.0"),
    (("evaluate", f"{MODEL}@one"), 2, "one"),
    (("evaluate", MODEL, "--framework", "onnxruntme"), 3, "onnxruntime"),
    (("evaluate", MODEL, "--framework", "onnxruntime@>=99"), 3, ">=99"),
    (("evaluate", MODEL, "--device", "gpu"), 3, "wanted gpu, has cpu"),
    (("evaluate", MODEL, "--node", "nowhere"), 3, "nowhere"),
    (("evaluate", MODEL, "--trace", "framewrk"), 2, "did you mean framework"),
    (("evaluate", MODEL, "--input", "nothing.jpg"), 2, "nothing.jpg"),
    (("evaluate", MODEL, "--batch-size", "0,1"), 2, "whole numbers"),
    (("evaluate", MODEL, "--runs", "0"), 2, "queries"),
    (("evaluate", MODEL, "--output", "xml"), 2, "table"),
    (("evaluate", "missing.yml"), 2, "missing.yml"),
    (("evaluate", MODEL, "--timeline", "t.txt"), 2, ".pftrace"),
    (("evaluate", MODEL, "--timeline", "no/t.json"), 2, "there is no folder no"),
    (("evaluate", MODEL, "--traceparent", "00-1-2-3"), 2, "traceparent: expected 00-<32"),
    (("timeline", "last", "--format", "perfeto"), 2, "did you mean perfetto"),
    (("evaluate", MODEL, "--bus", "nats://127.0.0.1:1"), 1, "cannot reach the bus"),
    (("show", "ffff"), 2, "ffff"),
    (("evalute", MODEL), 2, "evaluate"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), WRONG, ids=lambda x: str(x)[:60])
def test_what_is_wrong_is_named(mlms, arguments, code: int, says: str) -> None:
    done = mlms(*arguments)
    words = " ".join((done.stderr + done.stdout).split())
    assert (done.returncode, says in words) == (code, True), words
    assert "Traceback" not in words


def test_a_file_that_is_not_an_image(mlms, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a photograph at all")
    done = mlms("evaluate", MODEL, *QUICK, "--input", "notes.txt")
    assert done.returncode == 1
    words = " ".join(done.stderr.split())
    assert "notes.txt is not an image" in words and "text file" in words


def test_a_truncated_model_file(mlms, tmp_path: Path) -> None:
    text = (SHIPPED / "efficientnet-lite0.yml").read_text()
    lines = [line for line in text.splitlines() if "graph_checksum" not in line]
    (tmp_path / "cut.yml").write_text("\n".join(lines))
    whole = (SHIPPED / "efficientnet-lite0.onnx").read_bytes()
    (tmp_path / "efficientnet-lite0.onnx").write_bytes(whole[: len(whole) // 2])
    done = mlms("evaluate", "cut.yml", *QUICK)
    words = " ".join(done.stderr.split())
    assert done.returncode == 1 and "efficientnet-lite0.onnx" in words, words


def test_a_changed_model_file_is_refused_by_its_checksum(mlms, tmp_path: Path) -> None:
    """Before anything is predicted."""
    (tmp_path / "m.yml").write_text((SHIPPED / "efficientnet-lite0.yml").read_text())
    whole = (SHIPPED / "efficientnet-lite0.onnx").read_bytes()
    (tmp_path / "efficientnet-lite0.onnx").write_bytes(whole + b" ")
    done = mlms("evaluate", "m.yml", *QUICK)
    words = " ".join(done.stderr.split())
    assert done.returncode == 1 and "the manifest says" in words, words


def test_all_faults_of_a_manifest_at_once(mlms, tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text(
        "name: ''\nversion: one\nframework: {name: onnxruntime}\nmodle: {graph_path: x.onnx}\n"
        "model: {graph_path: x.onnx}\ninputs: [{type: image, parameters: {layout: NCWH}}]\n"
    )
    done = mlms("evaluate", "bad.yml")
    assert done.returncode == 2
    for line, words in ((1, "name"), (2, "version"), (4, "modle"), (6, "layout")):
        assert any(
            f"bad.yml:{line}:" in text and words in text for text in done.stderr.splitlines()
        )


def as_in_a_terminal() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def as_in_the_background() -> None:
    """A shell without job control has what it starts with & ignore Ctrl-C."""
    as_in_a_terminal()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("number", "beginning"),
    [
        (signal.SIGINT, as_in_a_terminal),
        (signal.SIGHUP, as_in_a_terminal),
        (signal.SIGTERM, as_in_the_background),
    ],
)
def test_an_interrupted_command_leaves_nothing_behind(
    home: Path, number: int, beginning: Callable[[], None]
) -> None:
    command = [sys.executable, "-m", "mlmodelscope", "evaluate", MODEL, "--runs", "100000"]
    environment = os.environ | {"MLMS_HOME": str(home)}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=beginning,
    )
    time.sleep(3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "interrupted" in errors
    listed = subprocess.run(
        [*command[:3], "history", "--output", "json", "--limit", "1"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert json.loads(listed.stdout)[0]["state"] == "cancelled"


def test_every_command_has_help_with_examples(mlms) -> None:
    text = mlms("--help").stdout
    for command in (
        "evaluate",
        "models",
        "nodes",
        "history",
        "show",
        "timeline",
        "delete",
        "up",
        "check",
        "publish",
        "unpublish",
    ):
        assert command in text
        assert f"mlmodelscope {command}" in mlms(command, "--help").stdout
    for command in ("coordinator", "collector", "node"):
        assert f"mlmodelscope {command} --bus" in mlms(command, "--help").stdout
