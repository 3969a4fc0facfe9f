"""Tells an attempt's facts, spans and samples to the bus: in order, retried, losses counted."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any, TypeVar

from bus import subjects
from bus.codec import encode_rows, pack_rows
from bus.connection import Bus
from bus.errors import BusError
from bus.messages import (
    LEVELS,
    Clock,
    Fact,
    Job,
    Level,
    Message,
    MetricsRecorded,
    Span,
    SpansRecorded,
)

F = TypeVar("F", bound=Fact)
log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long a fact or batch is told again while the bus is away or its stream is full."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Values of one quantity over time; run -1: of the whole job."""

    name: str
    unit: str
    times_ns: list[int]
    values: list[float]
    level: Level = "system"
    run: int = -1


class Teller:
    """The facts of one attempt, numbered; and its spans and samples, batch by batch."""

    def __init__(self, bus: Bus, job: Job, clock: Clock) -> None:
        self._bus, self._job, self._clock = bus, job, clock
        self._sequence = 0
        self._waiting: list[asyncio.Task[bool]] = []
        self._metrics = 0
        self.spans: dict[str, int] = {}
        self.batches: dict[str, int] = {}
        self.lost_spans = 0

    @property
    def bus_url(self) -> str:
        """Where the bus is."""
        return self._bus.url

    async def tell(self, of: type[F], /, **fields: Any) -> F:
        """Tell a fact; return it. It is on its way in order; `settle` waits for the rest."""
        job = self._job
        fact = of(
            evaluation_id=job.evaluation_id,
            job_id=job.job_id,
            attempt=job.attempt,
            node_id=job.node_id,
            sequence=self._sequence,
            at_ns=time.time_ns(),
            **fields,
        )
        self._sequence += 1
        subject = subjects.fact(job.node_id, job.user, job.evaluation_id, of.__name__)
        await self._send(subject, fact, f"{job.job_id}/{job.attempt}/{fact.sequence}")
        return fact

    async def spans_packed(self, source: str, frame: dict[str, Any]) -> None:
        """Pass on a batch that a worker measured: its rows are compressed, never opened."""
        for level, count in frame["levels"].items():
            self.spans[level] = self.spans.get(level, 0) + count
        number = self.batches.get(source, 0)
        self.batches[source] = number + 1
        job = self._job
        message = SpansRecorded(
            evaluation_id=job.evaluation_id,
            job_id=job.job_id,
            attempt=job.attempt,
            node_id=job.node_id,
            source=source,
            batch=number,
            run=frame["run"],
            levels=frame["levels"],
            count=frame["count"],
            first_start_ns=frame["first_start_ns"],
            last_end_ns=frame["last_end_ns"],
            lost=frame["lost"],
            clock=self._clock,
            block=pack_rows(frame["block"]),
        )
        subject = subjects.span(job.node_id, job.user, job.evaluation_id)
        dedupe = f"{job.job_id}/{job.attempt}/{source}/{number}"
        await self._send(subject, message, dedupe, spans=message.count)

    async def spans_made(self, source: str, spans: list[Span]) -> None:
        """Tell spans of this process."""
        if spans:
            levels: dict[str, int] = {}
            for span in spans:
                name = LEVELS[span.level]
                levels[name] = levels.get(name, 0) + 1
            frame = {
                "run": -1,
                "levels": levels,
                "count": len(spans),
                "first_start_ns": min(span.start_ns for span in spans),
                "last_end_ns": max(span.start_ns + span.duration_ns for span in spans),
                "lost": 0,
                "block": encode_rows(spans),
            }
            await self.spans_packed(source, frame)

    async def samples(self, samples: Samples, source: str = "node") -> None:
        """Tell samples of one quantity."""
        if not samples.times_ns:
            return
        job = self._job
        message = MetricsRecorded(
            evaluation_id=job.evaluation_id,
            job_id=job.job_id,
            attempt=job.attempt,
            node_id=job.node_id,
            source=source,
            batch=self._metrics,
            run=samples.run,
            name=samples.name,
            unit=samples.unit,
            level=samples.level,
            times_ns=samples.times_ns,
            values=samples.values,
            clock=self._clock,
        )
        self._metrics += 1
        subject = subjects.metric(job.node_id, job.user, job.evaluation_id)
        await self._send(subject, message, f"{job.job_id}/{job.attempt}/metric/{message.batch}")

    async def settle(self) -> None:
        """Wait until everything told so far is in its stream, or was given up and counted."""
        waiting, self._waiting = self._waiting, []
        if waiting and not all(await asyncio.gather(*waiting)):
            log.warning("not everything could be told", extra={"job_id": self._job.job_id})

    async def _send(self, subject: str, message: Message, dedupe: str, spans: int = 0) -> None:
        try:
            sent = await self._bus.record_soon(subject, message, dedupe=dedupe)
        except BusError:
            sent = None
        again = self._confirm(sent, subject, message, dedupe, spans)
        self._waiting.append(asyncio.create_task(again))

    async def _confirm(
        self,
        sent: asyncio.Future[None] | None,
        subject: str,
        message: Message,
        dedupe: str,
        spans: int,
    ) -> bool:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                if sent is None:
                    await self._bus.record(subject, message, dedupe=dedupe)
                else:
                    await sent
                return True
            except BusError as exc:
                sent = None
                if time.monotonic() > deadline_s:
                    self.lost_spans += spans
                    log.error("given up", extra={"subject": subject, "error": str(exc)})
                    return False
                await asyncio.sleep(0.25)
