"""The coordinator on a real NATS, with nodes that the test plays."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from bus import subjects
from bus.codec import unpack_rows
from bus.connection import Bus
from bus.consumer import Received
from bus.errors import StaleError
from bus.messages import (
    Accepted,
    Cancel,
    Done,
    Evaluate,
    EvaluationFailed,
    EvaluationFinished,
    EvaluationRecord,
    Fits,
    Fitting,
    JobPlaced,
    JobRecord,
    ListModels,
    ListNodes,
    Manifest,
    Message,
    Models,
    Nodes,
    Refused,
    SpansRecorded,
    Wanted,
)
from coordinator.coordinator import MARK_S, Coordinator
from coordinator.shelf import manifest_key

Eventually = Callable[..., Awaitable[None]]
Start = Callable[[], Awaitable[Coordinator]]
Request = Callable[..., Evaluate]
M = TypeVar("M", bound=Message)


async def ask(bus: Bus, request: Evaluate) -> Accepted:
    return await bus.request(subjects.EVALUATE, request, Accepted)


async def ended(bus: Bus, evaluation_id: str) -> EvaluationFinished | EvaluationFailed:
    """How an evaluation ended; exactly one fact may say so."""
    for _ in range(500):
        facts = await bus.replay(subjects.FACTS_STREAM, subjects.facts_of(evaluation_id))
        ends = [f for f in facts if isinstance(f, EvaluationFinished | EvaluationFailed)]
        if ends:
            (end,) = ends
            return end
        await asyncio.sleep(0.02)
    raise AssertionError("it did not end")


async def stored(bus: Bus, bucket: str, key: str, kind: type[M]) -> M:
    got = await (await bus.bucket(bucket)).get(key)
    assert got is not None and isinstance(got[0], kind)
    return got[0]


async def test_accepted_run_and_finished(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, node = await coordinator_on(), await player("n1")
    await eventually(lambda: coordinator.status()["nodes"] == ["n1"])
    request = request_for(level="framework", batch_sizes=[1, 2], parent_span=77)
    accepted = await ask(bus, request)
    job_id = f"{request.evaluation_id}-0"
    placed = JobPlaced(
        job_id=job_id, node_id="n1", framework="onnxruntime", framework_version="1.31.1"
    )
    assert (accepted.model, accepted.model_version, accepted.jobs) == ("AlexNet", "1.0.0", [placed])
    await eventually(lambda: node.jobs)
    (job,) = node.jobs
    assert [run.level for run in job.runs] == ["model", "framework"] * 2
    assert job.inputs == request.inputs and job.parent_span == 77

    async def marked() -> bool:
        return (await stored(bus, subjects.JOBS_BUCKET, job_id, JobRecord)).published

    await eventually(marked)
    assert coordinator.status()["queues"] == {"n1": 1}
    await node.claim(job)
    await node.finish(job, sequence=6)
    end = await ended(bus, request.evaluation_id)
    assert isinstance(end, EvaluationFinished)
    (outcome,) = end.jobs
    assert (outcome.state, outcome.attempt, outcome.facts) == ("finished", 1, 7)

    async def written() -> bool:
        key = request.evaluation_id
        record = await stored(bus, subjects.EVALUATIONS_BUCKET, key, EvaluationRecord)
        return record.state == "finished" and record.ended_ns > 0

    await eventually(written)
    assert coordinator.status()["jobs"] == {"finished": 1}
    assert coordinator.status()["queues"] == {}
    counters = coordinator.counters
    await eventually(lambda: counters["finished"] == 1)
    assert (counters["requests"], counters["placed"]) == (1, 1)
    assert (await ask(bus, request)).jobs == [placed]


async def test_a_job_that_is_begun_at_once_is_not_marked(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, node = await coordinator_on(), await player("n1")
    await eventually(lambda: coordinator.status()["nodes"] == ["n1"])
    request = request_for(level="none")
    await ask(bus, request)
    await eventually(lambda: node.jobs)
    await node.claim(node.jobs[0])
    bucket, job_id = await bus.bucket(subjects.JOBS_BUCKET), f"{request.evaluation_id}-0"
    claimed = await bucket.get(job_id)
    await asyncio.sleep(2 * MARK_S)
    assert await bucket.get(job_id) == claimed  # nobody has written to it since
    await node.finish(node.jobs[0])
    assert isinstance(await ended(bus, request.evaluation_id), EvaluationFinished)


async def test_the_route_span_is_below_the_clients_span(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, _ = await coordinator_on(), await player("n1")
    await eventually(lambda: coordinator.status()["nodes"])
    heard: list[Message] = []

    async def take(batch: list[Received]) -> None:
        for received in batch:
            heard.append(received.message)
            await received.ack()

    await bus.consume(subjects.SPANS_STREAM, "test", [subjects.SPANS], take)
    await ask(bus, request_for(level="none"))
    request = request_for(level="application", parent_span=2**63 - 1)
    await ask(bus, request)
    await eventually(lambda: heard)
    (spans,) = heard
    assert isinstance(spans, SpansRecorded)
    assert (spans.evaluation_id, spans.source) == (request.evaluation_id, "coordinator")
    assert (spans.levels, spans.count) == ({"application": 1}, 1)
    (route,) = unpack_rows(spans.block)
    assert (route.name, route.parent_id, route.level) == ("route", 2**63 - 1, 1)
    assert 0 < route.span_id < 2**63
    assert spans.first_start_ns == route.start_ns
    assert spans.last_end_ns == route.start_ns + route.duration_ns


async def test_refused_with_reasons(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator = await coordinator_on()
    refused = await bus.request(subjects.EVALUATE, request_for(), Refused)
    assert refused.kind == "no_nodes"
    await player("n1")
    await player("n2", cores=64)
    await eventually(lambda: len(coordinator.status()["nodes"]) == 2)
    wanted = Wanted(min_cores=16, device="gpu")
    refused = await bus.request(subjects.EVALUATE, request_for(wanted=wanted), Refused)
    assert refused.kind == "nothing_fits"
    assert [(group.nodes, len(group.failures)) for group in refused.misfits] == [
        (["n2"], 1),
        (["n1"], 2),
    ]
    asking = Fits(manifest=request_for().manifest, wanted=Wanted(min_cores=16))
    fitting = await bus.request(subjects.FITS, asking, Fitting)
    assert fitting.nodes == ["n2"] and fitting.misfits[0].nodes == ["n1"]
    assert coordinator.counters["refused"] == 2
    nodes = await bus.request(subjects.NODES, ListNodes(), Nodes)
    assert [(seen.node.node_id, seen.outstanding) for seen in nodes.nodes] == [("n1", 0), ("n2", 0)]


async def test_models_are_what_the_bucket_holds(
    bus: Bus, coordinator_on: Start, model: Callable[..., Manifest], eventually: Eventually
) -> None:
    bucket = await bus.bucket(subjects.MANIFESTS_BUCKET)
    for version in ("1.0.0", "2.0.0"):
        manifest = model("Mine", version)
        await bucket.create(manifest_key(manifest), Models(models=[manifest]))
    await coordinator_on()
    await coordinator_on()  # a second one seeds nothing over the first

    async def versions(reference: str) -> list[str]:
        found = await bus.request(subjects.MODELS, ListModels(model=reference), Models)
        return [manifest.version for manifest in found.models]

    assert await versions("mine") == ["2.0.0", "1.0.0"]
    assert await versions("mine@^1") == ["1.0.0"]
    assert await versions("nobody's") == []
    everything = await bus.request(subjects.MODELS, ListModels(), Models)
    assert "Mine" in {manifest.name for manifest in everything.models}
    await bucket.delete(manifest_key(model("Mine", "2.0.0")))

    async def one_is_left() -> bool:
        return await versions("mine") == ["1.0.0"]

    await eventually(one_is_left)


async def test_asking_twice_is_harmless(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    one, other = await coordinator_on(), await coordinator_on()
    node = await player("n1")
    await player("n2")
    for coordinator in (one, other):
        await eventually(lambda c=coordinator: len(c.status()["nodes"]) == 2)
    for _ in range(5):
        request = request_for()
        answers = await asyncio.gather(*(ask(bus, request) for _ in range(4)))
        assert all(answer == answers[0] for answer in answers)
    assert one.counters["placed"] + other.counters["placed"] == 5
    await node.vanish()


async def test_a_lost_node_is_followed_by_another_attempt(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    one, other = await coordinator_on(), await coordinator_on()
    first, second = await player("n1", cores=8), await player("n2")
    for coordinator in (one, other):
        await eventually(lambda c=coordinator: len(c.status()["nodes"]) == 2)
    request = request_for()
    assert (await ask(bus, request)).jobs[0].node_id == "n1"
    await eventually(lambda: first.jobs)
    await first.claim(first.jobs[0])
    await first.vanish()
    await eventually(lambda: second.jobs)
    (again,) = second.jobs
    assert (again.attempt, again.node_id) == (2, "n2")
    await second.claim(again)
    await first.finish(first.jobs[0])  # it was only cut off: too late
    await eventually(lambda: one.counters["stale_facts"] + other.counters["stale_facts"] == 1)
    record = await stored(bus, subjects.JOBS_BUCKET, again.job_id, JobRecord)
    assert (record.state, record.attempt, record.excluded) == ("running", 2, ["n1"])
    await second.finish(again)
    end = await ended(bus, request.evaluation_id)
    assert isinstance(end, EvaluationFinished)
    assert (end.jobs[0].node_id, end.jobs[0].attempt) == ("n2", 2)
    assert one.counters["lost"] + other.counters["lost"] == 1
    # The end is told first, then written down and counted, by one of the two.
    await eventually(lambda: one.counters["finished"] + other.counters["finished"] == 1)


async def test_silence_is_noticed(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    """No farewell: the heartbeat's key expires by itself, after six seconds."""
    coordinator, node = await coordinator_on(), await player("n1", cores=8)
    other = await player("n2")
    await eventually(lambda: len(coordinator.status()["nodes"]) == 2)
    request = request_for()
    await ask(bus, request)
    await eventually(lambda: node.jobs)
    await node.claim(node.jobs[0])
    node.silent = True
    await eventually(lambda: other.jobs, timeout_s=15.0)
    assert other.jobs[0].attempt == 2
    assert coordinator.status()["nodes"] == ["n2"]


