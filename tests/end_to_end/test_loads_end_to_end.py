"""Loads through every service: what is asked for on one side, what is stored on the other."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.errors import EvaluationError, RefusedError
from bus.messages import (
    GraphDescribed,
    Message,
    ModelOpened,
    PredictionsMade,
    RunMeasured,
    Scenario,
)
from collector.timeline import Timeline
from mlmodelscope.client import Client

MS = 1_000_000
ASKED: dict[str, Any] = {"framework": "onnxruntime", "threads": 1, "warmup": 2}


async def ask(client: Client, load: Scenario, **more: Any) -> tuple[Any, list[Message]]:
    evaluation = await client.evaluate("MNIST-CNN", scenario=load, **(ASKED | more))
    return await evaluation.result(), evaluation.facts


def runs(facts: Sequence[Message]) -> list[RunMeasured]:
    return [fact for fact in facts if isinstance(fact, RunMeasured)]


def said(facts: Sequence[Message]) -> list[Any]:
    return [fact.predictions for fact in facts if isinstance(fact, PredictionsMade)]


async def test_loads_as_a_client_asks_for_them(whole_fleet) -> None:  # type: ignore[no-untyped-def]
    async with Client(whole_fleet.bus_url) as client:
        await same_seed_same_timestamps(client)
        await single_stream_never_has_two_outstanding(client)
        await layers_under_load(client)
        await cold_starts(client)
        await what_cannot_be(client)


async def same_seed_same_timestamps(client: Client) -> None:
    load = Scenario(name="server", target_qps=200.0, min_duration_s=0.2, min_queries=50)
    (one, first), (_, again) = await ask(client, load, seed=3), await ask(client, load, seed=3)
    _, other = await ask(client, load, seed=4)
    (a,), (b,), (c,) = runs(first), runs(again), runs(other)
    assert a.scheduled_ns == b.scheduled_ns != c.scheduled_ns
    assert a.samples == b.samples
    assert len(a.scheduled_ns) == len(a.starts_ns) >= 50
    assert all(at >= due for at, due in zip(a.starts_ns, a.scheduled_ns, strict=True))
    said = [
        [f.predictions for f in told if isinstance(f, PredictionsMade)] for told in (first, again)
    ]
    assert said[0] == said[1]
    (row,) = one.scenarios
    assert row.requested["target_qps"] == row.effective["target_qps"] == 200.0
    assert row.requested["latency_bound_ms"] == 0 and row.effective["latency_bound_ms"] == 10
    assert row.effective["queue"] == "one queue, unbounded, served by 1 thread(s)"
    assert [c.name for c in row.conditions if not c.met][-1] == "early stopping"
    assert "min duration 0.2 s, expected 600 s" in row.not_compliant


async def single_stream_never_has_two_outstanding(client: Client) -> None:
    load = Scenario(name="single_stream", min_duration_s=0.1, min_queries=64, max_queries=20_000)
    result, facts = await ask(client, load)
    (run,) = runs(facts)
    ends = np.array(run.starts_ns) + np.array(run.durations_ns)
    assert (ends[:-1] <= np.array(run.starts_ns)[1:]).all()
    assert not run.scheduled_ns
    (row,) = result.scenarios
    assert row.valid and row.metric == "p90 by early stopping"


async def layers_under_load(client: Client) -> None:
    load = Scenario(name="server", target_qps=100.0, min_duration_s=0.0, min_queries=20)
    result, facts = await ask(client, load, trace="system")
    assert [(run.level, len(run.starts_ns)) for run in runs(facts)] == [
        ("model", 20),
        ("framework", 20),
        ("system", 20),
    ]
    assert any(isinstance(fact, GraphDescribed) for fact in facts)
    assert [row.level for row in result.scenarios] == ["model"]
    timeline: Timeline = await client.timeline(result.evaluation_id)
    assert timeline.complete
    assert len(timeline.at("model")) == 60
    assert len(timeline.at("system")) == 20


async def cold_starts(client: Client) -> None:
    result, facts = await ask(client, Scenario(name="cold_start", min_queries=2), runs=20)
    warm, *cold = runs(facts)
    assert [(r.run, r.first_query, r.last) for r in cold] == [(1, 0, False), (1, 1, True)]
    opened = [fact for fact in facts if isinstance(fact, ModelOpened)]
    assert [fact.cached for fact in opened[-2:]] == [False, False]
    (row,) = result.scenarios
    assert [part.name for part in row.parts] == [
        *("process", "import", "prepare", "open", "first predict"),
    ]
    assert row.warm_ns is not None and row.latency_ns is not None
    assert row.warm_ns == pytest.approx(np.median(warm.durations_ns), abs=1)
    assert row.latency_ns > 50 * MS > row.warm_ns
    assert [row.scenario for row in result.scenarios] == ["cold_start"]


async def what_cannot_be(client: Client) -> None:
    with pytest.raises(RefusedError, match="target_qps: expected queries per second above 0"):
        await ask(client, Scenario(name="server"))
    several = Scenario(name="server", target_qps=9.0, min_duration_s=0.0, issue_threads=2)
    with pytest.raises(EvaluationError, match="does not say that it bears 2 threads at once"):
        await ask(client, several, framework="tensorflow")


def test_loads_as_a_person_types_them(mlms, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    fast = (
        "--framework",
        "onnxruntime",
        "--threads",
        1,
        "--min-duration",
        0.1,
        "--min-queries",
        30,
    )
    model = ("evaluate", "MNIST-CNN", *fast)
    done = mlms(*model, "--scenario", "server", "--target-qps", 200, "--mlperf-logs", "logs")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "server, batch 1: INVALID early stopping:" in words
    assert "not MLPerf-compliant: min duration 0.1 s, expected 600 s" in words
    assert len([*(tmp_path / "logs").iterdir()]) == 4
    assert "Scenario : Server" in (tmp_path / "logs" / "mlperf_log_summary.txt").read_text()

    once = ("--scenario", "single-stream", "--each-once", "--seed", 5, "--mlperf-logs", "answers")
    done = mlms("evaluate", "MNIST-CNN", "--framework", "onnxruntime", *once, "--output", "json")
    (row,) = json.loads(done.stdout)["scenarios"]
    assert (row["queries"], row["effective"]["samples"]) == (3, "each once, shuffled")
    answers = json.loads((tmp_path / "answers" / "mlperf_log_accuracy.json").read_text())
    found = {r["qsl_idx"]: struct.unpack("<f", bytes.fromhex(r["data"]))[0] for r in answers}
    assert found == {0: 7.0, 1: 4.0, 2: 0.0}  # seven.png, four.png, zero.png

    (tmp_path / "offsets.txt").write_text("0\n0.01\n0.01\n0.03\n")
    done = mlms("evaluate", "MNIST-CNN", "--replay", "offsets.txt", "--output", "csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split(",")[5:8] == ["replay", "4", "4"]

    wide = ("--until-ci", "40%", "--min-duration", 0.05)
    done = mlms("evaluate", "MNIST-CNN", "--threads", 1, *wide, "--output", "json")
    (row,) = json.loads(done.stdout)["scenarios"]
    assert row["ended"] == "converged" and row["valid"]

    done = mlms("evaluate", "MNIST-CNN", "--scenario", "burst", "--target-qps", 9)
    assert done.returncode == 2
    assert "burst_size: expected 1 or more" in " ".join(done.stderr.split())
