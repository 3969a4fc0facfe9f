"""One evaluation through every service as separate processes; then with one of them killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bus.errors import EvaluationError
from bus.messages import JobStarted, Progress
from mlmodelscope import Client

MODEL = "EfficientNet-Lite0"
ROOT = Path(__file__).parents[2]


async def until(evaluation, kind, **fields) -> object:
    """The first fact of a kind with these fields."""
    async for fact in evaluation:
        if isinstance(fact, kind) and all(getattr(fact, k) == v for k, v in fields.items()):
            return fact
    raise AssertionError(f"ended without {kind.__name__}: {evaluation.facts[-1]}")


async def test_through_every_service(whole_fleet) -> None:
    async with Client(whole_fleet.bus_url, user="ann") as scope:
        evaluation = await scope.evaluate(
            MODEL, batch_sizes=[1, 2], runs=20, trace="framework", threads=1
        )
        result = await evaluation.result()
        timeline = await evaluation.timeline()
        (row,) = await scope.history(user="ann")

    # What the photographs show, as the model's authors' weights see it.
    tops = {p.input: (p.classes[0].index, p.classes[0].label) for p in result.predictions}
    assert tops["coffee.png"] == (967, "espresso")
    assert tops["chelsea.png"][0] == 282
    assert result.predictions[0].classes[0].probability == pytest.approx(0.951, abs=0.005)

    assert [(r.batch_size, r.level, r.queries) for r in result.latency] == [
        (1, "model", 20),
        (2, "model", 20),
    ]
    assert {r.level for r in result.overhead} == {"framework"}
    assert result.node_id == "node-1" and result.effective["intra_op_threads"] == 1

    # 2 batch sizes at 2 levels, 20 queries each; every one of them with all its layers.
    assert timeline.complete, timeline.missing
    assert len(timeline.at("model")) == 4 * 20
    assert timeline.stored == timeline.emitted and timeline.lost == 0
    layers = timeline.at("framework")
    assert len(layers) % 40 == 0 and len(layers) >= 40 * 50
    predicts = {int(i) for i in timeline.at("model").span_id}
    assert {int(p) for p in layers.parent_id} <= predicts
    names = {span.name for span in timeline.at("application")}
    assert {"evaluate", "route", "queue", "job", "fetch", "open", "decode", "run"} <= names
    roots = [span.name for span in timeline.at("application") if not span.parent_id]
    assert roots == ["evaluate"]

    assert (row.evaluation_id, row.state) == (result.evaluation_id, "finished")
    assert row.model == MODEL and len(row.runs) == 4


async def test_every_service_says_what_it_is_doing(whole_fleet) -> None:
    async with Client(whole_fleet.bus_url) as scope:
        await (await scope.evaluate(MODEL, runs=5, threads=1)).result()
    for process in whole_fleet.processes:
        assert process.get("/healthz") == "ok\n"
        assert process.get("/readyz") == "ready\n"
        status = json.loads(process.get("/status"))
        assert (status["service"], status["pid"]) == (process.role, process.pid)
        assert f"mlms_{process.role}_ready 1.0" in process.get("/metrics")
    node = whole_fleet.processes[2]
    assert "mlms_node_jobs_total 1.0" in node.get("/metrics")


def test_any_program_with_nats_and_msgpack(whole_fleet) -> None:
    script = ROOT / "examples" / "publish_request.py"
    done = subprocess.run(
        [sys.executable, script, whole_fleet.bus_url], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert "espresso" in done.stdout
    assert "'type': 'EvaluationFinished'" in done.stdout.splitlines()[-1]


async def test_a_killed_node_costs_time_not_the_evaluation(whole_fleet) -> None:
    second = whole_fleet.start("node", "--id", "node-2")
    second.wait_until_ready()
    async with Client(whole_fleet.bus_url) as scope:
        evaluation = await scope.evaluate(MODEL, runs=1000, batch_sizes=[1], threads=1)
        started = await until(evaluation, JobStarted)
        await until(evaluation, Progress, phase="measure")
        victim = {"node-1": 2, "node-2": 3}[started.node_id]
        whole_fleet.processes[victim].kill()
        result = await evaluation.result()
        timeline = await evaluation.timeline()
    assert result.state == "finished"
    assert {result.node_id, started.node_id} == {"node-1", "node-2"}
    # Only the winner's queries and spans count.
    assert result.latency[0].queries == 1000
    assert len(timeline.at("model")) == 1000


async def test_a_killed_node_without_another_fails_with_the_reason(whole_fleet) -> None:
    async with Client(whole_fleet.bus_url) as scope:
        evaluation = await scope.evaluate(MODEL, runs=100_000, threads=1)
        await until(evaluation, JobStarted)
        whole_fleet.processes[2].kill()
        began_s = time.monotonic()
        with pytest.raises(EvaluationError, match="node-1") as caught:
            await evaluation.result()
    assert caught.value.kind == "node_lost"
    assert time.monotonic() - began_s < 30


async def test_a_killed_worker_is_one_lost_attempt(whole_fleet) -> None:
    node = whole_fleet.processes[2]
    async with Client(whole_fleet.bus_url) as scope:
        evaluation = await scope.evaluate(MODEL, runs=600, threads=1)
        await until(evaluation, Progress, phase="measure")
        worker = json.loads(node.get("/status"))["workers"]["default"]
        os.kill(worker, signal.SIGKILL)
        result = await evaluation.result()
    assert result.latency[0].queries == 600
    assert {fact.attempt for fact in evaluation.facts if isinstance(fact, JobStarted)} == {2}


async def test_collector_stopped_and_started_in_mid_run_loses_no_span(whole_fleet) -> None:
    async with Client(whole_fleet.bus_url) as scope:
        evaluation = await scope.evaluate(MODEL, runs=400, trace="framework", threads=1)
        await until(evaluation, Progress, phase="measure")
        whole_fleet.processes[0].kill()
        result = await evaluation.result()  # the result needs no collector
        again = whole_fleet.start("collector")
        again.wait_until_ready()
        timeline = await scope.timeline(result.evaluation_id, wait_s=20.0)
        stored = await scope.result(result.evaluation_id)
    assert timeline.complete, timeline.missing
    assert timeline.stored == timeline.emitted
    assert len(timeline.at("model")) == 800
    assert stored.latency == result.latency


async def test_one_of_two_coordinators_is_killed(whole_fleet) -> None:
    second = whole_fleet.start("coordinator")
    second.wait_until_ready()
    async with Client(whole_fleet.bus_url) as scope:
        evaluation = await scope.evaluate(MODEL, runs=500, threads=1)
        await until(evaluation, Progress, phase="measure")
        whole_fleet.processes[1].kill()
        assert (await evaluation.result()).state == "finished"
        assert (await (await scope.evaluate(MODEL, runs=5)).result()).state == "finished"


async def test_cancel_stops_the_work_on_the_node(whole_fleet) -> None:
    node = whole_fleet.processes[2]
    async with Client(whole_fleet.bus_url) as scope:
        evaluation = await scope.evaluate(MODEL, runs=100_000, threads=1)
        await until(evaluation, Progress, phase="measure")
        began_s = time.monotonic()
        await evaluation.cancel()
        with pytest.raises(EvaluationError) as caught:
            await evaluation.result()
        assert caught.value.kind == "cancelled"
        while json.loads(node.get("/status"))["running"]:
            await asyncio.sleep(0.05)
        assert time.monotonic() - began_s < 2
        assert (await (await scope.evaluate(MODEL, runs=5)).result()).state == "finished"


async def test_a_job_that_takes_too_long_is_stopped(whole_fleet) -> None:
    async with Client(whole_fleet.bus_url) as scope:
        evaluation = await scope.evaluate(MODEL, runs=100_000, threads=1, timeout_s=2.0)
        with pytest.raises(EvaluationError, match="timeout of 2 s") as caught:
            await evaluation.result()
    assert caught.value.kind == "timeout"