async def test_no_other_node_fits(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, node = await coordinator_on(), await player("n1")
    await player("n2", arch="aarch64")
    await eventually(lambda: len(coordinator.status()["nodes"]) == 2)
    request = request_for(wanted=Wanted(arch="amd64"))
    await ask(bus, request)
    await eventually(lambda: node.jobs)
    await node.vanish()
    end = await ended(bus, request.evaluation_id)
    assert isinstance(end, EvaluationFailed) and end.kind == "node_lost"
    assert "node n1 fell silent; no other node fits: n2 (arch: wanted amd64" in end.text
    assert end.jobs[0].state == "failed"


async def test_a_new_incarnation_takes_the_job_of_the_old_one(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, node = await coordinator_on(), await player("n1")
    await eventually(lambda: coordinator.status()["nodes"])
    request = request_for()
    await ask(bus, request)
    await eventually(lambda: node.jobs)
    await node.claim(node.jobs[0])
    await node.restart("second-life")
    await eventually(lambda: len(node.jobs) == 2)
    assert node.jobs[1].attempt == 2
    await node.claim(node.jobs[1])
    await node.finish(node.jobs[1])
    assert isinstance(await ended(bus, request.evaluation_id), EvaluationFinished)


async def test_failures_that_are_tried_again_and_those_that_are_not(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, node = await coordinator_on(), await player("n1")
    await eventually(lambda: coordinator.status()["nodes"])
    request = request_for(max_attempts=2)
    await ask(bus, request)
    for attempt in (1, 2):
        await eventually(lambda n=attempt: len(node.jobs) == n)
        await node.claim(node.jobs[-1])
        await node.fail(node.jobs[-1], "worker_died", "signal 11")
    end = await ended(bus, request.evaluation_id)
    assert isinstance(end, EvaluationFailed) and end.kind == "worker_died"
    assert "attempt 2 on n1 failed: signal 11; this was attempt 2 of 2" in end.text
    assert end.jobs[0].facts == 3

    request = request_for()
    await ask(bus, request)
    await eventually(lambda: len(node.jobs) == 3)
    await node.claim(node.jobs[-1])
    await node.fail(node.jobs[-1], "asset", "no such file")
    end = await ended(bus, request.evaluation_id)
    assert isinstance(end, EvaluationFailed)
    assert (end.kind, end.text, end.jobs[0].attempt) == ("asset", "no such file", 1)


async def test_cancel(
    bus: Bus, coordinator_on: Start, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, node = await coordinator_on(), await player("n1")
    await eventually(lambda: coordinator.status()["nodes"])
    request = request_for()
    await ask(bus, request)
    await eventually(lambda: node.jobs)
    await node.claim(node.jobs[0])
    theirs = Cancel(evaluation_id=request.evaluation_id, user="somebody")
    assert (await bus.request(subjects.CANCEL, theirs, Refused)).kind == "forbidden"
    cancel = Cancel(evaluation_id=request.evaluation_id, user=request.user)
    assert "is cancelled" in (await bus.request(subjects.CANCEL, cancel, Done)).text
    end = await ended(bus, request.evaluation_id)
    assert isinstance(end, EvaluationFailed) and end.kind == "cancelled"
    assert (end.text, end.jobs[0].state) == (f"cancelled by {request.user}", "cancelled")
    await node.finish(node.jobs[0])  # it had just finished: too late
    assert "was cancelled already" in (await bus.request(subjects.CANCEL, cancel, Done)).text
    record = await stored(bus, subjects.JOBS_BUCKET, node.jobs[0].job_id, JobRecord)
    assert record.state == "cancelled"
    nobody = Cancel(evaluation_id="0" * 32, user="me")
    assert "no evaluation" in (await bus.request(subjects.CANCEL, nobody, Refused)).text


@pytest.mark.parametrize("died_after", ["evaluation", "job", "finish"])
async def test_another_carries_on_where_one_fell(
    bus: Bus,
    coordinator_on: Start,
    player: Any,
    request_for: Request,
    eventually: Eventually,
    died_after: str,
) -> None:
    """What a coordinator leaves that dies after its first write, its second, or a node's end."""
    node = await player("n1")
    first = await coordinator_on()
    await eventually(lambda: first.status()["nodes"])
    pattern = request_for()
    await ask(bus, pattern)
    await eventually(lambda: node.jobs)
    await first.stop()
    record = await stored(bus, subjects.EVALUATIONS_BUCKET, pattern.evaluation_id, EvaluationRecord)
    job = await stored(bus, subjects.JOBS_BUCKET, node.jobs[0].job_id, JobRecord)

    # The same again under another id, only as far as the one that died had come.
    evaluation_id = uuid.uuid4().hex
    job_id = f"{evaluation_id}-0"
    evaluations = await bus.bucket(subjects.EVALUATIONS_BUCKET)
    jobs = await bus.bucket(subjects.JOBS_BUCKET)
    await evaluations.create(
        evaluation_id,
        replace(
            record,
            request=replace(record.request, evaluation_id=evaluation_id),
            jobs=[replace(record.jobs[0], job_id=job_id)],
        ),
    )
    if died_after != "evaluation":
        made = replace(job.job, job_id=job_id, evaluation_id=evaluation_id)
        state: Any = "finished" if died_after == "finish" else "queued"
        await jobs.create(job_id, replace(job, job=made, published=False, state=state))
    await coordinator_on()
    if died_after != "finish":
        await eventually(lambda: any(j.job_id == job_id for j in node.jobs))
        (mine,) = [j for j in node.jobs if j.job_id == job_id]
        await node.claim(mine)
        await node.finish(mine)
    assert isinstance(await ended(bus, evaluation_id), EvaluationFinished)


async def test_readiness(bus: Bus, coordinator_on: Start) -> None:
    coordinator = await coordinator_on()
    assert coordinator.not_ready() == ""
    await coordinator.stop()
    assert coordinator.not_ready() == "not started, or stopped"
    bucket = await bus.bucket(subjects.JOBS_BUCKET)
    with pytest.raises(StaleError):
        await bucket.update("x", Done(), 5)
