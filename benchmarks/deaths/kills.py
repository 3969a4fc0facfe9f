"""The deaths of processes of an ordinary system: one bus, one database, two nodes."""

from __future__ import annotations

import asyncio
import os
import signal

from benchmarks.deaths.death import Strike
from benchmarks.deaths.load import Load
from benchmarks.deaths.parts import status_of
from benchmarks.deaths.system import System

AWAY_S = 1.0
"""How long what was killed is away before whatever supervises it starts it again."""


async def nothing(system: System, load: Load) -> None:
    """What the others are to be held against."""


def killed(name: str, away_s: float | None = AWAY_S):  # type: ignore[no-untyped-def]
    """SIGKILL; started again after away_s, or not at all."""

    async def kill(system: System, load: Load) -> None:
        system.parts[name].kill()
        if away_s is not None:
            await asyncio.sleep(away_s)
            await system.parts[name].again()

    return kill


def brought_back(name: str):  # type: ignore[no-untyped-def]
    """Start it again for whoever comes next."""

    async def mend(system: System) -> None:
        await system.parts[name].again()

    return mend


async def kill_worker(system: System, load: Load) -> None:
    """SIGKILL to the worker process of a node."""
    os.kill(status_of(system.parts["node-1"])["workers"]["default"], signal.SIGKILL)


KILLS = [
    Strike("nothing", "nothing", nothing, 15.0),
    Strike(
        "node", "a node in mid-job, for good", killed("node-1", None), 30.0, brought_back("node-1")
    ),
    Strike("node-again", "a node in mid-job, started again at once", killed("node-1", 0.0), 30.0),
    Strike("worker", "a worker in mid-job", kill_worker, 15.0),
    Strike("coordinator", "one of two coordinators", killed("coordinator-1"), 15.0),
    Strike("collector", "the only collector, for 1 s", killed("collector-1"), 15.0),
    Strike("nats", "the only nats-server, for 1 s", killed("nats-1"), 30.0),
    Strike("nats-long", "the only nats-server, for 10 s", killed("nats-1", 10.0), 45.0),
    Strike("mongod", "the only mongod, for 1 s", killed("mongod-1"), 15.0),
]
