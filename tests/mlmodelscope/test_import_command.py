"""`mlmodelscope import`, as a person types it, on profiles that are made here or were recorded."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.S)


def python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=120, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_runs(mlms, tmp_path: Path) -> None:
    """Both profilers really run; what they say is compared with what came of it."""
    profile = tmp_path / python(PYTHON[0], tmp_path).strip()
    python(PYTHON[1], tmp_path)
    results = {}
    for line in SHELL[0].splitlines():
        words = [w for word in line.split()[1:] for w in (
            [p.name for p in tmp_path.glob(word)] if "*" in word else [word])]  # fmt: skip
        done = mlms(*words)
        assert done.returncode == 0, (line, done.stderr)
        results[line.split()[1], line.split()[2]] = done.stdout
    events = json.loads(profile.read_text())
    nodes = [e for e in events if e["name"].endswith("_kernel_time")]
    text = results["import", "squeezenet_*.json"]
    assert f"{len(nodes)} framework" in text and "10 model" in text and "complete" in text
    (linear,) = json.loads(results["import", "linear.json.gz"])
    raw = json.loads(gzip.decompress((tmp_path / "linear.json.gz").read_bytes()))["traceEvents"]
    assert sum(event["count"] for event in linear["events"]) == len(raw)
    operators = sum(e.get("cat") == "cpu_op" for e in raw)
    assert linear["spans"]["framework"] == operators and linear["calls"] == 3
    assert linear["complete"] and not linear["ambiguous"]
    assert (
        "imported" in results["history", "--node"] and "SqueezeNet" in results["history", "--node"]
    )
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert sum(e["ph"] == "X" for e in trace["traceEvents"]) == sum(linear["spans"].values())


def onnxruntime_profile(folder: Path) -> Path:
    """A profile as ONNX Runtime writes it, small enough to be worked out by hand."""

    def event(cat: str, name: str, ts: int, dur: int, **args: object) -> dict[str, object]:
        return {"cat": cat, "pid": 9, "tid": 9, "dur": dur, "ts": ts, "ph": "X", "name": name,
                "args": args}  # fmt: skip

    def node(name: str, op: str, ts: int, dur: int) -> dict[str, object]:
        return event(
            "Node", f"{name}_kernel_time", ts, dur, op_name=op, provider="CPUExecutionProvider",
            output_type_shape=[{"float": [2, 4]}], output_size="32", parameter_size="128",
        )  # fmt: skip

    events = [event("Session", "session_initialization", 0, 90)]
    for number, took in enumerate((40, 20, 60)):
        begin = 100 + 100 * number
        events += [
            node("mm", "MatMul", begin + 2, took // 2),
            node("relu", "Relu", begin + 2 + took // 2, 4),
            event("Session", "SequentialExecutor::Execute", begin + 1, took - 2),
            event("Session", "model_run", begin, took),
        ]
    path = folder / "profile.json"
    path.write_text(json.dumps(events))
    return path


def test_show_history_and_timeline_of_what_was_imported(mlms, tmp_path: Path) -> None:
    path = onnxruntime_profile(tmp_path)
    done = mlms("import", path, "--batch-size", 2, "--model", "Tiny", "--output", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    name = row["evaluation_id"]
    assert row["spans"] == {"application": 4, "model": 3, "framework": 6} == row["stored"]
    result = json.loads(mlms("show", name[:12], "--output", "json").stdout)
    (latency,) = result["latency"]
    assert (latency["p50_ns"], latency["queries"], latency["batch_size"]) == (40_000, 3, 2)
    assert latency["throughput"] == pytest.approx(6 / 120e-6)
    first, second = result["slowest_layers"]
    assert (first["name"], first["operator"], first["output_shape"]) == ("mm", "MatMul", [2, 4])
    assert (first["median_ns"], first["total_ns"]) == (20_000, 60_000)
    assert first["share_percent"] == 50.0 and second["share_percent"] == 10.0
    assert result["framework"] == "onnxruntime"
    for field in ("framework_version", "model_version", "environment"):
        assert result[field] == "unknown (imported)"
    assert result["recording"]["sha256"] and result["recording"]["file"] == "profile.json"
    shown = mlms("show", name[:12]).stdout
    assert "imported from profile.json" in shown and "became spans: 13" in shown
    (mine,) = (r for r in csv.DictReader(io.StringIO(mlms("history", "--output", "csv").stdout))
               if r["evaluation_id"] == name)  # fmt: skip
    assert mine["origin"] == "imported" == mine["note"] and mine["state"] == "finished"
    assert mlms("timeline", name[:12], "-o", "t.json").returncode == 0
    spans = [e for e in json.loads((tmp_path / "t.json").read_text())["traceEvents"]
             if e["ph"] == "X"]  # fmt: skip
    by_id = {e["args"]["span_id"]: e for e in spans}
    for matmul in (e for e in spans if e["name"] == "mm"):
        executor = by_id[matmul["args"]["parent_id"]]
        assert executor["name"] == "SequentialExecutor::Execute"
        assert by_id[executor["args"]["parent_id"]]["name"] == "model_run"


def test_twice_is_harmless_and_deleted_can_come_back(mlms, tmp_path: Path) -> None:
    path = onnxruntime_profile(tmp_path)
    zipped = tmp_path / "other-name.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    rows = [json.loads(mlms("import", p, "--output", "json").stdout)[0] for p in (path, zipped)]
    assert rows[0]["evaluation_id"] == rows[1]["evaluation_id"] and rows[1]["again"]
    assert not rows[0]["again"] and rows[0]["stored"] == rows[1]["stored"]
    facts = json.loads(mlms("show", rows[0]["evaluation_id"], "--output", "json").stdout)
    assert facts["complete"] and facts["latency"][0]["throughput"] is None  # no batch size known
    assert "unknown" in mlms("show", rows[0]["evaluation_id"]).stdout
    assert mlms("delete", rows[0]["evaluation_id"]).returncode == 0
    (third,) = json.loads(mlms("import", path, "--output", "json").stdout)
    assert third["evaluation_id"] != rows[0]["evaluation_id"] and not third["again"]
    assert third["stored"] == rows[0]["stored"]


def test_errors_are_one_line_and_code_2(mlms, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for arguments, says in (
        (["bad.json"], "its JSON ends in the middle"),
        (["none.json"], "No such file"),
        ([], "no file was named"),
        (["bad.json", "--batch-size", "-1"], "expected 1 or more"),
    ):
        done = mlms("import", *arguments)
        assert done.returncode == 2 and says in done.stderr.replace("\n", " "), done.stderr
        assert "Traceback" not in done.stderr


def test_a_recording_of_a_real_gpu(mlms, recordings: Path, tmp_path: Path) -> None:
    done = mlms("import", recordings / "gpu_traces" / "mi300-bert-small.json.gz")
    assert done.returncode == 0, done.stderr
    assert "519 framework" in done.stdout and "timeline complete" in done.stdout
    shown = mlms("show", re.search(r"imported as (\w+)", done.stdout)[1])  # type: ignore[index]
    text = " ".join(shown.stdout.split())
    assert "AMD Instinct MI300X VF" in text and "recorded 2025-07-27" in text
    assert "The 5 slowest layers" in text and "aten::linear" in text
