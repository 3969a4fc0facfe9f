"""Deaths within a cluster: one of three nats-servers, and the primary of a replica set."""

from __future__ import annotations

from typing import Any

import nats
from pymongo import MongoClient

from benchmarks.deaths.death import Strike
from benchmarks.deaths.load import Load
from benchmarks.deaths.parts import Part
from benchmarks.deaths.system import Shape, System
from bus import subjects

SHAPE = Shape(nats_servers=3, mongods=3)


async def kill_leader(system: System, load: Load) -> None:
    """SIGKILL to the server that leads the stream of facts; it stays dead."""
    client = await nats.connect(system.bus_url.split(","))
    held = await client.jetstream().stream_info(subjects.FACTS_STREAM)
    await client.close()
    assert held.cluster is not None and held.cluster.leader is not None
    system.parts[held.cluster.leader].kill()


async def kill_primary(system: System, load: Load) -> None:
    """SIGKILL to the member that takes the writes; it stays dead."""
    client: MongoClient[Any] = MongoClient(system.mongo_url)
    with client:
        address = client.admin.command("hello")["primary"]
    port = address.rsplit(":", 1)[1]
    next(part for part in system.named("mongod") if f"--port={port}" in part.command).kill()


async def bring_back(system: System) -> None:
    """Start again what is dead, and wait until it has caught up."""
    for part in _dead(system):
        await part.again()


def _dead(system: System) -> list[Part]:
    return [part for part in system.parts.values() if not part.runs]


CLUSTERS = [
    Strike(
        "nats-leader",
        "one of three nats-servers: the leader of the facts, for good",
        kill_leader,
        45.0,
        bring_back,
    ),
    Strike(
        "primary",
        "the primary of a replica set of three, for good",
        kill_primary,
        45.0,
        bring_back,
    ),
]
