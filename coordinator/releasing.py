"""Gives held jobs to nodes as they come free, in turn; and to another node that is idle before.

Every coordinator does so; the compare-and-set on each job decides between two. One that finds a
job moved by another stops, and looks again when it has seen that move.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Mapping

from bus.errors import BusError, MLModelScopeError
from bus.messages import JobRecord
from coordinator.attempts import Attempts
from coordinator.board import Board
from coordinator.constraints import survey
from coordinator.placement import Choice, choose
from coordinator.registry import Registry
from coordinator.turns import in_turn

log = logging.getLogger(__name__)

OFFER_S = 0.25
"""How long idle nodes are left alone after they were offered what waits; the sweep asks again."""
LOOKED_AT = 64
"""How many of the jobs that are next are offered to idle nodes at a time."""


class Releasing:
    """A task that is woken when a job has ended or a node has come."""

    def __init__(
        self, attempts: Attempts, board: Board, registry: Registry, shares: Mapping[str, float]
    ) -> None:
        self._attempts, self._board, self._registry = attempts, board, registry
        self._shares = shares
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._offered_s = 0.0

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish what is in hand."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    def wake(self) -> None:
        """Somewhere there may be room: cheap, and often said for nothing."""
        if self._board.held:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            try:
                await self.run()
            except MLModelScopeError as exc:
                log.warning("not released", extra={"error": str(exc)})  # the sweep wakes us again

    async def run(self) -> None:
        """Begin what can begin now."""
        for node_id in [*self._board.held]:
            if self._registry.get(node_id) is None:
                continue  # the sweep finds its jobs another node
            for record in self._room(node_id):
                if not await self._begin(record, None):
                    return
        # With many held jobs and nodes that fit none of them, looking would be all that is done.
        may_fit = len(self._registry) > len(self._board.outstanding)
        if self._board.held and may_fit and time.monotonic() - self._offered_s > OFFER_S:
            self._offered_s = time.monotonic()
            await self._offer()

    def _room(self, node_id: str) -> Iterator[JobRecord]:
        """The jobs that a node has room for, in turn; what is begun between two of them counts."""
        node = self._registry.get(node_id)
        most = self._attempts.ahead * (node.slots if node is not None else 0)
        while self._board.begun(node_id) < most:
            waiting = self._held(self._board.held.get(node_id, ()))
            if not waiting:
                return
            yield self._in_turn(waiting)[0]

    async def _offer(self) -> None:
        """What waits for one node goes to another that fits and has nothing to do."""
        every = [job_id for held in self._board.held.values() for job_id in held]
        for record in self._in_turn(self._held(every))[:LOOKED_AT]:
            if (choice := await self._elsewhere(record)) and not await self._begin(record, choice):
                return

    async def _elsewhere(self, record: JobRecord) -> Choice | None:
        evaluation = await self._board.evaluation(record.job.evaluation_id)
        if evaluation is None or len(evaluation.jobs) > 1:
            return None  # a job of several nodes is there for its node
        request = evaluation.request
        if request.wanted.node:
            return None
        surveyed = survey(record.job.manifest, request.wanted, self._registry.kinds())
        busy = [node for node in self._board.outstanding if self._board.outstanding[node]]
        outlook = self._attempts.outlooks.of(record.job.manifest, request)
        return choose(surveyed, outlook, {*busy, *record.excluded})

    def _held(self, job_ids: Collection[str]) -> list[JobRecord]:
        found = (self._board.jobs.get(job_id) for job_id in job_ids)
        return [seen.record for seen in found if seen is not None and seen.record.held]

    def _in_turn(self, waiting: list[JobRecord]) -> list[JobRecord]:
        return in_turn(waiting, self._board.used_s(time.time_ns()), self._shares)

    async def _begin(self, record: JobRecord, choice: Choice | None) -> bool:
        try:
            return await self._attempts.begin(record.job.job_id, choice)
        except BusError as exc:
            log.warning("not begun", extra={"id": record.job.job_id, "error": str(exc)})
            return False
