"""The open jobs and evaluations, as the buckets have them now, and compare-and-set on them.

What is here is a copy: the buckets are the truth, and a move that the copy forbids is tried again
on what the bucket says.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bus import subjects
from bus.buckets import Bucket, Watch
from bus.connection import Bus
from bus.errors import BusError, StaleError
from bus.messages import EvaluationRecord, JobRecord, Message
from coordinator.holdings import InputsHeld
from coordinator.jobs import OPEN, IllegalMoveError
from coordinator.turns import Used, cost_s

REMEMBERED = 10_000
"""How many ended jobs are counted in the status."""
TRIES = 20

R = TypeVar("R", JobRecord, EvaluationRecord)


@dataclass(frozen=True, slots=True)
class Seen(Generic[R]):
    """A record, its revision, and when this process first saw it so (its own clock)."""

    record: R
    revision: int
    since_s: float


class Board:
    """Two watched buckets: what is queued and running, and for whom."""

    def __init__(self) -> None:
        self.jobs: dict[str, Seen[JobRecord]] = {}
        self.evaluations: dict[str, Seen[EvaluationRecord]] = {}
        self.outstanding: Counter[str] = Counter()
        """By node: the jobs placed on it and not ended."""
        self.backlog_s: dict[str, float] = {}
        """By node: what they are expected to take together."""
        self.held: dict[str, set[str]] = {}
        """By node: the jobs that wait here, with the coordinators, for their turn on it."""
        self.of_user: Counter[str] = Counter()
        self.inputs = InputsHeld()
        self._used, self._begun_s = Used(), defaultdict[str, float](float)
        self._intended: dict[str, JobRecord] = {}
        self._ended: dict[str, str] = {}
        self._watches: list[Watch] = []

    async def start(self, bus: Bus) -> None:
        """Read what there is, and follow it."""
        self._jobs = await bus.bucket(subjects.JOBS_BUCKET)
        self._evaluations = await bus.bucket(subjects.EVALUATIONS_BUCKET)
        self._watches = [
            await self._evaluations.watch(self._saw_evaluation),
            await self._jobs.watch(self._saw_job),
        ]

    async def stop(self) -> None:
        """Follow no more."""
        for watch in self._watches:
            await watch.stop()

    def states(self) -> dict[str, int]:
        """How many jobs are in which state; of the ended ones, the last 10,000."""
        open_jobs = Counter(seen.record.state for seen in self.jobs.values())
        return dict(open_jobs + Counter(self._ended.values()))

    # ---------------------------------------------------------------- what is seen

    def _saw_job(self, key: str, message: Message | None, revision: int) -> None:
        self.forget(key)
        known = self.jobs.get(key)
        if known is not None and known.revision >= revision:
            return
        if isinstance(message, JobRecord) and key in self._ended:
            return  # a job does not come back: this news is older than ours
        if known is not None:
            del self.jobs[key]
            self._count(known.record, -1)
        if isinstance(message, JobRecord) and message.state in OPEN:
            self.jobs[key] = Seen(message, revision, time.monotonic())
            self._count(message, 1)
        elif isinstance(message, JobRecord):
            self._ended[key] = message.state
            if message.started_ns:
                took_s = (message.changed_ns - message.started_ns) / 1e9
                self._used.add(message.job.user, took_s, message.changed_ns)
            if len(self._ended) > REMEMBERED:
                del self._ended[next(iter(self._ended))]

    def _count(self, record: JobRecord, step: int) -> None:
        node_id, user = record.node_id, record.job.user
        for counter, key in ((self.outstanding, node_id), (self.of_user, user)):
            counter[key] += step
            if counter[key] <= 0:
                del counter[key]
        if node_id in self.outstanding:
            backlog_s = self.backlog_s.get(node_id, 0.0) + step * cost_s(record)
            self.backlog_s[node_id] = max(0.0, backlog_s)
        else:
            self.backlog_s.pop(node_id, None)
        if not record.held:
            self._begun_s[user] += step * cost_s(record)
        elif step > 0:
            self.held.setdefault(node_id, set()).add(record.job.job_id)
        elif held := self.held.get(node_id):
            held.discard(record.job.job_id)
            if not held:
                del self.held[node_id]

    def intend(self, record: JobRecord) -> None:
        """A job is about to be written: whoever is placed meanwhile must know of it."""
        if record.job.job_id not in self._intended and record.job.job_id not in self.jobs:
            self._intended[record.job.job_id] = record
            self._count(record, 1)

    def forget(self, job_id: str) -> None:
        """What was intended is written, or came to nothing."""
        if record := self._intended.pop(job_id, None):
            self._count(record, -1)

    def begun(self, node_id: str) -> int:
        """How many jobs run on a node, or lie in its own queue."""
        return self.outstanding[node_id] - len(self.held.get(node_id, ()))

    def used_s(self, now_ns: int) -> dict[str, float]:
        """What each user had of the fleet lately, and has in hand now."""
        used = self._used.at(now_ns)
        for user, begun_s in self._begun_s.items():
            if begun_s > 0:
                used[user] = used.get(user, 0.0) + begun_s
        return used

    def _saw_evaluation(self, key: str, message: Message | None, revision: int) -> None:
        known = self.evaluations.get(key)
        if known is not None and known.revision >= revision:
            return
        if isinstance(message, EvaluationRecord) and message.state == "running":
            self.evaluations[key] = Seen(message, revision, time.monotonic())
            self.inputs.took(message)
        else:
            self.evaluations.pop(key, None)
            self.inputs.ended(key)

    # ---------------------------------------------------------------- reading and writing

    async def job(self, job_id: str) -> JobRecord | None:
        """A job as the bucket has it."""
        got = await self._jobs.get(job_id)
        return got[0] if got and isinstance(got[0], JobRecord) else None

    async def evaluation(self, evaluation_id: str) -> EvaluationRecord | None:
        """An evaluation: the copy of a running one, else what the bucket has."""
        if seen := self.evaluations.get(evaluation_id):
            return seen.record
        got = await self._evaluations.get(evaluation_id)
        return got[0] if got and isinstance(got[0], EvaluationRecord) else None

    async def create_job(self, record: JobRecord) -> None:
        """Write a new job; StaleError if there is one of that id."""
        key = record.job.job_id
        self._saw_job(key, record, await self._jobs.create(key, record))

    async def create_evaluation(self, record: EvaluationRecord) -> None:
        """Write a new evaluation; StaleError if there is one of that id."""
        key = record.request.evaluation_id
        self._saw_evaluation(key, record, await self._evaluations.create(key, record))

    async def move_job(
        self, job_id: str, change: Callable[[JobRecord], JobRecord | None]
    ) -> JobRecord | None:
        """Change a job; None if there is none, or `change` says that there is nothing to do."""
        known = self.jobs.get(job_id)
        moved = await _move(self._jobs, job_id, JobRecord, known, change)
        if moved is None:
            return None
        self._saw_job(job_id, *moved)
        return moved[0]

    async def move_evaluation(
        self, evaluation_id: str, change: Callable[[EvaluationRecord], EvaluationRecord | None]
    ) -> EvaluationRecord | None:
        """Change an evaluation; None as for a job."""
        known = self.evaluations.get(evaluation_id)
        moved = await _move(self._evaluations, evaluation_id, EvaluationRecord, known, change)
        if moved is None:
            return None
        self._saw_evaluation(evaluation_id, *moved)
        return moved[0]


async def _move(
    bucket: Bucket,
    key: str,
    kind: type[R],
    known: Seen[R] | None,
    change: Callable[[R], R | None],
) -> tuple[R, int] | None:
    """Compare-and-set: first on the copy, which is right nearly always, then on the truth."""
    if known is not None:
        try:
            changed = change(known.record)
            if changed is not None:
                return changed, await bucket.update(key, changed, known.revision)
        except (StaleError, IllegalMoveError):
            pass  # the copy was behind
    for _ in range(TRIES):
        got = await bucket.get(key)
        if got is None or not isinstance(got[0], kind):
            return None
        changed = change(got[0])
        if changed is None:
            return None
        try:
            return changed, await bucket.update(key, changed, got[1])
        except StaleError:
            continue
    raise BusError(f"{key} changed {TRIES} times while it was being changed: try again")
