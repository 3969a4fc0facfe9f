"""The collector pushes what it assembled: to whom, when, and what becomes of what nobody takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus import codec, subjects
from bus.connection import Bus
from bus.errors import InputError
from bus.messages import (
    EvaluationFinished,
    JobFinished,
    JobOutcome,
    MetricsRecorded,
    Span,
    SpansRecorded,
)
from collector import otlp_marks, otlp_post, otlp_push
from collector.collector import Collector, Settings

EVALUATION = "b2b2" + "0" * 28
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"


@pytest.fixture
def running(bus_url: str, bus: Bus, mongo_url: str, database: str) -> Callable[..., Any]:
    """A Collector with these OTLP settings."""

    @asynccontextmanager
    async def run(**given: str) -> AsyncIterator[Collector]:
        connection = await Bus.connect(bus_url, name="collector")
        settings = Settings(mongo_url=mongo_url, database=database, grace_s=0.3, **given)
        try:
            service = Collector(connection, settings)
            await service.start()
            try:
                yield service
            finally:
                await service.stop()
        finally:
            await connection.close()

    return run


async def evaluate(bus: Bus, *, client: bool = True, spans: int = 3, **asked: str) -> None:
    """What a node, a coordinator and a client tell of an evaluation, the client last."""
    job_id = f"{EVALUATION}-0"
    rows = [Span(10 + i, 1, 2, "predict", 1_000 + 10 * i, 5, 7) for i in range(spans)]
    await bus.record(subjects.span("n1", "ada", EVALUATION), batch("worker", rows, "n1", job_id, 1))
    finished = JobFinished(
        evaluation_id=EVALUATION,
        job_id=job_id,
        attempt=1,
        node_id="n1",
        sequence=0,
        at_ns=time.time_ns(),
        span_batches={"worker": 1},
        spans={"model": spans},
    )
    await bus.record(subjects.fact("n1", "ada", EVALUATION, "JobFinished"), finished)
    outcome = JobOutcome(job_id=job_id, node_id="n1", attempt=1, state="finished")
    ended = EvaluationFinished(
        evaluation_id=EVALUATION, at_ns=time.time_ns(), jobs=[outcome], **asked
    )
    subject = subjects.fact("coordinator", "ada", EVALUATION, "EvaluationFinished")
    await bus.record(subject, ended)
    if client:
        await asyncio.sleep(0.1)
        root = [Span(1, 0, 1, "evaluate", 0, 5_000, 1)]
        await bus.record(subjects.span("client", "ada", EVALUATION), batch("client", root))


def batch(
    source: str, rows: list[Span], node: str = "", job_id: str = "", attempt: int = 0
) -> SpansRecorded:
    return SpansRecorded(
        evaluation_id=EVALUATION,
        job_id=job_id,
        attempt=attempt,
        node_id=node,
        source=source,
        batch=0,
        run=0 if node else -1,
        levels={},
        count=len(rows),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(rows),
    )


async def test_to_its_own_endpoint_in_the_callers_trace(
    running, bus: Bus, otlp_receiver, eventually
) -> None:
    """The request's own span comes last, and is waited for."""
    async with running(otlp_endpoint=otlp_receiver.url) as collector:
        await evaluate(bus, traceparent=f"{CALLER}1")
        await eventually(lambda: collector.counters["otlp_sent"])
        assert len(otlp_receiver.spans) == 4
        assert {span.trace_id.hex() for span in otlp_receiver.spans} == {CALLER[3:35]}
        root = next(span for span in otlp_receiver.spans if span.name == "evaluate")
        assert root.parent_span_id.hex() == "b7ad6b7169203331"
        assert collector.counters["otlp_spans_sent"] == 4
        # The end is told again: nothing is pushed twice.
        await evaluate(bus, client=False, traceparent=f"{CALLER}1")
        await eventually(lambda: collector.counters["assembled"] >= 2)
        await asyncio.sleep(0.1)
        assert len(otlp_receiver.spans) == 4


async def test_without_its_client_it_goes_after_the_grace(
    running, bus: Bus, otlp_receiver, eventually
) -> None:
    async with running(otlp_endpoint=otlp_receiver.url) as collector:
        await evaluate(bus, client=False)
        await eventually(lambda: collector.counters["otlp_sent"])
    assert {span.trace_id.hex() for span in otlp_receiver.spans} == {EVALUATION}
    assert len(otlp_receiver.spans) == 3


async def test_to_a_callers_endpoint_only_where_it_is_allowed(
    running, bus: Bus, otlp_receiver, eventually
) -> None:
    async with running(otlp_allow="localhost") as collector:
        await evaluate(bus, otlp_endpoint=otlp_receiver.url)  # 127.0.0.1: another name
        await eventually(lambda: collector.counters["otlp_refused"])
        assert "is not in MLMS_OTLP_ALLOW" in str(collector.status()["otlp"])
    assert otlp_receiver.spans == []


async def test_to_a_callers_endpoint_that_is_allowed(
    running, bus: Bus, otlp_receiver, eventually
) -> None:
    async with running(otlp_allow="example.org,127.0.0.1") as collector:
        await evaluate(bus, otlp_endpoint=otlp_receiver.url)
        await eventually(lambda: collector.counters["otlp_sent"])
    assert len(otlp_receiver.spans) == 4


async def test_a_trace_that_its_caller_does_not_record_is_not_pushed(
    running, bus: Bus, otlp_receiver, eventually
) -> None:
    async with running(otlp_endpoint=otlp_receiver.url) as collector:
        await evaluate(bus, traceparent=f"{CALLER}0")
        await eventually(lambda: collector.counters["assembled"])
        await asyncio.sleep(0.1)
    assert otlp_receiver.spans == []


