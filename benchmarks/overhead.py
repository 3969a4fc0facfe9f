"""A measured predict through the whole system against the same ONNX Runtime in a bare loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from benchmarks import bare, model_files, services
from benchmarks.asking import evaluate
from benchmarks.bare import Bare
from benchmarks.effort import Effort
from benchmarks.model_files import MODEL, ModelFiles
from benchmarks.report import Result, Row
from benchmarks.rounds import Block, Rounds, Sides, measure
from bus.connection import Bus
from bus.errors import EvaluationError
from bus.messages import Level

ROLES = ("collector", "coordinator", "node")
BUDGET = 1.02
MS = 1e6


async def run(effort: Effort) -> Result:
    """Model level, warm, one query at a time, batch 1, one thread; two bare processes beside it."""
    kept = Rounds()
    for _ in range(effort.generations):
        async with both() as (bus, files, (one, two)):
            seen = await evaluate(bus, files, "model", effort)
            if (theirs := await one.best(effort)) != seen.best:
                text = f"the sides disagree on the photo: class {seen.best} and {theirs}"
                raise EvaluationError("the bare loop", "peer", text)
            sides = Sides(
                partial(ours, bus, files, "model", effort),
                partial(one.block, effort),
                partial(two.block, effort),
            )
            await measure("overhead", sides, effort, kept)
    return Result(rows(kept, effort), {"block_medians_ns": kept.medians()})


@asynccontextmanager
async def both(
    model: str = MODEL, framework: str = "", script: Path = bare.SCRIPT
) -> AsyncIterator[tuple[Bus, ModelFiles, tuple[Bare, Bare]]]:
    """A fresh system, and two fresh processes of the peer with the same model and photo."""
    with services.running(ROLES) as system:
        async with services.connected(system) as bus:
            files = await model_files.fetch(system.folder, bus, model, framework)
            async with bare.started(files, script) as one, bare.started(files, script) as two:
                yield bus, files, (one, two)


async def ours(bus: Bus, files: ModelFiles, level: Level, effort: Effort) -> Block:
    """A block of queries through the whole system, traced to a level."""
    return (await evaluate(bus, files, level, effort)).blocks[level]


def rows(rounds: Rounds, effort: Effort) -> list[Row]:
    """The predict call, which has a budget; from query to query, which tells the rest."""
    return [
        row("predict, whole system / bare loop", rounds, effort, BUDGET),
        Row(
            what="query to query, whole system / bare loop",
            ours=middle(rounds.ours, periods=True),
            theirs=middle(rounds.theirs, periods=True),
            unit="ms",
            compared=rounds.ratio(lambda block: block.median_period_ns),
            same=rounds.same(lambda block: block.median_period_ns),
        ),
    ]


def row(what: str, rounds: Rounds, effort: Effort, budget: float) -> Row:
    """The rounds' p50 against p50."""
    compared = rounds.ratio(lambda block: block.median_ns)
    note = f"{len(rounds.ours)} rounds of {effort.queries} queries a side"
    note += f", in {effort.generations} generation(s) of processes"
    if compared.width > effort.width:
        note += (
            f"; the interval is {compared.width:.2%} wide where {effort.width:.1%} was aimed at: "
            f"the limit of {effort.limit_s:g} s came first, or the generations differ"
        )
    return Row(
        what=what,
        ours=middle(rounds.ours),
        theirs=middle(rounds.theirs),
        unit="ms",
        compared=compared,
        at_most=budget,
        same=rounds.same(lambda block: block.median_ns),
        note=note,
    )


def middle(blocks: list[Block], *, periods: bool = False) -> float:
    """The middle one of the blocks' medians, in milliseconds."""
    medians = sorted(block.median_period_ns if periods else block.median_ns for block in blocks)
    return medians[len(medians) // 2] / MS
