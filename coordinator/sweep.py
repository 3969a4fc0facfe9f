"""Finds what fell between two steps, because somebody died there, and carries on with it."""

from __future__ import annotations

import time

from msgspec.structs import replace

from bus.messages import Evaluate, EvaluationRecord, JobRecord, Refused
from coordinator import jobs
from coordinator.admission import Plan, admit
from coordinator.attempts import Attempts
from coordinator.board import Board, Seen
from coordinator.registry import Gone, Registry
from manifests.catalog import Catalog
from manifests.datasets import Datasets

SETTLE_S = 2.0
"""How long a record may look unfinished: the coordinator that wrote it is probably still at it."""


class Sweep:
    """Dead nodes' jobs, unpublished jobs, evaluations that nobody ended."""

    def __init__(
        self,
        attempts: Attempts,
        board: Board,
        registry: Registry,
        known: tuple[Catalog, Datasets],
    ) -> None:
        self._attempts, self._board, self._registry = attempts, board, registry
        self._catalog, self._datasets = known
        self._left: dict[tuple[str, int], tuple[Gone, float]] = {}

    def gone(self, lives: list[Gone]) -> bool:
        """Note what ended lives leave behind, now, before anything new is placed there.

        Returns whether there is anything to do about it.
        """
        for life in lives:
            for seen in self._board.jobs.values():
                record = seen.record
                if record.node_id == life.node_id and record.incarnation in ("", life.incarnation):
                    key = record.job.job_id, record.attempt
                    self._left[key] = life, time.monotonic() + SETTLE_S
        return bool(self._left)

    async def run(self) -> None:
        """Look at everything once."""
        for (job_id, attempt), (life, until_s) in [*self._left.items()]:
            here = self._registry.get(life.node_id) is not None
            if life.anew and not here and time.monotonic() < until_s:
                continue  # its new life is announced and about to be heard: it may be the only one
            del self._left[job_id, attempt]
            why = f"node {life.node_id} {life.why}"
            await self._attempts.lose(job_id, attempt, "node_lost", why)
        settled_s = time.monotonic() - SETTLE_S
        for job in [*self._board.jobs.values()]:
            if job.since_s < settled_s:
                await self._look_at_job(job.record)
        for evaluation in [*self._board.evaluations.values()]:
            if evaluation.since_s < settled_s:
                await self._look_at_evaluation(evaluation)

    async def _look_at_job(self, record: JobRecord) -> None:
        job_id, node = record.job.job_id, self._registry.get(record.node_id)
        if node is None:
            why = f"node {record.node_id} is not alive"
            await self._attempts.lose(job_id, record.attempt, "node_lost", why)
        elif record.incarnation and record.incarnation != node.incarnation:
            why = f"node {record.node_id} was started anew"
            await self._attempts.lose(job_id, record.attempt, "node_lost", why)
        elif record.state == "queued" and not (record.published or record.held):
            await self._attempts.publish(record)
            await self._attempts.mark_published(job_id, record.attempt)

    async def _look_at_evaluation(self, seen: Seen[EvaluationRecord]) -> None:
        record = seen.record
        for number, placed in enumerate(record.jobs):
            if placed.job_id in self._board.jobs:
                return  # it goes its way
            job = await self._board.job(placed.job_id)
            if job is None:
                await self._write_missing_job(record, number)
                return
            if job.state in jobs.OPEN:
                return
        await self._attempts.conclude(record.request.evaluation_id, {})

    async def _write_missing_job(self, record: EvaluationRecord, number: int) -> None:
        """A coordinator died between the evaluation and its job: do what it was about to do."""
        request, now_ns = record.request, time.time_ns()
        plan = self._plan(replace(request, spread=1), record.jobs[number].node_id)
        if isinstance(plan, Refused):
            ended = replace(record, state="failed", kind=plan.kind, text=plan.text, ended_ns=now_ns)
            await self._attempts.say_ended(ended, [])
            return
        await self._attempts.place_job(request, plan, number, now_ns)

    def _plan(self, request: Evaluate, node_id: str) -> Plan | Refused:
        """On the node that the client was told of; where that has gone, on any that fits."""
        there = replace(request, wanted=replace(request.wanted, node=node_id))
        plan: Plan | Refused = Refused(kind="no_nodes", text="")
        for asked in (there, request):
            outlooks = self._attempts.outlooks
            plan = admit(asked, self._catalog, self._registry, outlooks, self._datasets)
            if isinstance(plan, Plan):
                return plan
        return plan
