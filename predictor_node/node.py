"""Node: announces what this machine can do, pulls jobs, and has workers run them.

Does not know: who asked, which other nodes exist, where results are stored.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import re
import shutil
import socket
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec
from platformdirs import user_cache_path, user_data_path

from bus import subjects
from bus.clock_watch import ClockWatch
from bus.codec import content_digest
from bus.connection import Bus, Subscription
from bus.consumer import Received
from bus.errors import BusError, InputError, MLModelScopeError, StaleError
from bus.messages import (
    Ceiling,
    DescribeImage,
    Job,
    JobRecord,
    Message,
    NodeAlive,
    NodeAnnounced,
    Refused,
    Undecodable,
)
from bus.senders import RESERVED
from bus.service import Service
from bus.sizes import read_size
from bus.system import about
from predictor_node import capabilities
from predictor_node.assets import Assets, Limits
from predictor_node.built_environments import Builder
from predictor_node.ceilings import Ceilings
from predictor_node.conditions import look as look_at_conditions
from predictor_node.container_settings import Allowed
from predictor_node.containers import ContainerError, Engine
from predictor_node.environments import DEFAULT, look, read_environments
from predictor_node.execution import Execution
from predictor_node.experience import Experience
from predictor_node.leases import Leases
from predictor_node.processor import processor
from predictor_node.provision import Provision
from predictor_node.spill import Spill
from predictor_node.telling import Teller
from predictor_node.warm import Warm
from predictor_node.workers import Workers

log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
REANNOUNCE_S = 600.0
CLOCK_S = 60.0
ACK_WAIT_S = 30.0
BEGUN = 1000
"""More than can be delivered again: what a job's queue holds unacknowledged is one."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A node's settings: MLMS_NODE_ID, MLMS_LABELS (`key=value,key=value`), MLMS_HOME …

    environments: other Pythons (`name=/path/to/python,…`); frameworks: modules that no package
    brings (`name=/path/to/plugin.py,…`); profilers: likewise. containers: auto runs a manifest's
    container where a Docker engine does; container_memory, container_network: the most that one
    may have. build_environments, build_images: whether packages are installed, and a manifest's
    Dockerfile is built, on demand.
    """

    node_id: str = ""
    labels: str = ""
    environments: str = ""
    frameworks: str = ""
    profilers: str = ""
    allow_code: bool = False
    home: str = ""
    cache: str = ""
    cache_limit: str = "20GiB"
    file_limit: str = "20GiB"
    spill_limit: str = "1GiB"
    job_spans: int = 50_000_000
    containers: Literal["auto", "never"] = "auto"
    container_memory: str = ""
    container_network: bool = False
    build_environments: bool = False
    build_images: bool = False


class Node(Service):
    """One predictor node."""

    name = "node"

    def __init__(self, bus: Bus, settings: Settings) -> None:
        super().__init__()
        self._bus = bus
        self.node_id = subjects.token(settings.node_id or socket.gethostname())
        if self.node_id in RESERVED:
            raise InputError(f"a node cannot be called {self.node_id}: choose another MLMS_NODE_ID")
        self.incarnation = uuid.uuid4().hex
        home = Path(settings.home) if settings.home else user_data_path("mlmodelscope")
        cache = Path(settings.cache) if settings.cache else user_cache_path("mlmodelscope")
        self._folder, self._cache = home / "work" / self.node_id, cache
        limits = Limits(
            cache_bytes=read_size(settings.cache_limit, "MLMS_CACHE_LIMIT"),
            file_bytes=read_size(settings.file_limit, "MLMS_FILE_LIMIT"),
        )
        self._assets = Assets(cache / "assets", bus, limits)
        self._labels = read_labels(settings.labels)
        self._settings = settings
        self._environments = read_environments(
            settings.environments, settings.frameworks, settings.allow_code, settings.profilers
        )
        memory_bytes = (
            read_size(settings.container_memory, "MLMS_CONTAINER_MEMORY")
            if settings.container_memory
            else 0
        )
        self._provision = Provision(
            node_id=self.node_id,
            own=self._environments,
            folder=self._folder / "boxes",
            builds_images=settings.build_images,
            allowed=Allowed(memory_bytes, settings.container_network),
        )
        if settings.build_environments:
            self._provision.builder = Builder(self._environments[DEFAULT])
        self._workers = Workers(self._provision, cache / "assets")
        self._device = asyncio.Lock()
        """Held by whoever measures or predicts: two of them never share the machine unknowingly."""
        me = capabilities.boot_id(), self.node_id, self.incarnation
        self._leases = Leases(me, self.counters, lambda: self._stopping)
        self._warm = Warm(
            node_id=self.node_id,
            assets=self._assets,
            workers=self._workers,
            device=self._device,
            leases=self._leases,
            folder=self._folder / "warm",
            counters=self.counters,
        )
        self._experience = Experience(self.node_id)
        kept = self._folder / "ceilings.json"
        usual = self._environments[DEFAULT]
        self._ceilings = Ceilings(
            self.node_id,
            usual,
            self._alone,
            kept,
            self._new_ceilings,
        )
        self._watched = ClockWatch(bus)
        spill_bytes = read_size(settings.spill_limit, "MLMS_SPILL_LIMIT")
        self._spill = Spill(self._folder / "spill", spill_bytes, self.counters)
        self._execution: Execution | None = None
        self._job: Job | None = None
        self._begun: deque[tuple[str, int]] = deque(maxlen=BEGUN)
        """Attempts that this life has begun: none of them is begun twice."""
        self._announced: NodeAnnounced | None = None
        self._stopping = False

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        """Look at the machine, announce it, and begin to take jobs."""
        started_ns = time.time_ns()
        warm = asyncio.create_task(self._workers.own(DEFAULT).start())
        seeking = asyncio.create_task(self._find_engine())
        seen = await look(self._environments, self._settings.frameworks)
        devices, missing = await asyncio.to_thread(capabilities.devices)
        self._jobs = await self._bus.bucket(subjects.JOBS_BUCKET)
        self._nodes = await self._bus.bucket(subjects.NODES_BUCKET)
        self._alive = await self._bus.bucket(subjects.ALIVE_BUCKET)
        await self._leases.start(self._bus)
        await self._experience.start(self._bus)
        await self._look_at_clock()
        no_containers = await seeking
        builder = self._provision.builder
        self._announced = NodeAnnounced(
            node_id=self.node_id,
            incarnation=self.incarnation,
            version=_own_version(),
            host=socket.gethostname(),
            machine_id=capabilities.machine_id(),
            arch=capabilities.architecture(),
            system=sys.platform,
            cpu=devices[0].name,
            cores=devices[0].count,
            memory_bytes=devices[0].memory_bytes,
            devices=devices,
            frameworks=seen.frameworks,
            containers=not no_containers,
            builds=builder.frameworks if builder else [],
            builds_images=self._settings.build_images and not no_containers,
            interconnect=await asyncio.to_thread(capabilities.interconnect),
            cpu_features=capabilities.cpu_features(capabilities.read_cpuinfo()),
            disk_bytes=capabilities.disk_bytes(self._cache),
            distribution=capabilities.distribution(),
            kernel=platform.release(),
            processor=await asyncio.to_thread(processor),
            labels=self._labels,
            allow_code=self._settings.allow_code,
            unavailable={
                **missing,
                **capabilities.unmeasurable(),
                **seen.unavailable,
                **({"containers": no_containers} if no_containers else {}),
            },
            status_url=self.status_url,
            clock=self._watched.latest,
            started_ns=started_ns,
            ceilings=self._ceilings.known(devices[0].name, devices[0].count),
        )
        self._warm.start()
        await warm
        asked = {
            subjects.ceilings_on(self.node_id): self._ceilings.answer,
            subjects.image_on(self.node_id): self._describe_image,
        }
        await self._bus.serve(self.name, {**self._warm.endpoints(), **asked}, lambda: about(self))
        await self._announce()
        self._beating = asyncio.create_task(self._beat())
        self._resending = asyncio.create_task(self._spill.run(self._bus))
        self._consumer = await self._bus.consume(
            subjects.JOBS_STREAM,
            subjects.job_consumer(self.node_id),
            [subjects.job(self.node_id)],
            self._take,
            batch=1,
            ack_wait_s=ACK_WAIT_S,
            anew=True,  # a life before this one may have died with a job in its hands
        )

    async def stop(self) -> None:
        """Give up the job in hand (it is placed again), end the workers, say goodbye."""
        self._stopping = True
        if self._execution:
            await self._execution.leave(f"the node {self.node_id} was stopped")
        if self._announced is None:
            return
        await self._warm.stop()
        await self._consumer.stop()
        self._beating.cancel()
        self._resending.cancel()
        self._spill.close()
        await self._workers.stop()
        await self._leases.stop()
        if self._provision.engine is not None:
            self._provision.engine.close()
        try:
            await self._alive.delete(self.node_id)
            await self._nodes.delete(self.node_id)
        except BusError:
            log.info("the bus is gone: the announcement will expire by itself")

    def not_ready(self) -> str:
        """Why no job can run here now."""
        if self._announced is None:
            return "still looking at this machine"
        if not self._bus.connected:
            return "no connection to the bus"
        return "" if self._announced.frameworks else "no framework is installed here"

    def status(self) -> dict[str, object]:
        """What this node is and what it runs."""
        return {
            "node_id": self.node_id,
            "incarnation": self.incarnation,
            "running": self._job and {"job_id": self._job.job_id, "model": self._job.manifest.name},
            "environments": {name: each.python for name, each in self._environments.items()},
            "workers": self._workers.pids(),
            "warm": self._warm.status(),
            "spilled_bytes": self._spill.held_bytes,
            "capabilities": self._announced,
        }

    async def _find_engine(self) -> str:
        """Look for a Docker engine; why there is none. What an earlier life left there goes."""
        if self._settings.containers == "never":
            return "this node runs none (MLMS_CONTAINERS=never)"
        try:
            engine = await Engine.found(self._folder)
            await engine.sweep()
        except ContainerError as exc:
            return str(exc)
        shutil.rmtree(self._provision.folder, ignore_errors=True)
        self._provision.engine = engine
        return ""

    async def _describe_image(self, request: Message) -> Message:
        """What is in a container image; nobody measures meanwhile."""
        if not isinstance(request, DescribeImage):
            return Undecodable(text=f"expected DescribeImage, got {type(request).__name__}")
        try:
            async with asyncio.timeout(request.timeout_s), self._alone():
                return await self._provision.describe_image(request.image)
        except TimeoutError:
            text = f"{request.image} could not be looked into within {request.timeout_s:g} s"
            return Refused(kind="busy", text=f"node {self.node_id}: {text}")
        except MLModelScopeError as exc:
            return Refused(kind=exc.kind, text=f"node {self.node_id}: {exc}")

    # ---------------------------------------------------------------- being seen

    async def _announce(self) -> None:
        assert self._announced is not None
        await self._nodes.put(self.node_id, self._announced)
        await self._alive.put(self.node_id, self._heartbeat())
        self._announced_s = time.monotonic()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        """The machine to ourselves: neither this node nor another of the host measures on it."""
        async with self._leases.held("cpu", "ceilings") as ours, self._device:
            yield ours

    async def _new_ceilings(self, ceilings: list[Ceiling]) -> None:
        """From now on they are in the announcement, and so in every record."""
        assert self._announced is not None
        self._announced = msgspec.structs.replace(self._announced, ceilings=ceilings)
        await self._announce()

    def _heartbeat(self) -> NodeAlive:
        jobs = [self._job.job_id] if self._job else []
        return NodeAlive(node_id=self.node_id, incarnation=self.incarnation, jobs=jobs)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                await self._alive.put(self.node_id, self._heartbeat())
                if self._job is None and time.monotonic() - self._clock_s > CLOCK_S:
                    await self._look_at_clock()
                if time.monotonic() - self._announced_s > REANNOUNCE_S:
                    await self._announce()
            except BusError as exc:
                self.counters["missed_heartbeats"] += 1
                log.info("heartbeat failed", extra={"error": str(exc)})

    async def _look_at_clock(self) -> None:
        """How far we are from the collector's clock; unmeasured while there is none."""
        self._clock_s = time.monotonic()
        self._watched.rebase()
        if not await self._watched.look():
            self._clock_s -= CLOCK_S - HEARTBEAT_S  # try again soon
        elif self._announced is not None:
            clock = self._watched.latest
            self._announced = msgspec.structs.replace(self._announced, clock=clock)

    # ---------------------------------------------------------------- jobs

    async def _take(self, batch: list[Received]) -> None:
        for received in batch:
            if not isinstance(received.message, Job):
                await received.bury(f"expected Job, got {type(received.message).__name__}")
                await received.ack()
                continue
            if self._stopping:
                await received.nak()
                continue
            keeping = asyncio.create_task(_keep(received))
            try:
                ran = await self._in_turn(received.message)
            finally:
                keeping.cancel()
            await (received.ack() if ran else received.nak())

    async def _in_turn(self, job: Job) -> bool:
        """Run a job when its device is ours alone; False: the node stops first."""
        device = str(job.settings.get("device", "cpu"))
        reading = asyncio.create_task(self._jobs.get(job.job_id))
        reading.add_done_callback(_looked_at)
        try:
            async with self._leases.held(device, job.job_id) as ours:
                if not ours:
                    return False
                async with self._device:  # an open model may be predicting
                    if self._stopping:
                        return False
                    await self._run(job, reading)
            return True
        finally:
            reading.cancel()

    async def _run(self, job: Job, reading: asyncio.Task[tuple[Message, int] | None]) -> None:
        before = asyncio.create_task(look_at_conditions())
        if not await self._claim(job, reading):
            before.cancel()
            self.counters["stale_jobs"] += 1
            return
        self.counters["jobs"] += 1
        self._begun.append((job.job_id, job.attempt))
        self._job = job
        if self._watched.latest.error_ns < 0:
            await self._look_at_clock()  # there was no collector yet when we looked last
        teller = Teller(self._bus, job, self._watched, self._spill)
        teller.most_spans = self._settings.job_spans
        self._execution = Execution(job, self._workers, self._assets, teller, self._folder)
        watching = await self._watch(job, self._execution)
        try:
            assert self._announced is not None
            async with self._watched.during_job():
                finished = await self._execution.run(self._announced, before)
            if finished:
                digest, measured = content_digest(job.manifest), self._execution.measured
                await self._experience.ran(digest, job.framework, measured)
        finally:
            await watching.stop()
            self._execution = self._job = None

    async def _claim(self, job: Job, reading: Awaitable[tuple[Message, int] | None]) -> bool:
        """Write ourselves on the job, by compare-and-set; False if it is no longer for us.

        reading: the record as it was when the job came, while we waited for the device.
        """
        while (found := await reading) is not None:
            record, revision = found
            if not isinstance(record, JobRecord) or not self._ours(record, job):
                return False
            now_ns = time.time_ns()
            claimed = msgspec.structs.replace(
                record,
                state="running",
                incarnation=self.incarnation,
                changed_ns=now_ns,
                started_ns=now_ns,
            )
            try:
                await self._jobs.update(job.job_id, claimed, revision)
                return True
            except StaleError:
                reading = self._jobs.get(job.job_id)  # it was marked, or cancelled: look again
        return False

    def _ours(self, record: JobRecord, job: Job) -> bool:
        if (record.node_id, record.attempt) != (self.node_id, job.attempt):
            return False
        if record.state == "queued":
            return True
        # The bus may have fallen between our claim and the word of it: then it is ours, and idle.
        claimed = record.state == "running" and record.incarnation == self.incarnation
        return claimed and (job.job_id, job.attempt) not in self._begun

    async def _watch(self, job: Job, execution: Execution) -> Subscription:
        """Hear the job's own key: whoever moves it on meanwhile takes it from us."""

        async def changed(_: str, record: Message) -> None:
            if not isinstance(record, JobRecord):
                return
            if record.state == "cancelled":
                kind = "cancelled"
            elif record.attempt != job.attempt:
                kind = "superseded"
            else:
                return
            self.counters[kind] += 1
            await execution.stop(kind, f"the job was {kind} (attempt {record.attempt})")

        subject = subjects.key_change(subjects.JOBS_BUCKET, job.job_id)
        return await self._bus.listen(subject, changed)


def _looked_at(reading: asyncio.Task[tuple[Message, int] | None]) -> None:
    """Who waits for it hears of its error; where nobody came to wait, nobody needs to."""
    if not reading.cancelled():
        reading.exception()


async def _keep(received: Received) -> None:
    """Tell JetStream that the job is still worked on, so that it is not delivered again."""
    while True:
        await asyncio.sleep(ACK_WAIT_S / 4)
        try:
            await received.in_progress()
        except Exception as exc:
            log.info("in-progress not told", extra={"error": repr(exc)})


def read_labels(text: str) -> dict[str, str]:
    """`key=value,key=value` as a map; InputError naming the part that is not."""
    labels = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        if not re.fullmatch(r"[^=]+=[^=]*", part):
            raise InputError(f"label {part!r}: expected key=value,key=value")
        key, _, value = part.partition("=")
        labels[key.strip()] = value.strip()
    return labels


def _own_version() -> str:
    try:
        return version("mlmodelscope")
    except PackageNotFoundError:
        return "0+unknown"
