"""Tells an attempt's facts, spans and samples to the bus: in order, retried, losses counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, TypeVar

from bus import subjects
from bus.clock_watch import ClockWatch
from bus.codec import encode, encode_rows, pack_rows
from bus.connection import Bus
from bus.errors import BusError
from bus.messages import (
    LEVELS,
    Fact,
    Job,
    Level,
    Message,
    MetricsRecorded,
    Span,
    SpansRecorded,
)
from predictor_node.spill import Spill, Spilled

F = TypeVar("F", bound=Fact)
log = logging.getLogger(__name__)

UNKNOWN = "unknown"
FACT_PATIENCE_S = 900.0
"""An attempt whose end is never told would be waited for until its client gives up."""
PATIENCE_S = 60.0
"""How long a batch is told again where nothing can be spilled."""
HURRIED_S = 3.0
SPILL_PATIENCE_S = 2.0
"""How long a job waits at its end for what it has spilled to be sent."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Values of one quantity over time; run -1: of the whole job."""

    name: str
    unit: str
    times_ns: list[int]
    values: list[float]
    level: Level = "system"
    run: int = -1


MOST_SPANS = 50_000_000
"""Of one job, unless the node's settings say otherwise: beyond it they are dropped, and counted."""


class Teller:
    """The facts of one attempt, numbered; and its spans and samples, batch by batch."""

    def __init__(
        self, bus: Bus, job: Job, watch: ClockWatch | None = None, spill: Spill | None = None
    ) -> None:
        self._bus, self._job, self._spill = bus, job, spill
        self._watch = watch or ClockWatch(bus)
        self._whose = f"{job.job_id}/{job.attempt}"
        self._began_s = time.monotonic()
        self._sequence = 0
        self._waiting: set[asyncio.Task[bool]] = set()
        self._untold = 0
        self._told_spans = 0
        self.most_spans = MOST_SPANS
        self.patience_s = FACT_PATIENCE_S
        """How long a fact is told again while the bus is away: shorter, once the node is to end."""
        self._metrics = 0
        self.batches: dict[str, int] = {}
        self.emitted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """What was to be told: source -> level -> spans."""
        self.dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """What was lost where it was made, or given up here: source -> level -> spans."""

    @property
    def spans(self) -> dict[str, int]:
        """How many spans were to be told, by level."""
        return dict(sum(self.emitted.values(), Counter[str]()))

    @property
    def lost_spans(self) -> int:
        """How many were given up or never came."""
        return sum(levels.total() for levels in self.dropped.values())

    @property
    def spilled_spans(self) -> int:
        """How many lie in files of this node."""
        return self._spill.waiting(self._whose) if self._spill is not None else 0

    @property
    def bus_url(self) -> str:
        """Where the bus is."""
        return self._bus.url

    def now_ns(self) -> int:
        """The time of the attempt: a clock that is set in the middle of it does not move it."""
        return self._watch.steady.now_ns()

    def at_node(self, reference_ns: int) -> int:
        """A time of the reference's clock as this node's, as far as its offset is known."""
        return reference_ns - self._watch.latest.offset_ns

    async def tell(self, of: type[F], /, **fields: Any) -> F:
        """Tell a fact; return it. It is on its way in order; `settle` waits for the rest."""
        job = self._job
        fact = of(
            evaluation_id=job.evaluation_id,
            job_id=job.job_id,
            attempt=job.attempt,
            node_id=job.node_id,
            sequence=self._sequence,
            at_ns=self.now_ns(),
            **fields,
        )
        self._sequence += 1
        subject = subjects.fact(job.node_id, job.user, job.evaluation_id, of.__name__)
        await self._send(subject, fact, f"{job.job_id}/{job.attempt}/{fact.sequence}")
        return fact

    async def spans_packed(self, source: str, frame: dict[str, Any]) -> None:
        """Pass on a batch that a worker measured: its rows are compressed, never opened."""
        self.emitted[source].update(frame["levels"])
        lost = Counter(frame.get("dropped") or ({UNKNOWN: frame["lost"]} if frame["lost"] else {}))
        self.dropped[source] += lost
        self._told_spans += frame["count"]
        if self._told_spans > self.most_spans:
            self.dropped[source].update(frame["levels"])
            return
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
            dropped=dict(lost),
            clock=self._watch.latest,
            clocks=frame.get("clocks", []),
            block=pack_rows(frame["block"]),
        )
        subject = subjects.span(job.node_id, job.user, job.evaluation_id)
        await self._send(subject, message, f"{self._whose}/{source}/{number}")

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
                "clocks": self._watch.samples[:-1],
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
            clock=self._watch.latest,
        )
        self._metrics += 1
        subject = subjects.metric(job.node_id, job.user, job.evaluation_id)
        await self._send(subject, message, f"{job.job_id}/{job.attempt}/metric/{message.batch}")

    async def settle(self) -> None:
        """Wait until everything told so far is in its stream, spilled, or given up and counted."""
        while self._waiting:
            await asyncio.wait(self._waiting)
        if self._spill is not None:
            await self._spill.settle(self._whose, SPILL_PATIENCE_S)
        if self._untold:
            log.warning("not everything could be told", extra={"job_id": self._job.job_id})

    def hurry(self) -> None:
        """The node is to end: what cannot be told within moments never will be."""
        self.patience_s = HURRIED_S

    async def measure_clock(self) -> None:
        """Before a long job's last words: how far the clock has moved since it began."""
        await self._watch.at_the_end(self._began_s)

    async def _send(self, subject: str, message: Message, dedupe: str) -> None:
        may_spill = self._spill is not None and not isinstance(message, Fact)
        if may_spill and self._spill is not None and self._spill.active:
            self._put_aside(subject, message, dedupe)
            return
        try:
            sent = await self._bus.record_soon(subject, message, dedupe=dedupe)
        except BusError as exc:
            if may_spill:
                log.debug("not sent", extra={"subject": subject, "error": str(exc)})
                self._put_aside(subject, message, dedupe)
                return
            sent = None
        again = asyncio.create_task(self._confirm(sent, subject, message, dedupe))
        self._waiting.add(again)
        again.add_done_callback(self._waiting.discard)

    async def _confirm(
        self, sent: asyncio.Future[None] | None, subject: str, message: Message, dedupe: str
    ) -> bool:
        began_s = time.monotonic()
        while True:
            try:
                if sent is None:
                    await self._bus.record(subject, message, dedupe=dedupe)
                else:
                    await sent
                return True
            except BusError as exc:
                sent = None
                if self._spill is not None and not isinstance(message, Fact):
                    return self._put_aside(subject, message, dedupe)
                patience_s = min(
                    self.patience_s, FACT_PATIENCE_S if isinstance(message, Fact) else PATIENCE_S
                )
                if time.monotonic() - began_s > patience_s:
                    self._give_up(message)
                    log.error("given up", extra={"subject": subject, "error": str(exc)})
                    return False
                await asyncio.sleep(0.25)

    def _put_aside(self, subject: str, message: Message, dedupe: str) -> bool:
        """Into a file of this node, if there is room."""
        assert self._spill is not None
        spans = message.count if isinstance(message, SpansRecorded) else 0
        if self._spill.keep(Spilled(subject, dedupe, encode(message)), self._whose, spans):
            return True
        self._give_up(message)
        return False

    def _give_up(self, message: Message) -> None:
        self._untold += 1
        if isinstance(message, SpansRecorded):
            self.dropped[message.source].update(message.levels)
