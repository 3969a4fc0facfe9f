"""One evaluation's timeline in several formats, each read by somebody else, all of one mind."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MODEL = "EfficientNet-Lite0"


def test_the_formats_agree_on_one_evaluation(mlms, tmp_path: Path) -> None:
    """Folded stacks of each run add up to its spans; OTLP's ids and times are the table's."""
    quick = ("--runs", "5", "--warmup", "1", "--threads", "1", "--trace", "framework")
    done = mlms("evaluate", MODEL, *quick, "--timeline", "t.csv.gz", TRACEPARENT=CALLER)
    assert done.returncode == 0, done.stderr
    with gzip.open(tmp_path / "t.csv.gz", "rt", newline="") as file:
        spans = list(csv.DictReader(file))
    run_of = {span["span_id"]: span["run"] for span in spans}
    durations = {"run 0": 0, "run 1": 0}
    for span in spans:  # what a run begins with: opening the model, and the run itself
        if span["run"] != "-1" and run_of[span["parent_id"]] != span["run"]:
            durations[f"run {span['run']}"] += int(span["duration_ns"])

    done = mlms("timeline", "last", "-o", "stacks.txt", "--format", "folded")
    assert done.returncode == 0 and "stacks.txt: " in done.stdout, done.stderr
    sums = dict.fromkeys(durations, 0)
    for line in (tmp_path / "stacks.txt").read_text().splitlines():
        stack, time_us = line.rsplit(" ", 1)
        model, second = stack.split(";")[:2]
        assert model == MODEL
        if second in sums:
            sums[second] += int(time_us)
    for run, duration_ns in durations.items():
        assert abs(sums[run] - duration_ns / 1000) <= 1, run

    assert mlms("timeline", "last", "-o", "t.otlp.json").returncode == 0
    resources = json.loads((tmp_path / "t.otlp.json").read_text())["resourceSpans"]
    told = [s for r in resources for scope in r["scopeSpans"] for s in scope["spans"]]
    assert {s["traceId"] for s in told} == {CALLER[3:35]}
    assert {(s["spanId"], s["startTimeUnixNano"]) for s in told} == {
        (s["span_id"], s["start_ns"]) for s in spans
    }
    (root,) = [s for s in told if s["parentSpanId"] == CALLER[36:52]]
    assert root["name"] == "evaluate"
