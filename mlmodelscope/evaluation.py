"""Evaluation: one that was asked for, listened to until its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from analysis.summary import Result, summarize
from bus import subjects
from bus.connection import Bus, Subscription
from bus.errors import BusError, EvaluationError, NoAnswerError
from bus.messages import (
    Accepted,
    Evaluate,
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    Message,
)
from collector.timeline import Timeline
from mlmodelscope.request_span import RequestSpan

if TYPE_CHECKING:
    from mlmodelscope.client import Client

SILENCE_S = 2.0
"""After so long without a fact, ask the stream whether one was missed."""
CATCH_UPS = 3
MARGIN_S = 60.0
"""Beyond the timeouts of all attempts, how long to wait for the coordinators' last word."""


class Evaluation:
    """An evaluation on its way: iterate over its facts, or await its result."""

    def __init__(self, bus: Bus, client: Client, request: Evaluate, span: RequestSpan) -> None:
        self.evaluation_id = request.evaluation_id
        self.accepted: Accepted | None = None
        self._bus, self._client, self._request, self._span = bus, client, request, span
        self._facts: dict[tuple[str, int, int], Message] = {}
        self._fresh: asyncio.Queue[Message] = asyncio.Queue()
        self._end: EvaluationFinished | EvaluationFailed | None = None
        self._listening: Subscription | None = None
        attempts_s = request.timeout_s * request.max_attempts + MARGIN_S
        self._deadline_s = time.monotonic() + attempts_s

    async def listen(self) -> None:
        """Hear the evaluation's facts; before it is asked for, so that none is missed."""

        async def heard(_: str, message: Message) -> None:
            self._hear(message)

        subject = subjects.facts_of(self.evaluation_id)
        self._listening = await self._bus.listen(subject, heard)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                fact = await asyncio.wait_for(self._fresh.get(), SILENCE_S)
            except TimeoutError:
                await self._catch_up()
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

    async def _catch_up(self) -> None:
        """What was said while we were not connected lies in the stream."""
        if not self._bus.connected:
            return
        subject = subjects.facts_of(self.evaluation_id)
        try:
            for message in await self._bus.replay(subjects.FACTS_STREAM, subject):
                self._hear(message)
        except BusError:
            return  # a cluster without a leader, say: asked again, until the deadline

    async def _complete(self, end: EvaluationFinished | EvaluationFailed) -> None:
        def heard(job_id: str, attempt: int) -> int:
            return sum(1 for job, tried, _ in self._facts if (job, tried) == (job_id, attempt))

        for _ in range(CATCH_UPS):
            if all(heard(job.job_id, job.attempt) >= job.facts for job in end.jobs):
                break
            await self._catch_up()
        await self._span.end(self._bus)
        await self.close()

    def _gave_up(self) -> NoAnswerError:
        waited_s = self._request.timeout_s * self._request.max_attempts + MARGIN_S
        return NoAnswerError(
            subjects.facts_of(self.evaluation_id),
            waited_s,
            "the evaluation was accepted and never ended; is a coordinator still running?",
        )
