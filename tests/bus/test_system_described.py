"""What a bus says of its services and streams, on a real nats-server."""

from __future__ import annotations

from bus import subjects
from bus.connection import Bus
from bus.examples import EXAMPLES
from bus.messages import ListNodes, Message, SpansRecorded
from bus.service import Service
from bus.system import about


async def test_services_and_how_far_behind_a_consumer_is(bus: Bus) -> None:
    class Shop(Service):
        name = "shop"

        def not_ready(self) -> str:
            return "the shelves are empty"

    async def answer(message: Message) -> Message:
        return message

    async def never(_: list[object]) -> None:
        return None

    shop = Shop()
    shop.status_url = "http://127.0.0.1:1"
    await bus.serve(shop.name, {subjects.NODES: answer}, lambda: about(shop))
    await bus.request(subjects.NODES, ListNodes(), ListNodes)
    await bus.consume(
        subjects.SPANS_STREAM, "slow", [subjects.SPANS], never, batch=1, ack_wait_s=30.0
    )
    for number in range(5):
        where = subjects.span("n1", "ann", f"{number:032x}")
        await bus.record(where, EXAMPLES[SpansRecorded])
    described = await bus.describe()
    (seen,) = described.services
    assert (seen.name, seen.answered, seen.status_url) == ("shop", 1, "http://127.0.0.1:1")
    assert seen.not_ready == "the shelves are empty"
    streams = {stream.name: stream for stream in described.streams}
    assert streams[subjects.DEAD_STREAM].messages == 0
    spans = streams[subjects.SPANS_STREAM]
    assert spans.messages == 5 and spans.most_bytes == 2 << 30
    (slow,) = spans.consumers
    assert (slow.name, slow.waiting + slow.unacknowledged) == ("slow", 5)
