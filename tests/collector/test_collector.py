"""The Collector on a real bus and a real MongoDB, as the others meet it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import MongoClient

from bus import codec, subjects
from bus.connection import Bus
from bus.errors import ServiceError
from bus.messages import (
    ClockRead,
    Delete,
    Done,
    Evaluation,
    EvaluationFailed,
    EvaluationFinished,
    GetEvaluation,
    GetTimeline,
    History,
    JobFinished,
    JobOutcome,
    JobStarted,
    ListHistory,
    MetricsRecorded,
    NotFound,
    Progress,
    ReadClock,
    RunMeasured,
    Span,
    SpansRecorded,
    TimelineChunk,
)
from collector.collector import Collector, Settings
from collector.timeline import Timeline

E1, E2 = "a1b2" + "0" * 28, "a1c3" + "0" * 28


@pytest.fixture
async def collector(bus_url: str, bus: Bus, mongo_url: str, database: str) -> AsyncIterator[Any]:
    async with running(bus_url, mongo_url, database) as service:
        yield service


class running:
    """A Collector with a connection of its own."""

    def __init__(self, bus_url: str, mongo_url: str, database: str) -> None:
        self._bus_url = bus_url
        self._settings = Settings(mongo_url=mongo_url, database=database, grace_s=0.5)

    async def __aenter__(self) -> Collector:
        self._bus = await Bus.connect(self._bus_url, name="collector")
        self.service = Collector(self._bus, self._settings)
        await self.service.start()
        return self.service

    async def __aexit__(self, *_: object) -> None:
        await self.service.stop()
        await self._bus.close()


class Node:
    """Tells what a node and a coordinator would, about one job."""

    def __init__(self, bus: Bus, evaluation_id: str, attempt: int = 1, node: str = "n1") -> None:
        self.bus, self.evaluation_id = bus, evaluation_id
        self.job_id, self.attempt, self.node_id = f"job-{evaluation_id[:4]}", attempt, node
        self.sequence = 0

    async def tell(self, kind: type[Any], **fields: Any) -> None:
        fact = kind(
            evaluation_id=self.evaluation_id,
            job_id=self.job_id,
            attempt=self.attempt,
            node_id=self.node_id,
            sequence=self.sequence,
            at_ns=fields.pop("at_ns", time.time_ns()),
            **fields,
        )
        self.sequence += 1
        subject = subjects.fact(self.node_id, "ada", self.evaluation_id, kind.__name__)
        await self.bus.record(subject, fact)

    async def start(self, model: str = "AlexNet", **fields: Any) -> None:
        await self.tell(
            JobStarted,
            incarnation="i",
            model=model,
            model_version="1.0.0",
            model_digest="sha256:0",
            framework="onnxruntime",
            framework_version="1.31.1",
            environment="default",
            **fields,
        )

    async def measure(self, run: int, durations_ns: list[int], first: int = 0, last: bool = True):  # type: ignore[no-untyped-def]
        await self.tell(
            RunMeasured,
            run=run,
            batch_size=2,
            level="model",
            scenario="online",
            start_ns=0,
            first_query=first,
            starts_ns=[0] * len(durations_ns),
            durations_ns=durations_ns,
            last=last,
        )

    async def spans(self, batch: int, *spans: Span) -> None:
        message = SpansRecorded(
            evaluation_id=self.evaluation_id,
            job_id=self.job_id,
            attempt=self.attempt,
            node_id=self.node_id,
            source="worker",
            batch=batch,
            run=0,
            levels={"model": len(spans)},
            count=len(spans),
            first_start_ns=0,
            last_end_ns=0,
            block=codec.pack_rows(spans),
        )
        await self.bus.record(subjects.span(self.node_id, "ada", self.evaluation_id), message)

    async def finish(self, batches: int, spans: int) -> None:
        await self.tell(JobFinished, span_batches={"worker": batches}, spans={"model": spans})
        outcome = JobOutcome(
            job_id=self.job_id, node_id=self.node_id, attempt=self.attempt, state="finished"
        )
        ended = EvaluationFinished(
            evaluation_id=self.evaluation_id, at_ns=time.time_ns(), jobs=[outcome]
        )
        await self.bus.record(
            subjects.fact("coordinator", "ada", self.evaluation_id, "EvaluationFinished"), ended
        )


def predict(number: int, start_ns: int = 0) -> Span:
    return Span(number, 0, 2, "predict", start_ns or number * 10, 5)


async def ask_evaluation(bus: Bus, name: str, part: int = 0) -> Evaluation | NotFound:
    question = GetEvaluation(evaluation_id=name, part=part)
    return await bus.request(subjects.EVALUATION, question, Evaluation, NotFound)


async def ask_timeline(bus: Bus, name: str, wait_s: float = 5.0) -> Timeline:
    chunks: list[TimelineChunk] = []
    while not chunks or len(chunks) < chunks[0].chunks:
        question = GetTimeline(evaluation_id=name, chunk=len(chunks), wait_s=wait_s)
        chunks.append(
            await bus.request(subjects.TIMELINE, question, TimelineChunk, timeout_s=wait_s + 5)
        )
    return Timeline.from_chunks(chunks)


async def test_one_evaluation(collector: Collector, bus: Bus, eventually: Any) -> None:
    node = Node(bus, E1)
    await node.start()
    await node.measure(0, [30, 10, 20])
    await node.measure(1, [5, 5], first=0, last=False)
    await node.measure(1, [7, 9, 9], first=2)
    await node.spans(0, predict(1), predict(2))
    metric = MetricsRecorded(
        evaluation_id=E1,
        job_id=node.job_id,
        attempt=1,
        node_id="n1",
        source="node",
        batch=0,
        name="rss",
        unit="bytes",
        level="system",
        times_ns=[1],
        values=[2.0],
    )
    await bus.record(subjects.metric("n1", "ada", E1), metric)
    await node.finish(batches=1, spans=2)
    await eventually(lambda: collector.counters["assembled"] == 1, what="assembled by itself")
    await eventually(lambda: collector.counters["metrics"] == 1)

    answer = await ask_evaluation(bus, "last")
    assert isinstance(answer, Evaluation)
    assert (answer.evaluation_id, answer.state, answer.parts) == (E1, "finished", 1)
    kinds = [type(codec.decode(fact)).__name__ for fact in answer.facts]
    assert kinds == [
        "JobStarted",
        "RunMeasured",
        "RunMeasured",
        "RunMeasured",
        "JobFinished",
        "EvaluationFinished",
    ]
    assert answer.stored_spans == {"model": 2}
    assert [codec.decode(data) for data in answer.metrics] == [metric]

    timeline = await ask_timeline(bus, E1[:4])
    assert timeline.complete and [s.span_id for s in timeline] == [1, 2]
    assert collector.counters["assembled"] == 1

    (row,) = (await bus.request(subjects.HISTORY, ListHistory(model="alexnet"), History)).rows
    assert (row.user, row.model, row.node_id, row.state) == ("ada", "AlexNet", "n1", "finished")
    assert [(r.run, r.queries, r.median_ns) for r in row.runs] == [(0, 3, 20), (1, 5, 7)]


async def test_a_late_batch_makes_it_assemble_again(
    collector: Collector, bus: Bus, eventually: Any
) -> None:
    node = Node(bus, E1)
    await node.start()
    await node.spans(0, predict(1))
    await node.finish(batches=2, spans=2)
    await eventually(lambda: collector.counters["assembled"] == 1, what="after the grace time")
    early = await ask_timeline(bus, E1)
    assert early.missing == "1 of 2 batches of worker on n1, 1 spans of level model"
    await node.spans(1, predict(2))
    await eventually(lambda: collector.counters["span_batches"] == 2)
    late = await ask_timeline(bus, E1)
    assert late.complete and len(late) == 2


async def test_a_question_waits_for_spans(collector: Collector, bus: Bus) -> None:
    node = Node(bus, E1)
    await node.start()
    asking = asyncio.create_task(ask_timeline(bus, E1[:6], wait_s=5.0))
    await asyncio.sleep(0.1)
    while not (await bus.request(subjects.HISTORY, ListHistory(), History)).rows:
        await asyncio.sleep(0.02)
    if asking.done():
        asking.exception()
        asking = asyncio.create_task(ask_timeline(bus, E1[:6], wait_s=5.0))
    await node.spans(0, predict(1))
    await node.finish(batches=1, spans=1)
    timeline = await asking
    assert timeline.complete and len(timeline) == 1
    running = Node(bus, E2)
    await running.start()
    while len((await bus.request(subjects.HISTORY, ListHistory(), History)).rows) < 2:
        await asyncio.sleep(0.02)
    assert (await ask_timeline(bus, E2, wait_s=0.0)).missing.startswith(
        "the evaluation is still running"
    )


async def test_only_the_winning_attempt_is_shown(
    collector: Collector, bus: Bus, eventually: Any
) -> None:
    lost, won = Node(bus, E1, attempt=1, node="n1"), Node(bus, E1, attempt=2, node="n2")
    await lost.start()
    await lost.measure(0, [1])
    await lost.spans(0, predict(1))
    await won.start()
    await won.measure(0, [9])
    await won.spans(0, predict(2))
    await won.finish(batches=1, spans=1)
    await lost.tell(Progress, run=0, phase="measure", done=1, total=2)
    await eventually(lambda: collector.counters["facts"] == 7)
    await eventually(lambda: collector.counters["span_batches"] == 2)
    answer = await ask_evaluation(bus, E1)
    assert isinstance(answer, Evaluation)
    attempts = [getattr(codec.decode(fact), "attempt", 2) for fact in answer.facts]
    assert attempts == [2, 2, 2, 2] and answer.stored_spans == {"model": 1}
    assert [s.span_id for s in await ask_timeline(bus, E1)] == [2]
    (row,) = (await bus.request(subjects.HISTORY, ListHistory(node="n2"), History)).rows
    assert [r.median_ns for r in row.runs] == [9]
    assert (await bus.request(subjects.HISTORY, ListHistory(node="n1"), History)).rows == []


async def test_history_in_pages_and_what_is_not_there(
    collector: Collector, bus: Bus, eventually: Any
) -> None:
    empty = await ask_evaluation(bus, "last")
    assert isinstance(empty, NotFound) and "nothing has been evaluated" in empty.text
    for at_ns, name in enumerate((E1, E2), 1):
        await Node(bus, name).start(model=name[:4], at_ns=at_ns)
    await eventually(lambda: collector.counters["facts"] == 2)
    first = await bus.request(subjects.HISTORY, ListHistory(limit=1), History)
    assert ([r.evaluation_id for r in first.rows], first.next_before_ns) == ([E2], 2)
    second = await bus.request(subjects.HISTORY, ListHistory(limit=1, before_ns=2), History)
    assert ([r.evaluation_id for r in second.rows], second.next_before_ns) == ([E1], 0)
    for model, known in ((E1[:4].upper(), 1), (E1[:4], 1), (E1[:3], 0), (".*", 0), ("", 2)):
        asked = ListHistory(model=model, framework="ONNXRuntime", state="RUNNING")
        assert len((await bus.request(subjects.HISTORY, asked, History)).rows) == known, model
    for wrong in (ListHistory(model="a\0b"), GetEvaluation(evaluation_id="a1b2\0")):
        with pytest.raises(ServiceError, match="control characters"):
            where = subjects.HISTORY if isinstance(wrong, ListHistory) else subjects.EVALUATION
            await bus.request(where, wrong, History, NotFound)

    short = await ask_evaluation(bus, "a1b")
    assert isinstance(short, NotFound) and "4 or more" in short.text
    typo = await ask_evaluation(bus, "a1b3")
    assert isinstance(typo, NotFound) and set(typo.nearest) == {E1, E2}
    beyond = await ask_evaluation(bus, "a1b2", part=1)
    assert isinstance(beyond, NotFound) and "1 parts" in beyond.text
    regex = await ask_evaluation(bus, "a1.2")
    assert isinstance(regex, NotFound)
    clock = await bus.request(subjects.CLOCK, ReadClock(), ClockRead)
    assert abs(clock.now_ns - time.time_ns()) < 5_000_000_000


async def test_long_evaluations_come_in_parts(
    collector: Collector, bus: Bus, eventually: Any
) -> None:
    node = Node(bus, E1)
    for run in range(5):
        await node.measure(run, [2**40 + i for i in range(100_000)])
    await eventually(lambda: collector.counters["facts"] == 5)
    answers = [await ask_evaluation(bus, E1)]
    while len(answers) < answers[0].parts:  # type: ignore[union-attr]
        answers.append(await ask_evaluation(bus, E1, part=len(answers)))
    assert len(answers) == 3  # two facts of 1 MB each in a part of 2 MiB
    facts = [codec.decode(data) for answer in answers for data in answer.facts]  # type: ignore[union-attr]
    assert [fact.run for fact in facts] == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]


async def test_what_is_deleted_stays_away(collector: Collector, bus: Bus, eventually: Any) -> None:
    node = Node(bus, E1)
    await node.start()
    await eventually(lambda: collector.counters["facts"] == 1)
    await bus.request(subjects.DELETE, Delete(evaluation_id=E1, user="ada"), Done)
    await node.spans(0, predict(1))
    await node.finish(batches=1, spans=1)
    await Node(bus, E2).start()
    await eventually(lambda: collector.counters["facts"] == 2)
    rows = (await bus.request(subjects.HISTORY, ListHistory(), History)).rows
    assert [row.evaluation_id for row in rows] == [E2]
    again = await bus.request(subjects.DELETE, Delete(evaluation_id=E1, user="ada"), Done, NotFound)
    assert isinstance(again, NotFound)


async def test_a_failed_evaluation(collector: Collector, bus: Bus, eventually: Any) -> None:
    await Node(bus, E1).start()
    failed = EvaluationFailed(evaluation_id=E1, at_ns=5, kind="input", text="no image")
    for _ in range(2):
        await bus.record(subjects.fact("coordinator", "ada", E1, "EvaluationFailed"), failed)
    await eventually(lambda: collector.counters["duplicates"] == 1)
    answer = await ask_evaluation(bus, E1)
    assert isinstance(answer, Evaluation) and answer.state == "failed"
    assert codec.decode(answer.facts[-1]) == failed
    timeline = await ask_timeline(bus, E1)
    assert not timeline.complete and len(timeline) == 0


async def test_numbers_beyond_64_bits_stop_nothing(
    collector: Collector, bus: Bus, eventually: Any
) -> None:
    await Node(bus, E1).tell(Progress, run=0, phase="x", done=2**64 - 1, total=0, at_ns=2**64 - 1)
    await Node(bus, E2).start()
    await eventually(lambda: collector.counters["facts"] == 2)
    assert collector.counters["refused"] == 0


SCRIPT = """
import asyncio, sys
from bus.connection import Bus
from bus.errors import ServiceError
from collector.collector import Collector, Settings

