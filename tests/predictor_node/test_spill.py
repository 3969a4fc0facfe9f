"""A stream that is full, and a bus that is away: spans wait in files, or are counted as lost."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from bus import codec, subjects
from bus.connection import Bus
from bus.consumer import Received
from bus.manifest import FrameworkWanted, Manifest, ModelResources
from bus.messages import Job, Message, Span, SpansRecorded
from predictor_node.spill import Spill, Spilled
from predictor_node.telling import Teller

FRAMEWORK, ROWS = 3, 500


def job(number: int = 0) -> Job:
    manifest = Manifest(
        name="M",
        version="1.0.0",
        framework=FrameworkWanted(name="onnxruntime"),
        model=ModelResources(graph_path="m.onnx"),
    )
    return Job(
        job_id=f"job-{number}",
        evaluation_id=f"{number:032x}",
        user="ann",
        node_id="n1",
        manifest=manifest,
        framework="onnxruntime",
        framework_version="1",
        runs=[],
    )


def spans(batch: int) -> list[Span]:
    """What does not compress: every duration and id another."""
    ids = [int.from_bytes(os.urandom(7)) for _ in range(ROWS)]
    return [Span(i, 0, FRAMEWORK, f"{i:x}", i + batch, i % 977) for i in ids]


@pytest.fixture
async def tiny(bus_url: str) -> AsyncIterator[nats.js.JetStreamContext]:
    """The spans' stream, made before anybody else does, of 64 KiB."""
    client = await nats.connect(bus_url)
    js = client.jetstream()
    await resize(js, 64 * 1024, add=True)
    yield js
    await client.close()


async def resize(js: nats.js.JetStreamContext, max_bytes: int, add: bool = False) -> None:
    config = nats.js.api.StreamConfig(
        name=subjects.SPANS_STREAM,
        subjects=[subjects.SPANS, subjects.METRICS],
        retention=nats.js.api.RetentionPolicy.WORK_QUEUE,
        discard=nats.js.api.DiscardPolicy.NEW,
        max_bytes=max_bytes,
        duplicate_window=120,
    )
    await (js.add_stream(config) if add else js.update_stream(config))


async def held(js: nats.js.JetStreamContext) -> int:
    return (await js.stream_info(subjects.SPANS_STREAM)).state.messages


async def test_a_full_stream_spills_and_is_filled_later(tiny, bus: Bus, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    counters: Counter[str] = Counter()
    spill = Spill(tmp_path / "spill", 8 << 20, counters)
    teller = Teller(bus, job(), spill=spill)
    resending = asyncio.create_task(spill.run(bus))
    try:
        for number in range(40):
            await teller.spans_made("node", spans(number))
        await teller.settle()
        taken = await held(tiny)
        assert 0 < taken < 40
        # Nothing is lost: what the stream did not take lies in the file, and is said.
        assert teller.lost_spans == 0 and teller.spans == {"framework": 40 * ROWS}
        assert teller.spilled_spans == (40 - taken) * ROWS
        assert spill.held_bytes > 0 and counters["spilled_batches"] >= 40 - taken

        await resize(tiny, 64 << 20)
        await asyncio.wait_for(teller.settle(), 10)
        assert await held(tiny) == 40
        assert (teller.spilled_spans, spill.active, spill.held_bytes) == (0, False, 0)
        assert list((tmp_path / "spill").iterdir()) == []
        await teller.spans_made("node", spans(40))  # straight again
        await teller.settle()
        assert await held(tiny) == 41
    finally:
        resending.cancel()
    seen = await taken_from(bus, 41)
    assert sorted(batch.batch for batch in seen) == list(range(41))
    assert sum(batch.count for batch in seen) == 41 * ROWS
    assert all(len(codec.unpack_rows(batch.block)) == ROWS for batch in seen)


async def taken_from(bus: Bus, count: int) -> list[Message]:
    """What the stream holds, as a collector takes it."""
    seen: list[Message] = []

    async def take(received: list[Received]) -> None:
        for one in received:
            seen.append(one.message)
            await one.ack()

    consumer = await bus.consume(subjects.SPANS_STREAM, "test", [subjects.SPANS], take)
    try:
        async with asyncio.timeout(10):
            while len(seen) < count:
                await asyncio.sleep(0.02)
    finally:
        await consumer.stop()
    return seen


async def test_what_the_limit_does_not_hold_is_counted_by_level(
    tiny,  # type: ignore[no-untyped-def]
    bus: Bus,
    tmp_path: Path,
) -> None:
    counters: Counter[str] = Counter()
    spill = Spill(tmp_path / "spill", 50_000, counters)
    teller = Teller(bus, job(), spill=spill)
    for number in range(40):
        await teller.spans_made("worker", spans(number))
    await teller.settle()
    taken = await held(tiny)
    assert spill.held_bytes <= 50_000
    lost = 40 * ROWS - taken * ROWS - teller.spilled_spans
    assert lost > 0 and teller.lost_spans == lost == counters["spill_dropped_spans"]
    assert teller.dropped == {"worker": {"framework": lost}}
    assert teller.emitted == {"worker": {"framework": 40 * ROWS}}
    spill.close()


async def test_the_next_life_sends_what_the_last_one_left(bus: Bus, tmp_path: Path) -> None:
    message = SpansRecorded(
        evaluation_id="e",
        source="worker",
        batch=7,
        levels={"framework": 1},
        count=1,
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows([Span(1, 0, FRAMEWORK, "s", 0, 1)]),
    )
    record = Spilled(subjects.span("n1", "ann", "e"), "one/1/worker/7", codec.encode(message))
    before = Spill(tmp_path, 1 << 20, Counter())
    assert before.keep(record, "one/1", 1)
    before.close()
    (file,) = tmp_path.iterdir()
    with file.open("ab") as cut:  # the machine went down in the middle of a record
        cut.write(b"\x00\x05\x00\x05\x00\x00")
    counters: Counter[str] = Counter()
    again = Spill(tmp_path, 1 << 20, counters)
    assert again.active
    resending = asyncio.create_task(again.run(bus))
    try:
        async with asyncio.timeout(10):
            while again.active:
                await asyncio.sleep(0.02)
    finally:
        resending.cancel()
    assert counters["resent_batches"] == 1
    assert await taken_from(bus, 1) == [message]


def test_a_folder_that_cannot_be_written_loses_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    counters: Counter[str] = Counter()
    spill = Spill(tmp_path / "file" / "spill", 1 << 20, counters)
    assert not spill.keep(Spilled("s", "d", b"x"), "j", 9)
    assert counters["spill_dropped_spans"] == 9 and not spill.active
