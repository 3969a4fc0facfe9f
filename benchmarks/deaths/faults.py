"""Workers that die of what they run: by a segfault, and by running out of memory."""

from __future__ import annotations

from typing import Any

from benchmarks.deaths import memory
from benchmarks.deaths.death import Strike
from benchmarks.deaths.load import Load
from benchmarks.deaths.system import System

MORE_BYTES = 256 << 20
AFTER = 20
"""Predicts that go well before."""


async def segfault(system: System, load: Load) -> None:
    """A model that crashes its process once, and one that always does."""
    await _once_and_always(system, load, {"fault": "segfault"})


async def run_out_of_memory(system: System, load: Load) -> None:
    """A model that takes memory without end once, and one that always does: on one limited node."""
    memory.limit(system.parts["node-1"].pid, MORE_BYTES)
    await _once_and_always(system, load, {"fault": "memory"}, node="node-1")


async def _once_and_always(
    system: System, load: Load, fault: dict[str, Any], node: str = ""
) -> None:
    once = str(system.folder / f"{fault['fault']}-{len(load.told)}")
    given = {**fault, "after": AFTER}
    healed = await load.ask(arguments={**given, "once": once}, node=node)
    assert healed.state == "finished", healed
    await load.ask(arguments=given, node=node)


async def unlimited(system: System) -> None:
    """The limited node is as free as the others again."""
    memory.let_go()


FAULTS = [
    Strike(
        "segfault",
        "a worker, by a segfault in its framework: once, and at each attempt",
        segfault,
        30.0,
        fails={"worker_died": 1},
    ),
    Strike(
        "memory",
        "a worker, by running out of memory (the kernel kills it): once, and at each attempt",
        run_out_of_memory,
        45.0,
        unlimited,
        memory.why_not,
        fails={"worker_died": 1},
    ),
]
