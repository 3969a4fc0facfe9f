"""A node's ceilings: what is told, kept and refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.messages import (
    Ceiling,
    CeilingsMeasured,
    ListNodes,
    MeasureCeilings,
    Message,
    Refused,
)
from predictor_node.ceilings import Ceilings
from predictor_node.process import Environment

Make = Callable[..., Ceilings]


@pytest.fixture
def told() -> list[list[Ceiling]]:
    return []


@pytest.fixture
def other_work() -> asyncio.Lock:
    return asyncio.Lock()


@pytest.fixture
def make(tmp_path: Path, told: list[list[Ceiling]], other_work: asyncio.Lock) -> Make:
    @asynccontextmanager
    async def alone() -> AsyncIterator[bool]:
        async with other_work:
            yield True

    async def hear(ceilings: list[Ceiling]) -> None:
        told.append(ceilings)

    def made(cores: int = 1, **environment: str) -> Ceilings:
        ceilings = Ceilings(
            "n1",
            Environment(**environment),
            alone,
            tmp_path / "n1" / "kept.json",
            hear,
        )
        ceilings.known("A CPU", cores)
        return ceilings

    return made


async def refused(ceilings: Ceilings, request: Message) -> Refused:
    answer = await ceilings.answer(request)
    assert isinstance(answer, Refused)
    return answer


async def test_what_was_measured_is_kept_and_told_again(
    make: Make, told: list[list[Ceiling]]
) -> None:
    first = await make().answer(MeasureCeilings())
    assert isinstance(first, CeilingsMeasured) and first.measured
    assert told == [first.ceilings]
    assert [(c.kind, c.dtype, c.threads) for c in first.ceilings] == [
        ("compute", "float32", 1),
        ("compute", "float64", 1),
        ("memory", "", 1),
    ]
    single, double, memory = (c.value for c in first.ceilings)
    assert single > double > memory / 8 > 0  # a vector holds twice as many; a triad computes less
    again = await make().answer(MeasureCeilings())  # another life of the node
    assert isinstance(again, CeilingsMeasured) and not again.measured
    assert again.ceilings == first.ceilings and len(told) == 1


def test_another_processor_knows_nothing_of_it(make: Make, tmp_path: Path) -> None:
    ceilings, path = make(), tmp_path / "n1" / "kept.json"
    ceilings._keep([Ceiling(kind="memory", value=1.0, unit="GB/s")])
    assert ceilings.known("A CPU", 1)
    assert not ceilings.known("Another CPU", 1) and not ceilings.known("A CPU", 2)
    path.write_bytes(path.read_bytes()[:20])
    assert not ceilings.known("A CPU", 1)


async def test_a_node_at_other_work_says_so(make: Make, other_work: asyncio.Lock) -> None:
    ceilings = make()
    async with other_work:
        answer = await refused(ceilings, MeasureCeilings(timeout_s=0.05))
    assert answer.kind == "busy" and "n1 was at other work for 0.05 s" in answer.text


async def test_an_environment_without_a_python(make: Make) -> None:
    answer = await refused(make(python="/nowhere/python"), MeasureCeilings())
    assert answer.kind == "framework" and "/nowhere/python cannot be started" in answer.text


async def test_an_environment_that_says_nothing(make: Make) -> None:
    answer = await refused(make(python="/bin/false"), MeasureCeilings())
    assert answer.kind == "framework" and "with 1 thread(s): it said nothing" in answer.text


async def test_other_messages(make: Make) -> None:
    assert (await refused(make(), ListNodes())).kind == "bad_request"
