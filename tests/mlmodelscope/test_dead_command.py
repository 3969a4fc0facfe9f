"""Dead letters: what cannot be read is listed, shown as far as it goes, and sent again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack
import nats
import pytest

from bus import subjects
from bus.connection import Bus
from bus.consumer import Received
from bus.messages import JobFailed, Message

NOT_OURS = b"\xc1 this was never MessagePack"
WRONG_FIELD = {"type": "JobFailed", "job_id": "j", "attempt": "first", "block": bytes(300)}
SUBJECT = subjects.fact("n1", "ann", "a" * 32, "JobFailed")
FAILED = JobFailed(
    evaluation_id="a" * 32,
    job_id="j",
    attempt=1,
    node_id="n1",
    sequence=0,
    at_ns=1,
    kind="asset",
    text="no such file",
)
Dead = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def dead(bus_url: str, tmp_path: Path) -> Dead:
    """`mlmodelscope dead …` on the session's bus."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlmodelscope", "dead", *map(str, arguments)]
        return subprocess.run(
            [*command, "--bus", bus_url], capture_output=True, text=True, timeout=60, cwd=tmp_path
        )

    return run


async def say(bus: Bus, *messages: bytes) -> None:
    """Raw bytes, as a stranger would publish them."""
    client = await nats.connect(bus.url)
    for data in messages:
        await client.jetstream().publish(SUBJECT, data)
    await client.close()


async def test_set_aside_shown_and_sent_again(bus: Bus, dead: Dead, eventually) -> None:
    heard: list[Message] = []

    async def take(batch: list[Received]) -> None:
        for received in batch:
            heard.append(received.message)
            await received.ack()

    await bus.consume(subjects.FACTS_STREAM, "reader", [subjects.FACTS], take)
    good = FAILED
    await say(bus, NOT_OURS, msgpack.packb(WRONG_FIELD))
    await bus.record(SUBJECT, good)
    await eventually(lambda: heard == [good])  # neither stood in its way
    await eventually(lambda: bus.counters["dead_letters"] == 2)

    listed = json.loads(dead("list", "--output", "json").stdout)
    assert [(row["type"], row["subject"], row["consumer"]) for row in listed] == [
        ("?", SUBJECT, "reader"),
        ("JobFailed", SUBJECT, "reader"),
    ]
    assert "attempt" in listed[1]["reason"] and listed[1]["bytes"] > 300
    first, second = (row["number"] for row in listed)
    shown = json.loads(dead("show", second, "--output", "json").stdout)
    assert shown["holds"]["attempt"] == "first" and not shown["readable"]
    assert shown["holds"]["block"].endswith("of 300 bytes")
    assert "never MessagePack" in dead("show", first).stdout

    # Still nobody can read the first: it comes back as a new letter; the second likewise.
    assert dead("replay", first).returncode == 0
    await eventually(lambda: bus.counters["dead_letters"] == 3)
    again = json.loads(dead("--output", "json").stdout)
    assert [row["number"] for row in again] == [second, second + 1]
    assert len(heard) == 1


async def test_what_can_be_read_by_now_is_heard(bus: Bus, dead: Dead, eventually) -> None:
    """As after an update: the letter is one that today's services understand."""
    heard: list[Message] = []

    async def take(batch: list[Received]) -> None:
        heard.extend(received.message for received in batch)
        if len(heard) <= 5:
            raise ValueError("a fault of the handler")
        for received in batch:
            await received.ack()

    await bus.consume(subjects.FACTS_STREAM, "reader", [subjects.FACTS], take)
    fact = FAILED
    await bus.record(SUBJECT, fact)
    # Five times it failed, a second apart: then it is set aside, and no stream stands still for it.
    await eventually(lambda: bus.counters["dead_letters"] == 1, timeout_s=15.0)
    (letter,) = await bus.dead_letters().all()
    assert letter.reason == "failed 5 times, last: ValueError: a fault of the handler"
    assert dead("replay", "--all").returncode == 0
    await eventually(lambda: len(heard) == 6)
    assert heard[-1] == fact
    assert "no dead letters" in dead().stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", 7), "no dead letter 7: there are none"),
        (("replay", 7), "no dead letter 7: there are none"),
        (("replay",), "expected the numbers of dead letters, or --all"),
        (("replay", 1, "--all"), "expected the numbers of dead letters, or --all"),
        (("show", "seven"), "seven"),
    ],
)
async def test_wrong_usage(bus: Bus, dead: Dead, arguments: tuple[object, ...], words: str) -> None:
    done = dead(*arguments)
    assert done.returncode == 2
    assert words in done.stderr + done.stdout
