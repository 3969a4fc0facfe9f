"""Consumes facts, spans and metrics; stores them; acknowledges only then; answers questions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bus import subjects
from bus.connection import Bus
from bus.consumer import Consumer, Received
from bus.errors import BusError, StoreError
from bus.groups import Groups
from bus.holding import USER_BYTES, USER_SPANS, read_most
from bus.service import Service
from bus.system import about
from collector.answers import Answers
from collector.assembler import Assembler
from collector.intake import Intake
from collector.otlp_push import OtlpPush
from collector.store import Store, StoreAwayError
from collector.usage import Usages

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
BATCH = 64
ACK_WAIT_S = 10.0
"""After so long, what a collector that died had in its hands is given to another."""
LOOK_S = 5.0
HOUR_S = 3_600.0
DAY_NS = 86_400 * 1_000_000_000


@dataclass(frozen=True)
class Settings:
    """What a collector needs to know.

    grace_s: how long an ended evaluation's missing spans are waited for. keep_days: how long
    evaluations are kept; 0 is for ever. otlp_endpoint: where every timeline is pushed to as
    OTLP. otlp_allow: a comma list of the hosts that a request may name for its own. groups: a
    file of who is in which group (bus/groups.py), for what is private. user_bytes, user_spans:
    what one user may hold, as the coordinators' settings of the same names have it; 0: no limit.
    """

    mongo_url: str
    database: str = "mlmodelscope"
    grace_s: float = 5.0
    keep_days: float = 0.0
    otlp_endpoint: str = ""
    otlp_allow: str = ""
    groups: str = ""
    user_bytes: str = USER_BYTES
    user_spans: int = USER_SPANS


class Collector(Service):
    """Any number of them share the work: each message is stored by one, each question too."""

    name = "collector"

    def __init__(self, bus: Bus, settings: Settings) -> None:
        super().__init__()
        self._bus, self._settings = bus, settings
        self._store = Store(settings.mongo_url, settings.database)
        self._push = OtlpPush(
            self._store, self.counters, settings.otlp_endpoint, settings.otlp_allow
        )
        self._assembler = Assembler(self._store, self.counters, self._push)
        most = read_most(settings.user_bytes, settings.user_spans)
        self._usages = Usages(self._store, most)
        self._intake = Intake(
            self._store,
            self.counters,
            self._usages,
            grace_s=settings.grace_s,
            ended=self._assembler.ended,
        )
        groups = Groups(settings.groups)
        self._answers = Answers(self._store, self._assembler, groups, self._usages)
        self._stopping = asyncio.Event()
        self._consumers: list[Consumer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._away = "starting"

    async def start(self) -> None:
        """Ready when the indexes are made; without MongoDB it comes up and keeps trying."""
        await self._look()
        await self._usages.start(self._bus)
        self._tasks.append(asyncio.create_task(self._usages.run(self._stopping)))
        self._tasks.append(asyncio.create_task(self._keep_looking()))
        self._tasks.append(asyncio.create_task(self._assembler.run()))
        self._tasks.append(asyncio.create_task(self._push.run()))
        if self._settings.keep_days > 0:
            self._tasks.append(asyncio.create_task(self._expire()))
        await self._consume(
            subjects.FACTS_STREAM, subjects.COLLECTOR_FACTS, [subjects.FACTS], self._intake.facts
        )
        await self._consume(
            subjects.SPANS_STREAM,
            subjects.COLLECTOR_SPANS,
            [subjects.SPANS, subjects.METRICS],
            self._intake.recorded,
        )
        await self._bus.serve(
            self.name,
            {
                subjects.HISTORY: self._answers.history,
                subjects.EVALUATION: self._answers.evaluation,
                subjects.TIMELINE: self._answers.timeline,
                subjects.DELETE: self._answers.delete,
                subjects.USAGE: self._usages.answer,
                subjects.CLOCK: self._answers.clock,
            },
            lambda: about(self),
        )

    async def stop(self) -> None:
        """Store what is in hand; what cannot be stored now goes back to its stream."""
        self._stopping.set()
        for consumer in self._consumers:
            await consumer.stop()
        self._assembler.stop()
        self._push.stop()
        # Not cancelled: a driver that is cut off in the middle of a call leaves its socket open.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._usages.stop()
        except BusError as exc:
            log.info("usage not told", extra={"error": str(exc)})
        await self._store.close()

    def not_ready(self) -> str:
        """Why nothing can be stored now, or nothing."""
        return self._away if self._bus.connected else "no connection to the bus"

    def status(self) -> dict[str, object]:
        """What is shown at /status."""
        return {
            "database": self._settings.database,
            "timelines_due": len(self._assembler.pending),
            "otlp": self._push.status(),
        }

    async def _consume(
        self,
        stream: str,
        durable: str,
        filters: list[str],
        write: Callable[[list[Received]], Awaitable[None]],
    ) -> None:
        async def take(received: list[Received]) -> None:
            await self._patiently(received, write)
            for one in received:
                await one.ack()

        consumer = await self._bus.consume(
            stream, durable, filters, take, batch=BATCH, ack_wait_s=ACK_WAIT_S
        )
        self._consumers.append(consumer)

    async def _patiently(
        self, received: list[Received], write: Callable[[list[Received]], Awaitable[None]]
    ) -> None:
        """Write; while MongoDB is away, hold on to the batch and try again."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await write(received)
                self._away = ""
                return
            except StoreAwayError as exc:
                self._away = str(exc)
                self.counters["retries"] += 1
                log.warning("%s", exc)
                if await self._stopped_within(pause_s):
                    raise
                for one in received:
                    await one.in_progress()
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except StoreError as exc:
                if len(received) > 1:  # one of them may be at fault: the others are to be stored
                    for one in received:
                        await self._patiently([one], write)
                    return
                # What the database refuses today it refuses tomorrow: it must not stop a stream.
                self.counters["refused"] += 1
                log.warning("refused", extra={"subject": received[0].subject, "error": str(exc)})
                await received[0].bury(str(exc))
                return

    async def _look(self) -> None:
        """Whether MongoDB is there; the indexes, which are made the first time, are asked for."""
        try:
            await self._store.prepare()
            self._away = ""
        except StoreError as exc:
            if str(exc) != self._away:
                log.warning("%s", exc)
            self._away = str(exc)

    async def _keep_looking(self) -> None:
        while not await self._stopped_within(LOOK_S):
            await self._look()

    async def _expire(self) -> None:
        while not self._stopping.is_set():
            before_ns = time.time_ns() - int(self._settings.keep_days * DAY_NS)
            try:
                for evaluation_id in await self._store.expired(before_ns):
                    self._usages.freed(await self._store.forget(evaluation_id))
                    self.counters["expired"] += 1
            except StoreError as exc:
                log.warning("%s", exc)
            await self._stopped_within(HOUR_S)

    async def _stopped_within(self, pause_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        except TimeoutError:
            return False
        return True
