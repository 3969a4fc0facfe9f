"""Bus on a real nats-server: what is said arrives, once, and what is broken is named."""

from __future__ import annotations

import asyncio
import io

import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import (
    AssetError,
    BusError,
    NoAnswerError,
    ProtocolError,
    ServiceError,
    StaleError,
    StoreError,
)
from bus.messages import Done, ListModels, ListNodes, Models, NodeAlive, Nodes, Progress

PROGRESS = dict(evaluation_id="e" * 32, job_id="j", attempt=1, node_id="n", at_ns=0, run=0)


def progress(sequence: int) -> Progress:
    return Progress(**PROGRESS, sequence=sequence, phase="measure", done=sequence, total=9)


SUBJECT = subjects.fact("n", "ann", "e" * 32, "Progress")


async def test_pipelined_records_arrive_once_and_in_order(bus: Bus, eventually) -> None:
    got: list[int] = []

    async def take(batch):
        got.extend(received.message.sequence for received in batch)
        for received in batch:
            await received.ack()

    await bus.consume(subjects.FACTS_STREAM, "reader", [subjects.FACTS], take)
    twice = [*range(600), *range(600)]
    futures = [await bus.record_soon(SUBJECT, progress(i), dedupe=str(i)) for i in twice]
    await asyncio.gather(*futures)
    await eventually(lambda: len(got) >= 600)
    assert got == list(range(600))
    assert len(await bus.replay(subjects.FACTS_STREAM, subjects.facts_of("e" * 32))) == 600


async def test_unreadable_message_is_set_aside_and_the_stream_goes_on(bus: Bus, eventually) -> None:
    got: list[int] = []

    async def take(batch):
        for received in batch:
            got.append(received.message.sequence)
            await received.ack()

    await bus.consume(subjects.FACTS_STREAM, "reader", [subjects.FACTS], take)
    await bus._client.publish(SUBJECT, b"\x81\xa4type\xa8Progress")
    await bus.record(SUBJECT, progress(7))
    await eventually(lambda: got == [7])
    assert bus.counters["dead_letters"] == 1
    dead = await bus._js.get_last_msg(subjects.DEAD_STREAM, subjects.dead(SUBJECT))
    assert "evaluation_id" in dead.headers["Mlms-Reason"]


async def test_failed_batch_is_delivered_again(bus: Bus, eventually) -> None:
    deliveries: list[int] = []

    async def take(batch):
        deliveries.append(batch[0].deliveries)
        if len(deliveries) == 1:
            raise ValueError("the first time fails")
        await batch[0].ack()

    await bus.consume(subjects.FACTS_STREAM, "reader", [subjects.FACTS], take)
    await bus.record(SUBJECT, progress(1))
    await eventually(lambda: deliveries == [1, 2])


async def test_request_is_answered_by_one_service_and_errors_are_named(bus: Bus) -> None:
    async def nodes(_):
        return Done(text="here")

    async def broken(_):
        raise RuntimeError("out of cheese")

    async def away(_):
        raise StoreError("the database is away")

    await bus.serve(
        "coordinator", {subjects.NODES: nodes, subjects.FITS: broken, subjects.CANCEL: away}
    )
    assert (await bus.request(subjects.NODES, ListNodes(), Done)).text == "here"
    with pytest.raises(ProtocolError, match="answered by Done"):
        await bus.request(subjects.NODES, ListNodes(), Nodes)
    with pytest.raises(ServiceError, match="out of cheese") as caught:
        await bus.request(subjects.FITS, ListNodes(), Nodes)
    assert caught.value.kind == "internal"
    with pytest.raises(ServiceError, match="^the database is away$") as caught:
        await bus.request(subjects.CANCEL, ListNodes(), Nodes)
    assert caught.value.kind == "store"
    with pytest.raises(NoAnswerError, match="no coordinator is running"):
        await bus.request(subjects.MODELS, ListModels(), Models)


async def test_compare_and_set_lets_one_writer_win(bus: Bus) -> None:
    bucket = await bus.bucket(subjects.JOBS_BUCKET)
    first = await bucket.create("a", NodeAlive(node_id="a", incarnation="1"))
    with pytest.raises(StaleError):
        await bucket.create("a", NodeAlive(node_id="a", incarnation="2"))
    second = await bucket.update("a", NodeAlive(node_id="a", incarnation="3"), first)
    with pytest.raises(StaleError):
        await bucket.update("a", NodeAlive(node_id="a", incarnation="4"), first)
    assert await bucket.get("a") == (NodeAlive(node_id="a", incarnation="3"), second)
    assert await bucket.get("b") is None


