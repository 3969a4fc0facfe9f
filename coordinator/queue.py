"""What waits, where, and how much may: the queue as people see it, and its bounds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from bus.messages import Evaluate, JobRecord, JobWaiting, ListQueue, Queue, Refused
from coordinator.board import Board
from coordinator.turns import in_queue_order

MOST_SHOWN = 1000


@dataclass(frozen=True)
class Bounds:
    """How many jobs may be there that have not ended: of everybody, and of one user."""

    jobs: int = 10_000
    of_user: int = 1_000

    def refuse(self, request: Evaluate, more: int, board: Board) -> Refused | None:
        """Why there is no room for some more jobs of a request, if there is none."""
        there, own = len(board.jobs), board.of_user[request.user]
        if there + more > self.jobs:
            return _full(
                request,
                "queue_full",
                f"the queue is full: {there} jobs have not ended, of {self.jobs} that may be "
                f"there (MLMS_QUEUE_LIMIT), and this asks for {more} more",
            )
        if own + more > self.of_user:
            return _full(
                request,
                "user_limit",
                f"{request.user} has {own} jobs that have not ended, of {self.of_user} that one "
                f"user may have (MLMS_USER_LIMIT), and this asks for {more} more",
            )
        return None


def _full(request: Evaluate, kind: str, text: str) -> Refused:
    text = f"{text}: wait for some to end, or cancel some"
    return Refused(evaluation_id=request.evaluation_id, kind=kind, text=text)


def listed(request: ListQueue, board: Board, shares: Mapping[str, float]) -> Queue:
    """The jobs that a request asks for, each with its place in the queue of its node."""
    wanted = {
        seen.record.node_id: None for seen in board.jobs.values() if _meant(request, seen.record)
    }
    nodes: dict[str, list[JobRecord]] = {node_id: [] for node_id in wanted}
    for seen in board.jobs.values():
        if seen.record.node_id in nodes:
            nodes[seen.record.node_id].append(seen.record)
    used_s = board.used_s(time.time_ns())
    found: list[JobWaiting] = []
    for node_id in sorted(nodes):
        found += _of_node(request, in_queue_order(nodes[node_id], used_s, shares))
    most = min(max(request.limit, 1), MOST_SHOWN)
    return Queue(jobs=found[:most], total=len(found))


def _meant(request: ListQueue, record: JobRecord) -> bool:
    return (not request.mine or record.job.user == request.user) and (
        not request.evaluation_id or record.job.evaluation_id == request.evaluation_id
    )


def _model(request: ListQueue, record: JobRecord) -> str:
    """The model's name, which is nobody else's business where the model is private."""
    public = record.job.manifest.visibility == "public"
    return record.job.manifest.name if public or record.job.user == request.user else ""


def _of_node(request: ListQueue, ordered: list[JobRecord]) -> list[JobWaiting]:
    waiting = [record for record in ordered if record.state != "running"]
    places = {record.job.job_id: place for place, record in enumerate(waiting, start=1)}
    return [
        JobWaiting(
            job_id=record.job.job_id,
            evaluation_id=record.job.evaluation_id,
            user=record.job.user,
            model=_model(request, record),
            node_id=record.node_id,
            position=places.get(record.job.job_id, 0),
            of=len(waiting),
            held=record.held,
            priority=record.priority,
            submitted_ns=record.job.submitted_ns,
        )
        for record in ordered
        if _meant(request, record)
    ]
