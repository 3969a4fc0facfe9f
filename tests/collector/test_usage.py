"""What each user's evaluations take, counted by collectors on a real bus and a real MongoDB."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bus import codec, subjects
from bus.codec import encode
from bus.connection import Bus
from bus.errors import RefusedError
from bus.messages import (
    Delete,
    Done,
    EvaluationFinished,
    GetUsage,
    Message,
    Progress,
    Span,
    SpansRecorded,
    Usage,
)
from collector.collector import Collector, Settings
from mlmodelscope.importing.storing import import_profile

E1, E2 = "a1b2" + "0" * 28, "a1c3" + "0" * 28
Running = Any


@pytest.fixture
def running(bus_url: str, bus: Bus, mongo_url: str, database: str) -> Running:
    @asynccontextmanager
    async def run(**limits: Any) -> AsyncIterator[Collector]:
        connection = await Bus.connect(bus_url, name="collector")
        settings = Settings(mongo_url=mongo_url, database=database, grace_s=0.2, **limits)
        service = Collector(connection, settings)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
            await connection.close()

    made: AbstractAsyncContextManager[Collector] | Any = run
    return made


def progress(user: str, evaluation_id: str, number: int) -> tuple[str, Message]:
    fact = Progress(
        evaluation_id=evaluation_id, job_id=f"job-{evaluation_id[:4]}", attempt=1, node_id="n1",
        sequence=number, at_ns=1, run=0, phase="measure", done=number, total=9,
    )  # fmt: skip
    return subjects.fact("n1", user, evaluation_id, "Progress"), fact


def spans(user: str, evaluation_id: str, batch: int, count: int) -> tuple[str, SpansRecorded]:
    rows = [Span(number, 0, 2, "predict", number * 10, 5) for number in range(1, count + 1)]
    message = SpansRecorded(
        evaluation_id=evaluation_id, job_id=f"job-{evaluation_id[:4]}", attempt=1, node_id="n1",
        source="worker", batch=batch, levels={"model": count}, count=count,
        first_start_ns=0, last_end_ns=0, block=codec.pack_rows(rows),
    )  # fmt: skip
    return subjects.span("n1", user, evaluation_id), message


async def held(bus: Bus, user: str) -> tuple[int, int]:
    """Bytes and spans as coordinators see them."""
    got = await (await bus.bucket(subjects.USAGE_BUCKET)).get(user)
    assert got is None or isinstance(got[0], Usage)
    return (got[0].bytes, got[0].spans) if got is not None else (0, 0)


async def ask(bus: Bus, user: str) -> Usage:
    return await bus.request(subjects.USAGE, GetUsage(user=user), Usage)


async def test_what_is_stored_counts_once_and_what_is_deleted_no_more(
    running: Running, bus: Bus, eventually: Any
) -> None:
    ours = [progress("ann", E1, 0), progress("ann", E1, 1)]
    batches = [spans("ann", E1, 0, 5), spans("ann", E1, 1, 7), spans("ann", E2, 0, 100)]
    theirs = [progress("ben", "b" * 32, 0)]
    facts_bytes = sum(len(encode(fact)) for _, fact in ours)
    block_bytes = [len(batch.block) for _, batch in batches]
    mine = facts_bytes + sum(block_bytes), 112
    bens = len(encode(theirs[0][1])), 0
    first_ends = EvaluationFinished(evaluation_id=E1, at_ns=2, jobs=[])
    end = (subjects.fact("coordinator", "ann", E1, "EvaluationFinished"), first_ends)
    async with running(user_bytes="1GiB") as collector:
        for subject, message in [*ours, *batches, *theirs, *batches]:  # some of it twice
            await bus.record(subject, message)

        async def counted() -> bool:
            return (await held(bus, "ann"), await held(bus, "ben")) == (mine, bens)

        await eventually(counted)
        assert collector.counters["duplicates"] == 3
        told = await ask(bus, "ann")
        assert (told.bytes, told.spans, told.most_bytes) == (*mine, 1 << 30)
        found = [(one.evaluation_id, one.bytes, one.spans) for one in told.largest]
        first = (E1, facts_bytes + sum(block_bytes[:2]), 12)
        assert sorted(found) == sorted([first, (E2, block_bytes[2], 100)])
        await bus.record(*end)
        ended_bytes = len(encode(first_ends))

        async def ended() -> bool:
            return await held(bus, "ann") == (mine[0] + ended_bytes, 112)

        await eventually(ended)
        deleted = Delete(evaluation_id=E1, user="ann")
        assert isinstance(await bus.request(subjects.DELETE, deleted, Done), Done)

        async def freed() -> bool:
            return await held(bus, "ann") == (block_bytes[2], 100)

        await eventually(freed)
    # Whatever the bucket says, the database is the truth.
    bucket = await bus.bucket(subjects.USAGE_BUCKET)
    await bucket.put("ann", Usage(user="ann", bytes=1, spans=10**9))
    await bucket.put("gone", Usage(user="gone", bytes=10**9))
    async with running():
        await eventually(freed)

        async def nothing() -> bool:
            return await held(bus, "gone") == (0, 0) and await held(bus, "ben") == bens

        await eventually(nothing)


async def test_who_holds_too_much_imports_nothing(
    running: Running, bus: Bus, eventually: Any, tmp_path: Path
) -> None:
    async with running(user_spans=10) as collector:
        for subject, message in (progress("ann", E1, 0), spans("ann", E1, 0, 11)):
            await bus.record(subject, message)  # of accepted work: it is stored all the same

        async def counted() -> bool:
            return (await held(bus, "ann"))[1] == 11

        await eventually(counted)
        profile = tmp_path / "trace.json"
        event = {"ph": "X", "cat": "cpu_op", "name": "aten::add", "ts": 1, "dur": 2, "tid": 1}
        profile.write_text(json.dumps({"traceEvents": [{**event, "pid": 1}]}))
        with pytest.raises(RefusedError, match="ann holds 11 stored spans, of 10"):
            await import_profile(bus, "ann", profile)
        # A client that does not ask first is not stored either.
        subject, message = spans("ann", E2, 0, 3)
        foreign = subjects.span(subjects.IMPORTED, "ann", E2)
        await bus.record(foreign, replace(message, node_id=subjects.IMPORTED))

        async def refused() -> bool:
            return collector.counters["over_limit"] == 1

        await eventually(refused)
        assert (await ask(bus, "ann")).spans == 11
        # What is stored already of an import can be seen, and deleted.
        subject, fact = progress("ann", E1, 5)
        told = subjects.fact(subjects.IMPORTED, "ann", E1, "Progress")
        await bus.record(told, replace(fact, node_id=subjects.IMPORTED))

        async def taken() -> bool:
            return collector.counters["facts"] == 2

        await eventually(taken)
        assert collector.counters["over_limit"] == 1
        assert (await import_profile(bus, "ben", profile)).evaluation_id
