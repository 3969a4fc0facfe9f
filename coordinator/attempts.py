"""What becomes of accepted work: published, finished, lost, tried again, ended, by whoever sees it.

Any number of coordinators do all of this at once: every move is a compare-and-set, and what is
said twice carries the same id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, MLModelScopeError, StaleError
from bus.messages import (
    Accepted,
    Evaluate,
    EvaluationFailed,
    EvaluationFinished,
    EvaluationRecord,
    Fact,
    JobFailed,
    JobFinished,
    JobOutcome,
    JobRecord,
)
from coordinator import jobs
from coordinator.admission import Plan, make_job
from coordinator.board import Board
from coordinator.constraints import explain, misfits, survey
from coordinator.placement import Choice, choose
from coordinator.ran import Outlooks, Ran
from coordinator.registry import Registry

log = logging.getLogger(__name__)

AHEAD = 2
"""How many jobs a node is given for each of its slots: one to run, and one to begin at once when
that has ended. All others wait with the coordinators, where their order can still change."""


class Attempts:
    """The moves of jobs and evaluations, with what each of them says on the bus."""

    def __init__(
        self, bus: Bus, board: Board, seen: tuple[Registry, Ran], counters: Counter[str]
    ) -> None:
        self._bus, self._board = bus, board
        self._registry, self._ran = seen
        self._counters = counters
        self.ahead = AHEAD

    @property
    def outlooks(self) -> Outlooks:
        """What placing goes by, now."""
        return Outlooks(self._board.backlog_s, self._ran)

    # ---------------------------------------------------------------- placing

    async def place(
        self, request: Evaluate, plan: Plan, now_ns: int
    ) -> tuple[EvaluationRecord, list[str] | None]:
        """Write the evaluation, then its jobs: from here on it cannot be forgotten.

        Returns the evaluation, and which of its jobs were published here and now; None: it was
        there already.
        """
        written = [
            self._written(request, each, number, now_ns) for number, each in enumerate(plan.each())
        ]
        record = EvaluationRecord(
            request=request,
            model=plan.manifest.name,
            model_version=plan.manifest.version,
            jobs=[jobs.placed(one.job) for one in written],
            accepted_ns=now_ns,
            objects=plan.objects,
        )
        self._board.inputs.took(record)
        try:
            await self._board.create_evaluation(record)
            published = await asyncio.gather(*map(self.create_job, written))
        except StaleError:
            # The same request came twice at once: the other one's answer is the answer.
            there = await self._board.evaluation(request.evaluation_id) or record
            if there.state != "running":
                self._board.inputs.ended(request.evaluation_id)
            return there, None
        except BusError:
            self._board.inputs.ended(request.evaluation_id)
            raise
        finally:
            for one in written:
                self._board.forget(one.job.job_id)
        return record, [
            one.job.job_id for one, done in zip(written, published, strict=True) if done
        ]

    async def place_job(self, request: Evaluate, plan: Plan, number: int, now_ns: int) -> None:
        """Write one job of an evaluation that is written already."""
        record = self._written(request, plan, number, now_ns)
        try:
            await self.create_job(record)
        finally:
            self._board.forget(record.job.job_id)

    def _written(self, request: Evaluate, plan: Plan, number: int, now_ns: int) -> JobRecord:
        job = make_job(request, plan, number, now_ns)
        record = JobRecord(
            job=job,
            node_id=job.node_id,
            changed_ns=now_ns,
            held=self.is_full(job.node_id),
            priority=request.priority,
            expected_s=plan.choice.expected_s,
        )
        self._board.intend(record)
        return record

    def is_full(self, node_id: str) -> bool:
        """Whether a node has enough to do: what comes now waits here for its turn."""
        if node_id in self._board.held:
            return True
        node = self._registry.get(node_id)
        return self._board.begun(node_id) >= self.ahead * (node.slots if node else 1)

    async def create_job(self, record: JobRecord) -> bool:
        """Write a job and, unless it is held, put it into its node's queue; whether it lies there
        now."""
        try:
            await self._board.create_job(record)
        except StaleError:
            return False  # another coordinator was quicker
        self._counters["placed"] += 1
        if record.held:
            return False
        try:
            await self.publish(record)
        except BusError as exc:
            # It is written down, so the sweep publishes it.
            log.warning("not published", extra={"job_id": record.job.job_id, "error": str(exc)})
            return False
        return True

    async def begin(self, job_id: str, choice: Choice | None = None) -> bool:
        """A held job's turn has come, on its node or on the one of `choice`; False: it was moved
        meanwhile."""

        def change(record: JobRecord) -> JobRecord | None:
            if not record.held or record.state != "queued":
                return None
            if choice is None or choice.node_id == record.node_id:
                return jobs.release(record, time.time_ns())
            return jobs.rebind(record, choice, time.time_ns(), held=False)

        moved = await self._board.move_job(job_id, change)
        if moved is None:
            return False
        await self.publish(moved)
        await self.mark_published(job_id, moved.attempt)
        return True

    async def publish(self, record: JobRecord) -> None:
        """Put the current attempt into its node's queue; a second time is harmless."""
        dedupe = f"{record.job.job_id}.{record.attempt}"
        await self._bus.record(subjects.job(record.node_id), record.job, dedupe=dedupe)

    async def mark_published(self, job_id: str, attempt: int) -> None:
        """Write down that an attempt lies in its queue, unless its node has it already."""
        await self._board.move_job(job_id, lambda record: jobs.mark_published(record, attempt))

    # ---------------------------------------------------------------- ending

    async def heard(self, fact: JobFinished | JobFailed) -> None:
        """A node ended a job: accept it if it is the attempt that counts."""
        if isinstance(fact, JobFailed) and fact.kind in jobs.RETRIED:
            why = f"attempt {fact.attempt} on {fact.node_id} failed: {fact.text}"
            await self.lose(fact.job_id, fact.attempt, fact.kind, why)
            return

        def change(record: JobRecord) -> JobRecord | None:
            if record.state not in jobs.OPEN or not jobs.concerns(record, fact):
                return None
            if isinstance(fact, JobFailed):
                return jobs.fail(record, fact.kind, fact.text, time.time_ns())
            return jobs.finish(record, time.time_ns())

        moved = await self._board.move_job(fact.job_id, change)
        if moved is None:
            record = await self._board.job(fact.job_id)
            if record is None or not jobs.concerns(record, fact):
                self._counters["stale_facts"] += 1
                return
        # Also for a job that had ended: whoever moved it may have died before saying so.
        await self.conclude(fact.evaluation_id, {fact.job_id: fact.sequence + 1}, moved)

    async def conclude(
        self, evaluation_id: str, told: Mapping[str, int], moved: JobRecord | None = None
    ) -> None:
        """End an evaluation whose jobs have all ended.

        told: how many facts a job told; moved: one that was just written, and need not be read.
        """
        record = await self._board.evaluation(evaluation_id)
        if record is None or record.state != "running":
            return
        found = await asyncio.gather(*(self._as_written(p.job_id, moved) for p in record.jobs))
        now_ns = time.time_ns()
        ended = jobs.end(record, [job for job in found if job is not None], now_ns)
        if ended is None:
            return
        if any(job is not None and job.job.job_id not in told for job in found):
            told = {**await self._facts_told(evaluation_id, found), **told}
        outcomes = [
            jobs.outcome(job, told.get(job.job.job_id, 0)) for job in found if job is not None
        ]
        await self.say_ended(ended, outcomes)

    async def _as_written(self, job_id: str, moved: JobRecord | None) -> JobRecord | None:
        return moved if moved and moved.job.job_id == job_id else await self._board.job(job_id)

    async def say_ended(self, ended: EvaluationRecord, outcomes: list[JobOutcome]) -> None:
        """Tell everyone that an evaluation has ended, then write it down."""
        evaluation_id = ended.request.evaluation_id
        message: EvaluationFinished | EvaluationFailed
        asked = {
            "traceparent": ended.request.traceparent,
            "otlp_endpoint": ended.request.otlp_endpoint,
        }
        if ended.state == "finished":
            message = EvaluationFinished(
                evaluation_id=evaluation_id, at_ns=ended.ended_ns, jobs=outcomes, **asked
            )
        else:
            message = EvaluationFailed(
                evaluation_id=evaluation_id,
                at_ns=ended.ended_ns,
                kind=ended.kind,
                text=ended.text,
                jobs=outcomes,
                **asked,
            )
        subject = subjects.fact(
            "coordinator", ended.request.user, evaluation_id, type(message).__name__
        )
        await self._bus.record(subject, message, dedupe=f"{evaluation_id}.ended")
        moved = await self._board.move_evaluation(
            evaluation_id, lambda record: ended if record.state == "running" else None
        )
        if moved is not None:
            self._counters[ended.state] += 1

    async def _facts_told(
        self, evaluation_id: str, found: Iterable[JobRecord | None]
    ) -> dict[str, int]:
        """How many facts each job's current attempt has told, from the stream itself."""
        current = {job.job.job_id: job.attempt for job in found if job is not None}
        told: Counter[str] = Counter()
        try:
            facts = await self._bus.replay(subjects.FACTS_STREAM, subjects.facts_of(evaluation_id))
        except MLModelScopeError as exc:
            # A number in the outcome is not worth an evaluation that never ends.
            log.warning("facts not counted", extra={"id": evaluation_id, "error": str(exc)})
            return {}
        for fact in facts:
            if isinstance(fact, Fact) and current.get(fact.job_id) == fact.attempt:
                told[fact.job_id] = max(told[fact.job_id], fact.sequence + 1)
        return dict(told)

    async def cancel(self, record: EvaluationRecord, text: str) -> None:
        """Cancel every job that has not ended, and with them the evaluation."""

        def change(job: JobRecord) -> JobRecord | None:
            return jobs.cancel(job, text, time.time_ns()) if job.state in jobs.OPEN else None

        for placed in record.jobs:
            await self._board.move_job(placed.job_id, change)
        await self.conclude(record.request.evaluation_id, {})

    # ---------------------------------------------------------------- losing

    async def lose(self, job_id: str, attempt: int, kind: str, why: str) -> None:
        """An attempt came to nothing: place the next one, or fail the job and say why."""
        job = await self._board.job(job_id)
        if job is None:
            return
        evaluation = await self._board.evaluation(job.job.evaluation_id)
        if evaluation is None:
            return

        def change(record: JobRecord) -> JobRecord | None:
            if record.state not in jobs.OPEN or record.attempt != attempt:
                return None
            if record.held and self._registry.get(record.node_id) is not None:
                return None  # somebody else has found it another node
            return self._next(record, evaluation.request, kind, why)

        moved = await self._board.move_job(job_id, change)
        if moved is None:
            return
        self._counters["lost" if moved.attempt != attempt else "rebound"] += 1
        log.warning("attempt lost", extra={"job_id": job_id, "attempt": attempt, "why": why})
        if moved.held:
            return
        if moved.state == "queued":
            await self.publish(moved)
            await self.mark_published(job_id, moved.attempt)
        else:
            await self.conclude(moved.job.evaluation_id, {})

    def _next(self, record: JobRecord, request: Evaluate, kind: str, why: str) -> JobRecord:
        """The record with its next attempt, or failed."""
        now_ns = time.time_ns()
        if record.attempt >= request.max_attempts and not record.held:
            text = f"{why}; this was attempt {record.attempt} of {request.max_attempts}"
            return jobs.fail(record, kind, text, now_ns)
        surveyed = survey(record.job.manifest, request.wanted, self._registry.kinds())
        outlook = self.outlooks.of(record.job.manifest, request)
        # Another node if there is one; else any that lives, the same one perhaps.
        choice = choose(surveyed, outlook, [*record.excluded, record.node_id])
        choice = choice or choose(surveyed, outlook)
        if choice is None:
            others = explain(misfits(surveyed)) or "no other node is alive"
            return jobs.fail(record, kind, f"{why}; no other node fits: {others}", now_ns)
        held = self.is_full(choice.node_id)
        if record.held:
            return jobs.rebind(record, choice, now_ns, held)
        return jobs.lose(record, choice, now_ns, held)


def accepted(record: EvaluationRecord) -> Accepted:
    """The answer to whoever asked for this evaluation, the first time and every time."""
    return Accepted(
        evaluation_id=record.request.evaluation_id,
        model=record.model,
        model_version=record.model_version,
        jobs=record.jobs,
    )