async def test_the_mark_of_a_removed_key_is_a_revision_to_go_on_from(bus: Bus) -> None:
    bucket = await bus.bucket(subjects.JOBS_BUCKET)
    alive = NodeAlive(node_id="a", incarnation="1")
    first = await bucket.create("a", alive)
    second = await bucket.update("a", alive, first)
    with pytest.raises(StaleError):
        await bucket.delete("a", first)
    mark = await bucket.delete("a", second)
    assert mark > second and await bucket.get("a") is None
    third = await bucket.update("a", alive, mark)
    assert await bucket.get("a") == (alive, third)
    with pytest.raises(StaleError):
        await bucket.update("a", alive, mark)


async def test_watcher_sees_what_is_there_then_changes_then_expiry(bus: Bus, eventually) -> None:
    bucket = await bus.bucket(subjects.ALIVE_BUCKET)
    await bucket.put("n1", NodeAlive(node_id="n1", incarnation="1"))
    seen: list[tuple[str, str | None]] = []
    watch = await bucket.watch(lambda k, m, _: seen.append((k, m and m.incarnation)))
    assert seen == [("n1", "1")]
    await bucket.put("n2", NodeAlive(node_id="n2", incarnation="1"))
    await eventually(lambda: ("n2", "1") in seen)
    await bucket.delete("n2")
    await eventually(lambda: ("n2", None) in seen)
    await eventually(lambda: ("n1", None) in seen, 10.0, "the silent node expires")
    await watch.stop()


async def test_object_larger_than_a_message(bus: Bus) -> None:
    objects = await bus.objects()
    content = bytes(range(256)) * 40_000  # 10 MB, above max_payload
    await objects.put("inputs/a", content)
    into = io.BytesIO()
    assert await objects.get("inputs/a", into) == len(content)
    assert into.getvalue() == content
    assert await objects.has("inputs/a")
    assert not await objects.has("inputs/b")
    with pytest.raises(AssetError, match="inputs/b"):
        await objects.get("inputs/b", io.BytesIO())


async def test_consumer_survives_a_stop_with_work_in_hand(bus: Bus, eventually) -> None:
    seen: list[int] = []

    async def take(batch):
        await asyncio.sleep(0.05)
        seen.extend(received.message.sequence for received in batch)
        for received in batch:
            await received.ack()

    for number in range(40):
        await bus.record(SUBJECT, progress(number))
    first = await bus.consume(subjects.FACTS_STREAM, "reader", [subjects.FACTS], take, batch=4)
    await eventually(lambda: len(seen) >= 8)
    await first.stop()
    await bus.consume(subjects.FACTS_STREAM, "reader", [subjects.FACTS], take, batch=16)
    await eventually(lambda: len(seen) >= 40)
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nats://127.0.0.1:1", "cannot reach the bus at nats://127.0.0.1:1"),
        ("http://", "expected nats://HOST:PORT"),
    ],
)
async def test_a_bus_that_is_not_there_is_named_at_once(url: str, says: str) -> None:
    with pytest.raises(BusError, match=says):
        await Bus.connect(url, name="test")


async def test_a_bad_value_or_handler_does_not_end_a_watch(bus: Bus, eventually) -> None:
    bucket = await bus.bucket(subjects.JOBS_BUCKET)
    seen: list[str] = []

    def handler(key, message, _):
        seen.append(key)
        if key == "breaks":
            raise ValueError("a fault of the handler's own")

    await bucket.watch(handler)
    await bus._js.publish(subjects.key_change(subjects.JOBS_BUCKET, "junk"), b"\xff")
    await bucket.put("breaks", NodeAlive(node_id="a", incarnation="1"))
    await bucket.put("fine", NodeAlive(node_id="a", incarnation="1"))
    await eventually(lambda: seen == ["breaks", "fine"])


async def test_replay_passes_over_what_cannot_be_read(bus: Bus) -> None:
    await bus._client.publish(SUBJECT, b"junk")
    await bus.record(SUBJECT, progress(3))
    await bus._client.publish(SUBJECT, b"junk")
    found = await bus.replay(subjects.FACTS_STREAM, subjects.facts_of("e" * 32))
    assert [message.sequence for message in found] == [3]