async def main():
    bus = await Bus.connect(sys.argv[1], name="collector")
    await Collector(bus, Settings(mongo_url=sys.argv[2], database=sys.argv[3])).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_collector_loses_nothing(
    bus_url: str, bus: Bus, mongo_url: str, database: str, eventually: Any
) -> None:
    argv = [sys.executable, "-c", SCRIPT, bus_url, mongo_url, database]
    child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None and await child.stdout.readline() == b"ready\n"
    node, batches = Node(bus, E1), 60
    await node.start()
    for number in range(batches):
        await node.spans(number, predict(2 * number + 1), predict(2 * number + 2))
        if number == batches // 3:
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
    await node.finish(batches=batches, spans=2 * batches)
    async with running(bus_url, mongo_url, database) as again:
        # What the killed one held unacknowledged comes back after the consumer's ack wait.
        with MongoClient(mongo_url) as client:
            spans = client[database]["spans"]
            await eventually(lambda: spans.count_documents({}) == batches, timeout_s=45.0)
        timeline = await ask_timeline(bus, E1)
        assert timeline.complete and len(timeline) == 2 * batches
        assert again.counters["refused"] == 0


async def test_a_restart_finds_what_is_due(
    bus_url: str, bus: Bus, mongo_url: str, database: str, eventually: Any
) -> None:
    node = Node(bus, E1)
    await node.start()
    await node.finish(batches=1, spans=1)
    async with running(bus_url, mongo_url, database) as first:
        await eventually(lambda: first.counters["facts"] == 3)
    await node.spans(0, predict(1))
    async with running(bus_url, mongo_url, database) as second:
        await eventually(lambda: second.counters["assembled"] >= 1)
        assert len(await ask_timeline(bus, E1)) == 1


async def test_without_mongodb_nothing_is_acknowledged(
    bus_url: str, bus: Bus, unused_tcp_port: int, mongo_url: str, database: str, eventually: Any
) -> None:
    nowhere = f"mongodb://127.0.0.1:{unused_tcp_port}"
    node = Node(bus, E1)
    await node.start()
    async with running(bus_url, nowhere, database) as stranded:
        await eventually(lambda: stranded.counters["retries"] >= 1)
        assert "does not answer" in stranded.not_ready()
    async with running(bus_url, mongo_url, database) as collector:
        await eventually(lambda: collector.counters["facts"] == 1)
        assert collector.not_ready() == ""
