"""The peer of span storage: a JSON message and an inserted document a span, each one awaited.

python -m benchmarks.one_by_one BUS_URL MONGO_URL DATABASE      consumes until its stdin is closed
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RetentionPolicy
from pymongo import AsyncMongoClient

from benchmarks.span_rows import FRAMEWORK, Made
from bus import loop

STREAM, SUBJECT = "ONE_BY_ONE", "one_by_one.span"
COLLECTION = "one_by_one"
ACK_WAIT_S = 60.0
THREAD = 1


async def prepare(js: JetStreamContext) -> None:
    """A stream of its own, on the disk, whose messages go when they are acknowledged."""
    await js.add_stream(name=STREAM, subjects=[SUBJECT], retention=RetentionPolicy.WORK_QUEUE)


async def publish(js: JetStreamContext, evaluation_id: str, made: Iterable[Made]) -> None:
    """One message a span; the next one when the stream has it."""
    for number, span in enumerate(made, 1):
        document = {
            "evaluation_id": evaluation_id,
            "span_id": (1 << 32) + number,
            "parent_id": 1,
            "level": FRAMEWORK,
            "name": span.name,
            "start_ns": span.start_ns,
            "duration_ns": span.duration_ns,
            "thread": THREAD,
            "correlation_id": 0,
            "tags": span.tags,
        }
        await js.publish(SUBJECT, json.dumps(document).encode())


async def consume(bus_url: str, mongo_url: str, database: str) -> None:
    """Insert each span when it comes, with the journal written, and acknowledge it."""
    bus = await nats.connect(bus_url)
    mongo: AsyncMongoClient = AsyncMongoClient(mongo_url, w="majority", journal=True)
    collection = mongo[database][COLLECTION]
    await collection.create_index("evaluation_id")

    async def store(message: Msg) -> None:
        await collection.insert_one(json.loads(message.data))
        await message.ack()

    config = ConsumerConfig(ack_wait=ACK_WAIT_S)
    await bus.jetstream().subscribe(
        SUBJECT, durable="one-by-one", manual_ack=True, cb=store, config=config
    )
    print(json.dumps({"ready_ns": time.time_ns()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await bus.close()
    await mongo.close()


if __name__ == "__main__":
    loop.run(consume(*sys.argv[1:]))