async def test_tries_again_what_may_pass_and_counts_what_does_not(
    running, bus: Bus, otlp_receiver, eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp_post, "FIRST_PAUSE_S", 0.01)
    otlp_receiver.answers = [503, 429]
    async with running(otlp_endpoint=otlp_receiver.url) as collector:
        await evaluate(bus)
        await eventually(lambda: collector.counters["otlp_sent"])
        assert collector.counters["otlp_retries"] == 2
        assert len(otlp_receiver.spans) == 4


@pytest.mark.parametrize(
    ("answers", "why"),
    [([503] * 5, "answered 503, 5 times"), ([400], "answered 400"), ([307], "307")],
)
async def test_a_push_that_fails_is_counted_and_shown(
    running, bus: Bus, otlp_receiver, eventually, monkeypatch, answers: list[int], why: str
) -> None:
    """A redirect is not followed: the settings allowed this host and no other."""
    monkeypatch.setattr(otlp_post, "FIRST_PAUSE_S", 0.01)
    otlp_receiver.answers = answers
    async with running(otlp_endpoint=otlp_receiver.url) as collector:
        await evaluate(bus)
        await eventually(lambda: collector.counters["otlp_dropped"])
        assert collector.counters["otlp_spans_dropped"] == 4
        assert why in str(collector.status()["otlp"])
        assert collector.counters["assembled"]  # which it did not hold up
    assert otlp_receiver.spans == []


async def test_an_endpoint_that_is_away_holds_nothing_up(
    running, bus: Bus, eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp_post, "FIRST_PAUSE_S", 0.01)
    async with running(otlp_endpoint="http://127.0.0.1:1") as collector:
        await evaluate(bus)
        await eventually(lambda: collector.counters["otlp_dropped"])
        assert "127.0.0.1:1" in str(collector.status()["otlp"])


async def test_a_full_queue_drops_and_says_so(
    running, bus: Bus, otlp_receiver, eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp_push, "MOST_WAITING", 1)
    monkeypatch.setattr(otlp_push, "AT_ONCE", 0)
    async with running(otlp_endpoint=otlp_receiver.url, otlp_allow="localhost") as collector:
        other = otlp_receiver.url.replace("127.0.0.1", "localhost")
        await evaluate(bus, otlp_endpoint=other)
        await eventually(lambda: collector.counters["otlp_dropped"])
        assert "wait already" in str(collector.status()["otlp"])
    # What waits when a collector stops is sent by the next one.
    monkeypatch.undo()
    async with running(otlp_endpoint=otlp_receiver.url) as collector:
        await eventually(lambda: collector.counters["otlp_sent"])
    assert len(otlp_receiver.spans) == 4


async def test_a_collector_that_dies_leaves_what_waits_to_another(
    running, bus: Bus, otlp_receiver, eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one never says again that it lives, and never sends: as when it was killed."""
    monkeypatch.setattr(otlp_push, "LOOK_S", 0.1)
    monkeypatch.setattr(otlp_push, "RENEW_S", 1e9)
    monkeypatch.setattr(otlp_push, "AT_ONCE", 0)
    monkeypatch.setattr(otlp_marks, "HELD_S", 1.0)
    async with running(otlp_endpoint=otlp_receiver.url) as dead:
        await evaluate(bus)
        await eventually(lambda: dead.status()["otlp"]["waiting"])
        dead._push._stopping.set()  # its loop ends; nobody answers for what waits
        monkeypatch.setattr(dead._push._marks, "release", dead._push._marks.renew)
        monkeypatch.setattr(otlp_push, "AT_ONCE", 1)
        async with running(otlp_endpoint=otlp_receiver.url) as other:
            await eventually(lambda: other.counters["otlp_sent"])
            assert other.counters["otlp_taken_over"] == 1
            await asyncio.sleep(1.3)  # it is sent once: the mark is gone
            assert other.counters["otlp_sent"] == 1
    assert len(otlp_receiver.spans) == 4


def samples() -> MetricsRecorded:
    return MetricsRecorded(
        evaluation_id=EVALUATION,
        job_id=f"{EVALUATION}-0",
        attempt=1,
        node_id="n1",
        source="worker",
        batch=0,
        run=2,
        name="power.package-0",
        unit="watts",
        level="hardware",
        times_ns=[1_000, 2_000],
        values=[31.5, 30.0],
    )


@pytest.mark.parametrize("answers", [[], [404]])
async def test_samples_go_beside_the_spans_where_they_are_taken(
    running, bus: Bus, otlp_receiver, eventually, answers: list[int]
) -> None:
    otlp_receiver.metric_answers = list(answers)
    async with running(otlp_endpoint=otlp_receiver.url) as collector:
        await bus.record(subjects.metric("n1", "ada", EVALUATION), samples())
        await eventually(lambda: collector.counters["metrics"])
        await evaluate(bus)
        await eventually(lambda: collector.counters["otlp_sent"])
        assert collector.counters["otlp_metrics_not_taken"] == len(answers)
        assert collector.counters["otlp_dropped"] == 0
    assert len(otlp_receiver.spans) == 4
    names = [m.name for r in otlp_receiver.metrics for s in r.scope_metrics for m in s.metrics]
    assert names == ([] if answers else ["power.package-0"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"otlp_endpoint": "collector:4318"}, "MLMS_OTLP_ENDPOINT: expected http"),
        ({"otlp_allow": "http://collector"}, "is no host"),
    ],
)
async def test_settings_that_mean_nothing_are_refused_at_the_start(
    running, given: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        async with running(**given):
            pass
