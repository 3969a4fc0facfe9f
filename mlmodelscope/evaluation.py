"""Evaluation: one that was asked for, listened to until its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from analysis.summary import Result, summarize
from bus import subjects
from bus.clock_watch import ClockWatch
from bus.codec import decode
from bus.connection import Bus, Subscription
from bus.errors import BusError, EvaluationError, MLModelScopeError, NoAnswerError
from bus.messages import (
    Accepted,
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    Facts,
    Level,
    ListFacts,
    Message,
    Queue,
)
from bus.senders import forged
from collector.timeline import Timeline
from mlmodelscope.own_spans import Metric, OwnSpans
from mlmodelscope.request_span import RequestSpan

if TYPE_CHECKING:
    from mlmodelscope.client import Client

SILENCE_S = 2.0
"""After so long without a fact, ask the stream whether one was missed."""
CATCH_UPS = 3
LEADERLESS_S = 20.0
"""How long the end of an evaluation waits for a stream that cannot be read."""
MARGIN_S = 60.0
"""Beyond the timeouts of all attempts, how long to wait for the coordinators' last word."""


class Evaluation:
    """An evaluation on its way: iterate over its facts, or await its result.

    While its jobs wait for a node, iterating gives a Queue every two seconds: their places in it.
    """

    def __init__(self, bus: Bus, client: Client, span: RequestSpan, watch: ClockWatch) -> None:
        request = span.request
        self.evaluation_id = request.evaluation_id
        self.accepted: Accepted | None = None
        self._bus, self._client, self._request, self._span = bus, client, request, span
        self._facts: dict[tuple[str, int, int], Message] = {}
        self._fresh: asyncio.Queue[Message] = asyncio.Queue()
        self._end: EvaluationFinished | EvaluationFailed | None = None
        self._listening: Subscription | None = None
        self._watch, self._own = watch, OwnSpans(request, watch, self._own_soon)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempts_s = request.timeout_s * request.max_attempts + MARGIN_S
        self._began_s = time.monotonic()
        self._deadline_s = self._began_s + self._attempts_s

    async def listen(self) -> None:
        """Hear the evaluation's facts; before it is asked for, so that none is missed."""

        async def heard(subject: str, message: Message) -> None:
            if not forged(subject, message):
                self._hear(message)

        if self._own.records("application"):
            self._later(self._watch.refresh())
        subject = subjects.facts_of(self.evaluation_id, self._request.user)
        self._listening = await self._bus.listen(subject, heard)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    fact = await self._fresh.get()
            except TimeoutError:
                await self._catch_up()
                if self._fresh.empty() and (place := await self._place()) is not None:
                    self._deadline_s = time.monotonic() + self._attempts_s
                    yield place
                    continue
                if self._fresh.empty() and time.monotonic() > self._deadline_s:
                    raise self._gave_up() from None
                continue
            if isinstance(fact, EvaluationFinished | EvaluationFailed):
                await self._complete(fact)
                while not self._fresh.empty():
                    yield self._fresh.get_nowait()
                yield fact
                return
            yield fact

    async def result(self) -> Result:
        """Wait for the end. Raises EvaluationError when the evaluation failed."""
        if self._listening is not None:
            async for _ in self:
                pass
        if isinstance(self._end, EvaluationFailed):
            raise EvaluationError(self.evaluation_id, self._end.kind, self._end.text)
        return summarize(self.facts)

    @property
    def facts(self) -> list[Message]:
        """Every fact heard of the attempts that count, in order, the end last."""
        winners = {job.job_id: job.attempt for job in self._end.jobs} if self._end else None
        facts = [
            fact
            for (job_id, attempt, _), fact in sorted(self._facts.items(), key=lambda pair: pair[0])
            if winners is None or winners.get(job_id) == attempt
        ]
        return [*facts, self._end] if self._end else facts

    async def timeline(self) -> Timeline:
        """The assembled timeline, from the collector."""
        if self._listening is not None:
            await self.result()
        return await self._client.timeline(self.evaluation_id)

    # ---------------------------------------------------------------- spans of your own

    def span(
        self, name: str, *, level: Level = "application", **tags: Any
    ) -> AbstractContextManager[dict[str, Any]]:
        """A span of your own around a block: `with evaluation.span("my step", cost_usd=0.1):`.

        Its parent is the span of yours around it, in this task or thread, else the request. The
        tags that are given, and those that are put into the dict that the block gets, keep their
        types. It is recorded where the evaluation looks at its level; InputError for a tag that
        cannot travel.
        """
        return self._own.span(name, level, tags)

    def add_span(
        self,
        name: str,
        start_ns: int,
        duration_ns: int,
        *,
        level: Level = "application",
        clock: str = "",
        **tags: Any,
    ) -> None:
        """A span whose times are known: epoch nanoseconds, or a clock's own that has a name.

        What runs in simulated time lies on a track of its own in the timeline, named for `clock`.
        """
        self._own.add(name, (start_ns, duration_ns), level, clock, tags)

    def metric(self, name: str, unit: str = "", *, level: Level = "application") -> Metric:
        """A quantity of your own over time: `evaluation.metric("queue_length").record(3)`."""
        return self._own.metric(name, unit, level)

    async def flush(self) -> None:
        """Send the spans and samples of your own that were recorded so far."""
        await self._own.flush(self._bus)

    async def leave(self) -> None:
        """Send what is left and wait for it: it is about to be looked at, or the bus to be left."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.flush()

    def _own_soon(self) -> None:
        """There is enough to send, or nobody else will: from whichever thread."""
        try:
            self._loop.call_soon_threadsafe(lambda: self._later(self.flush()))
        except RuntimeError:
            return  # the loop has ended: nobody is left to send it

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---------------------------------------------------------------- its end

    async def cancel(self) -> None:
        """Stop it."""
        await self._client.cancel(self.evaluation_id)

    async def close(self) -> None:
        """Hear no more."""
        if self._listening is not None:
            await self._listening.stop()
            self._listening = None

    def _hear(self, message: Message) -> None:
        if isinstance(message, EvaluationFinished | EvaluationFailed):
            if self._end is None:
                self._end = message
                self._fresh.put_nowait(message)
        elif isinstance(message, Fact):
            key = (message.job_id, message.attempt, message.sequence)
            if key not in self._facts:
                self._facts[key] = message
                self._fresh.put_nowait(message)

    async def _catch_up(self) -> bool:
        """What was said while we were not connected lies in the stream; whether it was read."""
        if not self._bus.connected:
            return False
        name, user = self.evaluation_id, self._request.user
        first = 0
        try:
            while True:
                request = ListFacts(evaluation_id=name, user=user, first=first)
                page = await self._bus.request(subjects.TOLD, request, Facts)
                for data in page.facts:
                    self._hear(decode(data))
                first = page.next_first
                if not first:
                    return True
        except BusError:
            return False  # a cluster without a leader, say: asked again, until the deadline

    async def _place(self) -> Queue | None:
        """Where its jobs wait for their turn, if they do: that is no silence."""
        try:
            queue = await self._client.queue(self.evaluation_id)
        except MLModelScopeError:
            return None
        return queue if any(job.position for job in queue.jobs) else None

    async def _complete(self, end: EvaluationFinished | EvaluationFailed) -> None:
        def heard(job_id: str, attempt: int) -> int:
            return sum(1 for job, tried, _ in self._facts if (job, tried) == (job_id, attempt))

        tries, until_s = CATCH_UPS, time.monotonic() + LEADERLESS_S
        while tries and any(heard(job.job_id, job.attempt) < job.facts for job in end.jobs):
            if await self._catch_up():
                tries -= 1
            elif time.monotonic() > until_s:
                break
            else:
                await asyncio.sleep(0.25)
        ended_ns = time.time_ns()
        await self._own.end(self._bus)
        await self._tell_request(ended_ns)
        await self.close()

    async def _tell_request(self, ended_ns: int) -> None:
        """The request's own span: who has the result may ask for the timeline next."""
        if self._own.records("application"):
            await self._watch.at_the_end(self._began_s)
        await self._span.end(self._bus, self._watch, ended_ns)

    def _gave_up(self) -> NoAnswerError:
        return NoAnswerError(
            subjects.facts_of(self.evaluation_id),
            self._attempts_s,
            "the evaluation was accepted and never ended; is a coordinator still running?",
        )
