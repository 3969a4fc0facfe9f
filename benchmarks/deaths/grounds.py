"""The systems on which parts die, each with its deaths: what every test and the table run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from benchmarks.deaths import clocks, disks, hosts
from benchmarks.deaths.clusters import CLUSTERS, SHAPE
from benchmarks.deaths.death import Strike
from benchmarks.deaths.faults import FAULTS
from benchmarks.deaths.kills import KILLS
from benchmarks.deaths.load import Load
from benchmarks.deaths.parts import Place
from benchmarks.deaths.system import Shape, System, running

HOUR_S = 3600
MIB = 1 << 20
FULL_S = 3.0
"""How long a disk stays full."""


@dataclass(frozen=True)
class Ground:
    """A system, and the names of what is done to it; `begin` makes it, and the strikes."""

    name: str
    strikes: tuple[str, ...]
    begin: Callable[[], AbstractAsyncContextManager[tuple[System, list[Strike]]]]
    why_not: Callable[[], str] = lambda: ""


@asynccontextmanager
async def ordinary() -> AsyncIterator[tuple[System, list[Strike]]]:
    """One bus, one database, one collector, two coordinators, two nodes."""
    async with running() as system:
        yield system, [*KILLS, *FAULTS]


@asynccontextmanager
async def clustered() -> AsyncIterator[tuple[System, list[Strike]]]:
    """Three nats-servers that keep everything three times, and a replica set of three mongods."""
    async with running(SHAPE) as system:
        yield system, CLUSTERS


@asynccontextmanager
async def apart() -> AsyncIterator[tuple[System, list[Strike]]]:
    """Two nodes on hosts of their own; the rest on this one."""
    with hosts.network(2) as network:
        async with running(Shape(nodes=0, host=network.address)) as system:
            for number, host in enumerate(network.hosts, 1):
                system.node(f"node-{number}", host.place)
            await asyncio.gather(*(part.ready() for part in system.named("node")))
            first = network.hosts[0]

            def cut(for_s: float) -> Strike:
                async def kill(system: System, load: Load) -> None:
                    await first.cut_off(for_s)

                text = f"the network of one of two nodes' hosts, for {for_s:g} s"
                return Strike(f"partition-{for_s:g}", text, kill, 30.0)

            yield system, [cut(3.0), cut(10.0)]


@asynccontextmanager
async def timeless() -> AsyncIterator[tuple[System, list[Strike]]]:
    """Of two nodes, one whose clock jumps."""
    async with running(Shape(nodes=1)) as system:
        await system.node("node-2", clocks.place(system.folder)).ready()

        def jump(name: str, to_s: int, text: str) -> Strike:
            async def kill(system: System, load: Load) -> None:
                clocks.jump(system.folder, to_s)

            return Strike(name, text, kill, 15.0)

        yield (
            system,
            [
                jump("clock-on", HOUR_S, "a node's clock: an hour on, in mid-job"),
                jump("clock-back", -HOUR_S, "a node's clock: two hours back, in mid-job"),
            ],
        )


@asynccontextmanager
async def narrow() -> AsyncIterator[tuple[System, list[Strike]]]:
    """One node, the bus and the database each on a small disk of its own."""
    with disks.disk(32 * MIB) as nodes, disks.disk(128 * MIB) as bus, disks.disk(192 * MIB) as db:
        shape = Shape(
            nodes=1,
            nats_folder=bus.folder,
            mongo_folder=db.folder,
            # More than there is: else the server refuses before its disk does.
            nats_limits=", max_file_store: 8GB",
        )
        async with running(shape) as system:
            home, cache = str(nodes.folder / "home"), str(nodes.folder / "cache")
            place = Place(env={"MLMS_HOME": home, "MLMS_CACHE": cache})
            await system.node("node-2", place).ready()

            def fill(name: str, which: disks.Disk, text: str, restarted: str = "") -> Strike:
                async def kill(system: System, load: Load) -> None:
                    which.fill()
                    await asyncio.sleep(FULL_S)
                    which.clear()
                    part = system.parts.get(restarted)
                    if part is not None:
                        if part.runs:
                            part.kill()
                        await part.again()

                return Strike(name, f"{text}: full for {FULL_S:g} s", kill, 45.0)

            yield (
                system,
                [
                    fill("disk-node", nodes, "a node's disk"),
                    fill("disk-mongod", db, "mongod's disk, then mongod started anew", "mongod-1"),
                    fill("disk-nats", bus, "nats-server's disk, then it started anew", "nats-1"),
                ],
            )


def _names(strikes: list[Strike]) -> tuple[str, ...]:
    return tuple(strike.name for strike in strikes)


GROUNDS = [
    Ground("ordinary", _names([*KILLS, *FAULTS]), ordinary),
    Ground("clustered", _names(CLUSTERS), clustered),
    Ground("apart", ("partition-3", "partition-10"), apart, hosts.why_not),
    Ground("timeless", ("clock-on", "clock-back"), timeless, clocks.why_not),
    Ground("narrow", ("disk-node", "disk-mongod", "disk-nats"), narrow, disks.why_not),
]
