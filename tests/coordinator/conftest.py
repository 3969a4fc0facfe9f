"""Makers of nodes, models and requests, and a node that a test plays on the real bus."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from bus import subjects
from bus.buckets import Bucket
from bus.connection import Bus
from bus.consumer import Consumer, Received
from bus.errors import StaleError
from bus.messages import (
    Device,
    Evaluate,
    FrameworkSeen,
    FrameworkWanted,
    Input,
    Job,
    JobFailed,
    JobFinished,
    JobRecord,
    Manifest,
    ModelResources,
    NodeAlive,
    NodeAnnounced,
)
from coordinator.coordinator import Coordinator, Settings

GIB = 2**30


def _node(node_id: str = "n1", **fields: Any) -> NodeAnnounced:
    given: dict[str, Any] = {
        "incarnation": f"{node_id}-first",
        "arch": "x86_64",
        "cores": 4,
        "memory_bytes": 8 * GIB,
        "devices": [Device(kind="cpu", name="a cpu")],
        "frameworks": [FrameworkSeen(name="onnxruntime", version="1.31.1", devices=["cpu"])],
        **fields,
    }
    return NodeAnnounced(node_id=node_id, **given)


def _model(name: str = "AlexNet", version: str = "1.0.0", **fields: Any) -> Manifest:
    given: dict[str, Any] = {
        "framework": FrameworkWanted(name="onnxruntime", version="^1.12"),
        "model": ModelResources(graph_path="https://models.example/m.onnx"),
        **fields,
    }
    return Manifest(name=name, version=version, **given)


def _request(**fields: Any) -> Evaluate:
    given: dict[str, Any] = {
        "evaluation_id": uuid.uuid4().hex,
        "manifest": _model(),
        "inputs": [Input(name="a.png", data=b"a")],
        **fields,
    }
    return Evaluate(**given)


@pytest.fixture
def node() -> Callable[..., NodeAnnounced]:
    """Makes an announcement: 4 cores, 8 GiB, a CPU, ONNX Runtime 1.31.1."""
    return _node


@pytest.fixture
def model() -> Callable[..., Manifest]:
    """Makes a runnable manifest for ONNX Runtime ^1.12."""
    return _model


@pytest.fixture
def request_for() -> Callable[..., Evaluate]:
    """Makes a request for that model with one input."""
    return _request


@dataclass
class Player:
    """A node as the coordinator sees it: it announces, pulls its queue and tells facts."""

    bus: Bus
    announced: NodeAnnounced
    jobs: list[Job] = field(default_factory=list)
    consumer: Consumer | None = None
    silent: bool = False

    @property
    def node_id(self) -> str:
        return self.announced.node_id

    async def appear(self) -> None:
        """Announce, let the heart beat once (a test is quicker than its expiry)."""
        nodes = await self.bus.bucket(subjects.NODES_BUCKET)
        await nodes.put(self.node_id, self.announced)
        await self.beat()

    async def beat(self) -> None:
        alive = NodeAlive(node_id=self.node_id, incarnation=self.announced.incarnation)
        await (await self._alive()).put(self.node_id, alive)

    async def restart(self, incarnation: str) -> None:
        self.announced = replace(self.announced, incarnation=incarnation)
        await self.appear()

    async def vanish(self) -> None:
        """Fall silent, as a watcher sees it when the key expires."""
        self.silent = True
        if self.consumer is not None:
            await self.consumer.stop()
        await (await self._alive()).delete(self.node_id)

    async def _alive(self) -> Bucket:
        return await self.bus.bucket(subjects.ALIVE_BUCKET)

    async def work(self) -> None:
        """Pull the queue; the jobs that come lie in `jobs`."""

        async def take(batch: list[Received]) -> None:
            for received in batch:
                assert isinstance(received.message, Job)
                self.jobs.append(received.message)
                await received.ack()

        self.consumer = await self.bus.consume(
            subjects.JOBS_STREAM,
            subjects.job_consumer(self.node_id),
            [subjects.job(self.node_id)],
            take,
        )

    async def claim(self, job: Job) -> None:
        """Queued -> running, as a node does it."""
        bucket = await self.bus.bucket(subjects.JOBS_BUCKET)
        while True:
            got = await bucket.get(job.job_id)
            assert got is not None and isinstance(got[0], JobRecord)
            assert (got[0].state, got[0].attempt) == ("queued", job.attempt)
            incarnation = self.announced.incarnation
            running = replace(
                got[0], state="running", incarnation=incarnation, started_ns=time.time_ns()
            )
            try:
                await bucket.update(job.job_id, running, got[1])
                return
            except StaleError:
                continue  # it was marked as published meanwhile

    async def finish(self, job: Job, sequence: int = 6) -> None:
        await self._tell(JobFinished(**self._ids(job, sequence)))

    async def fail(self, job: Job, kind: str, text: str) -> None:
        await self._tell(JobFailed(**self._ids(job, 2), kind=kind, text=text))

    def _ids(self, job: Job, sequence: int) -> dict[str, Any]:
        return {
            "evaluation_id": job.evaluation_id,
            "job_id": job.job_id,
            "attempt": job.attempt,
            "node_id": self.node_id,
            "sequence": sequence,
            "at_ns": 1,
        }

    async def _tell(self, fact: JobFinished | JobFailed) -> None:
        kind = type(fact).__name__
        subject = subjects.fact(self.node_id, "anonymous", fact.evaluation_id, kind)
        await self.bus.record(subject, fact)


@pytest.fixture
async def player(bus: Bus) -> AsyncIterator[Callable[..., Awaitable[Player]]]:
    """Makes a node that is alive, stays so and pulls its queue."""
    players: list[Player] = []

    async def keep_beating() -> None:
        while True:
            await asyncio.sleep(1.5)
            for made in players:
                if not made.silent:
                    await made.beat()

    async def make(node_id: str, **fields: Any) -> Player:
        made = Player(bus, _node(node_id, **fields))
        players.append(made)
        await made.appear()
        await made.work()
        return made

    heart = asyncio.create_task(keep_beating())
    yield make
    heart.cancel()
    for made in players:
        if made.consumer is not None:
            await made.consumer.stop()


@pytest.fixture
async def coordinator_on(
    bus: Bus, bus_url: str
) -> AsyncIterator[Callable[[], Awaitable[Coordinator]]]:
    """Starts a coordinator with a connection of its own."""
    started: list[tuple[Coordinator, Bus]] = []

    async def start() -> Coordinator:
        connection = await Bus.connect(bus_url, name="coordinator")
        made = Coordinator(connection, Settings(sweep_s=0.2))
        started.append((made, connection))
        await made.start()
        return made

    yield start
    for made, connection in started:
        await made.stop()
        await connection.close()
