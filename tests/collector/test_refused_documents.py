"""What MongoDB refuses is set aside by itself: the rest of its batch is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pymongo import MongoClient

from bus import subjects
from bus.connection import Bus
from bus.messages import JobFailed
from collector.collector import Collector, Settings

EVALUATION = "a" * 32


def failed(sequence: int) -> JobFailed:
    return JobFailed(
        evaluation_id=EVALUATION,
        job_id="j",
        attempt=1,
        node_id="n1",
        sequence=sequence,
        at_ns=1,
        kind="asset",
        text="no such file",
    )


@pytest.fixture
async def picky(bus: Bus, mongo_url: str, database: str) -> AsyncIterator[Any]:
    """A database that takes no fact with the number 2; a collector that is started on it."""
    client: MongoClient[Any] = MongoClient(mongo_url)
    with client:
        facts = client[database].create_collection("facts", validator={"sequence": {"$ne": 2}})
        collector = Collector(bus, Settings(mongo_url=mongo_url, database=database))
        yield collector, facts
        await collector.stop()


async def test_one_of_a_batch_is_refused(
    bus: Bus, picky: Any, eventually: Callable[..., Any]
) -> None:
    collector, facts = picky
    subject = subjects.fact("n1", "ann", EVALUATION, "JobFailed")
    for sequence in range(5):  # before it starts: they come as one batch
        await bus.record(subject, failed(sequence))
    await collector.start()
    await eventually(lambda: facts.count_documents({}) == 4)
    await eventually(lambda: collector.counters["refused"] == 1)
    (letter,) = await bus.dead_letters().all()
    assert letter.message() == failed(2)
    assert letter.consumer == subjects.COLLECTOR_FACTS and "validation" in letter.reason

    # Its database mended, it is sent again, and is stored.
    facts.database.command("collMod", "facts", validator={})
    await bus.dead_letters().replay(letter)
    await eventually(lambda: facts.count_documents({}) == 5)
    assert await bus.dead_letters().all() == []
