"""Spans a second, from a worker's tracing to MongoDB, against one message and insert a span.

Both sides go through the same nats-server, which syncs every message, into the same mongod, whose
journal is written before it answers; a side is done when its stream has been acknowledged empty.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

import msgpack
import nats
from nats.js import JetStreamContext
from pymongo import MongoClient

from benchmarks import children, one_by_one, services
from benchmarks.effort import Effort
from benchmarks.intervals import bootstrap, exactly, median_ratio
from benchmarks.model_files import MODEL
from benchmarks.report import Result, Row
from benchmarks.services import Fleet
from benchmarks.span_rows import spans
from bus import subjects
from bus.connection import Bus
from bus.errors import StoreError
from bus.messages import Job
from manifests.catalog import Catalog, shipped
from predictor_node.telling import Teller

DATABASE = "mlmodelscope"
RATE_BUDGET = 300.0
BYTES_BUDGET = 1 / 6
LOOK_S = 0.01
EMPTY_S = 300.0


async def run(effort: Effort) -> Result:
    """Rounds of ours and of theirs; nothing may be lost, and MongoDB itself is asked."""
    ours: list[float] = []
    theirs: list[float] = []
    with services.running(("collector",), durable=True) as system:
        async with AsyncExitStack() as stack:
            bus = await stack.enter_async_context(services.connected(system))
            js = await stack.enter_async_context(jetstream(system))
            await one_by_one.prepare(js)
            await stack.enter_async_context(_peer(system))
            for turn in range(effort.span_rounds):
                ours.append(await _ours(system, bus, js, effort.spans))
                theirs.append(await _theirs(system, js, effort.peer_spans))
                print(
                    f"spans: round {turn + 1}, {ours[-1]:,.0f} and {theirs[-1]:,.0f} a second",
                    file=sys.stderr,
                    flush=True,
                )
        sizes = await asyncio.to_thread(_bytes_a_span, system, effort)
    return Result(
        [_rate(ours, theirs, effort), _size(*sizes)],
        {"ours_per_s": ours, "theirs_per_s": theirs, "bytes_a_span": sizes},
    )


# ---------------------------------------------------------------- ours


async def _ours(system: Fleet, bus: Bus, js: JetStreamContext, count: int) -> float:
    """Spans a second through worker, node and collector."""
    job = a_job()
    teller = Teller(bus, job)
    async with children.started("-m", "benchmarks.span_worker", str(count)) as worker:
        await heard(worker)
        begin_s = time.perf_counter()
        children.tell(worker, b"begin")
        while (frame := await heard(worker)).pop("said") == "spans":
            await teller.spans_packed("worker", frame)
        await teller.settle()
        await emptied(js, subjects.SPANS_STREAM)
        took_s = time.perf_counter() - begin_s
    _must_be(await asyncio.to_thread(stored_blocks, system, job.evaluation_id), count)
    return count / took_s


async def heard(worker: Process) -> dict[str, Any]:
    """A worker's next frame, read as a node reads it."""
    frame: dict[str, Any] = msgpack.unpackb(await children.frame(worker), raw=False)
    return frame


def a_job() -> Job:
    """A job for the batches to belong to."""
    evaluation_id = uuid.uuid4().hex
    return Job(
        job_id=f"{evaluation_id}-0",
        evaluation_id=evaluation_id,
        user="benchmark",
        node_id="benchmark",
        manifest=Catalog(shipped()).resolve(MODEL),
        framework="onnxruntime",
        framework_version="",
        runs=[],
    )


def stored_blocks(system: Fleet, evaluation_id: str) -> int:
    """How many spans MongoDB holds of an evaluation, by the counts of its batches."""
    steps: list[dict[str, Any]] = [
        {"$match": {"evaluation_id": evaluation_id}},
        {"$group": {"_id": None, "spans": {"$sum": "$count"}}},
    ]
    with _mongo(system) as mongo:
        found = list(mongo[DATABASE].spans.aggregate(steps))
    return int(found[0]["spans"]) if found else 0


# ---------------------------------------------------------------- theirs


@asynccontextmanager
async def _peer(system: Fleet) -> AsyncIterator[None]:
    """The consumer of the peer, ready, in a process of its own."""
    arguments = ("-m", "benchmarks.one_by_one", system.bus_url, system.mongo_url, DATABASE)
    async with children.started(*arguments) as process:
        if not await children.line(process):
            raise StoreError("the peer's consumer ended; it wrote why to stderr")
        yield


async def _theirs(system: Fleet, js: JetStreamContext, count: int) -> float:
    """Spans a second, one message and one insert each."""
    evaluation_id = uuid.uuid4().hex
    made = list(spans(count, time.time_ns()))
    begin_s = time.perf_counter()
    await one_by_one.publish(js, evaluation_id, made)
    await emptied(js, one_by_one.STREAM)
    took_s = time.perf_counter() - begin_s
    _must_be(await asyncio.to_thread(_stored_documents, system, evaluation_id), count)
    return count / took_s


def _stored_documents(system: Fleet, evaluation_id: str) -> int:
    with _mongo(system) as mongo:
        collection = mongo[DATABASE][one_by_one.COLLECTION]
        return collection.count_documents({"evaluation_id": evaluation_id})


# ---------------------------------------------------------------- both


@asynccontextmanager
async def jetstream(system: Fleet) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(system.bus_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


def _mongo(system: Fleet) -> MongoClient[dict[str, Any]]:
    return MongoClient(system.mongo_url)


async def emptied(js: JetStreamContext, stream: str) -> None:
    """Return when all that a work queue held has been stored and acknowledged."""
    deadline_s = time.monotonic() + EMPTY_S
    while (left := (await js.stream_info(stream)).state.messages) > 0:
        if time.monotonic() > deadline_s:
            raise StoreError(f"{stream} still holds {left} messages after {EMPTY_S:g} s")
        await asyncio.sleep(LOOK_S)


def _must_be(stored: int, sent: int) -> None:
    if stored != sent:
        raise StoreError(f"{sent} spans were sent, and MongoDB holds {stored}")


def _bytes_a_span(system: Fleet, effort: Effort) -> tuple[float, float]:
    """How large the stored documents are, before MongoDB's own compression, divided by spans."""
    rounds = effort.span_rounds
    with _mongo(system) as mongo:
        ours = mongo[DATABASE].command("collStats", "spans")["size"]
        theirs = mongo[DATABASE].command("collStats", one_by_one.COLLECTION)["size"]
    return ours / (rounds * effort.spans), theirs / (rounds * effort.peer_spans)


def _rate(ours: list[float], theirs: list[float], effort: Effort) -> Row:
    return Row(
        what="spans stored a second, blocks / one by one",
        ours=median(ours),
        theirs=median(theirs),
        unit="/s",
        compared=bootstrap(median_ratio, ours, theirs),
        at_least=RATE_BUDGET,
        note=f"{effort.span_rounds} rounds of {effort.spans:,} and {effort.peer_spans:,} spans, "
        "all found in MongoDB; every message synced, every write journaled",
    )


def _size(ours: float, theirs: float) -> Row:
    return Row(
        what="bytes a stored span, block / document",
        ours=ours,
        theirs=theirs,
        unit="B",
        compared=exactly(ours / theirs),
        at_most=BYTES_BUDGET,
        note="BSON as MongoDB counts it, envelopes included, before its own compression",
    )
