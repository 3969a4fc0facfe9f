"""How much one user may hold, on a real NATS: inputs in hand and what the collectors counted."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import MLModelScopeError
from bus.holding import Most, read_most
from bus.messages import (
    Accepted,
    Cancel,
    Done,
    Evaluate,
    EvaluationRecord,
    Input,
    Refused,
    Usage,
)
from bus.sizes import read_size, size_text
from coordinator.coordinator import Coordinator, Settings
from coordinator.holdings import InputsHeld

KIB = 1024


@pytest.mark.parametrize(
    ("most", "usage", "more", "says"),
    [
        (Most(), Usage(user="ann", bytes=10**15, spans=10**15), 10**15, ""),
        (Most(bytes=2048), Usage(user="ann", bytes=1024), 1023, ""),
        (
            Most(bytes=2048),
            Usage(user="ann", bytes=1024),
            1024,
            "ann holds 1 KiB of stored evaluations and 1 KiB of inputs, of 2 KiB .*USER_BYTES",
        ),
        (Most(bytes=2048), Usage(user="ann", bytes=3072), 0, "3 KiB of stored evaluations, of"),
        (Most(spans=10), Usage(user="ann", spans=9), 5, ""),
        (Most(spans=10), Usage(user="ann", spans=10), 0, "10 stored spans, of 10 .*USER_SPANS"),
    ],
)
def test_what_stands_against_more(most: Most, usage: Usage, more: int, says: str) -> None:
    text = most.stands_against(usage, more)
    assert bool(text) == bool(says) and re.search(says, text), text


def test_limits_are_read() -> None:
    assert read_most("0", 0) == Most()
    assert read_most("1.5GiB", 7) == Most(3 * 512 * KIB * KIB, 7)
    with pytest.raises(MLModelScopeError, match="MLMS_USER_BYTES 'much': expected a size"):
        read_most("much", 0)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (100 << 30, "100 GiB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size).startswith(text)
    if size:
        assert read_size(size_text(size), "it") == size


def record(request: Evaluate, **objects: int) -> EvaluationRecord:
    return EvaluationRecord(
        request=request, model="m", model_version="1.0.0", jobs=[], accepted_ns=1, objects=objects
    )


def test_an_object_that_many_need_counts_once(request_for: Callable[..., Evaluate]) -> None:
    inputs = InputsHeld()
    four = [Input(name="a", data=b"four"), Input(name="b", url="repo://x")]
    first, second, third = (request_for(user="ann", inputs=four) for _ in range(3))
    nothing = request_for(user="ann", inputs=[])
    for request in (first, second):
        inputs.took(record(request, x=100))
        inputs.took(record(request, x=100))  # seen again
    assert inputs.bytes_of("ann", nothing, {}) == 4 + 4 + 100
    assert inputs.bytes_of("ann", third, {"x": 100}) == 3 * 4 + 100
    assert inputs.bytes_of("ann", third, {"y": 50}) == 3 * 4 + 150
    assert inputs.bytes_of("ben", nothing, {}) == 0
    inputs.ended(first.evaluation_id)
    assert inputs.bytes_of("ann", nothing, {}) == 4 + 100
    for request in (second, second, third):
        inputs.ended(request.evaluation_id)
    assert inputs.bytes_of("ann", nothing, {}) == 0


StartWith = Callable[..., Awaitable[Coordinator]]


@pytest.fixture
async def start_with(bus: Bus, bus_url: str):  # type: ignore[no-untyped-def]
    """Starts a coordinator with settings of the test's own."""
    started: list[tuple[Coordinator, Bus]] = []

    async def start(**settings: Any) -> Coordinator:
        connection = await Bus.connect(bus_url, name="coordinator")
        made = Coordinator(connection, Settings(sweep_s=0.2, **settings))
        started.append((made, connection))
        await made.start()
        return made

    yield start
    for made, connection in started:
        await made.stop()
        await connection.close()


async def test_who_holds_too_much_is_refused_until_there_is_room(
    bus: Bus, start_with: StartWith, player: Any, request_for: Callable[..., Evaluate],
    eventually: Any,
) -> None:  # fmt: skip
    coordinator = await start_with(user_bytes="300KiB", user_spans=1000)
    await player("n1")
    await eventually(lambda: coordinator.status()["nodes"] == ["n1"])
    objects = await bus.objects()
    await objects.put("inputs/a", b"a" * (200 * KIB))
    await objects.put("inputs/b", b"b" * (200 * KIB))

    def wanting(name: str, user: str = "ann") -> Evaluate:
        return request_for(user=user, inputs=[Input(name=name, url=f"repo://inputs/{name}")])

    async def ask(request: Evaluate) -> Accepted | Refused:
        return await bus.request(subjects.EVALUATE, request, Accepted, Refused)

    first = wanting("a")
    assert isinstance(await ask(first), Accepted)
    assert isinstance(await ask(wanting("a")), Accepted), "the same object lies there once"
    refused = await ask(wanting("b"))
    assert isinstance(refused, Refused) and refused.kind == "user_limit", refused
    assert "400 KiB of inputs, of 300 KiB that one user may hold (MLMS_USER_BYTES)" in refused.text
    assert isinstance(await ask(wanting("b", "ben")), Accepted), "the others have room"
    assert isinstance(await ask(first), Accepted), "what was accepted stays so"
    cancelled = Cancel(evaluation_id=first.evaluation_id, user="ann")
    assert isinstance(await bus.request(subjects.CANCEL, cancelled, Done, Refused), Done)
    # A collector says what is stored.
    usage = await bus.bucket(subjects.USAGE_BUCKET)
    await usage.put("ann", Usage(user="ann", spans=1000))
    await eventually(lambda: "ann" in coordinator._stored._usage)
    refused = await ask(request_for(user="ann"))
    assert isinstance(refused, Refused) and "1,000 stored spans, of 1,000" in refused.text
    await usage.put("ann", Usage(user="ann", spans=10))
    await eventually(lambda: coordinator._stored._usage["ann"].spans == 10)
    assert isinstance(await ask(request_for(user="ann")), Accepted)
