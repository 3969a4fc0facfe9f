"""What became of everything that was accepted: counted in the stream of facts and in the database.

Nothing of the system's own reading is used but the messages' types: documents and rows are counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import MongoClient

from benchmarks.deaths.load import Told
from benchmarks.deaths.system import DATABASE, System
from bus import subjects
from bus.codec import decode, unpack_rows
from bus.connection import Bus
from bus.messages import EvaluationFailed, EvaluationFinished, JobFinished, Span

SETTLE_S = 60.0
"""How long what was told may take to be in the database."""
End = EvaluationFinished | EvaluationFailed


@dataclass
class Account:
    """Faults, each in words, and how much was looked at."""

    evaluations: int = 0
    finished: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    """Accepted, and no end was ever told, or not the one that the client heard of."""
    doubled: list[str] = field(default_factory=list)
    """Two ends, or two results, of one evaluation."""
    spans: int = 0
    spans_lost: int = 0
    spans_doubled: int = 0
    run_twice: int = 0
    """Evaluations of which a second attempt ran to its end too: told, and not accepted."""
    impossible: list[str] = field(default_factory=list)
    """Spans that took longer than the whole evaluation did for its client, or less than nothing."""
    settled_s: float = 0.0
    """How long after the last end everything was in the database."""

    @property
    def faults(self) -> list[str]:
        """All that must not be."""
        found = [*self.lost, *self.doubled, *self.impossible]
        found += [f"{self.spans_lost} spans lost"] * bool(self.spans_lost)
        found += [f"{self.spans_doubled} spans doubled"] * bool(self.spans_doubled)
        return found


async def audit(system: System, told: Iterable[Told]) -> Account:
    """Look at everything that was accepted; waits until the database has what was told."""
    accepted = [one for one in told if one.accepted]
    account = Account(evaluations=len(accepted))
    bus = await Bus.connect(system.bus_url, name="audit")
    try:
        facts = {one.evaluation_id: await _facts(bus, one.evaluation_id) for one in accepted}
    finally:
        await bus.close()
    finished: list[tuple[Told, EvaluationFinished]] = []
    for one in accepted:
        ends = [fact for fact in facts[one.evaluation_id] if isinstance(fact, End)]
        _compare(one, ends, account)
        account.run_twice += len(facts[one.evaluation_id]) - len(ends) > 1
        finished += [(one, end) for end in ends[:1] if isinstance(end, EvaluationFinished)]
    client: MongoClient[Any] = MongoClient(system.mongo_url, serverSelectionTimeoutMS=20_000)
    with client:
        await _stored(_Stored(client[DATABASE]), accepted, finished, account)
    return account


async def _facts(bus: Bus, evaluation_id: str) -> list[End | JobFinished]:
    facts = await bus.replay(subjects.FACTS_STREAM, subjects.facts_of(evaluation_id))
    return [fact for fact in facts if isinstance(fact, End | JobFinished)]


async def _stored(
    stored: _Stored,
    accepted: Sequence[Told],
    finished: Sequence[tuple[Told, EvaluationFinished]],
    account: Account,
) -> None:
    """Wait until the database has what was told, or long enough; count what it has."""
    began_s = time.monotonic()
    while True:
        spans = [(one, await asyncio.to_thread(stored.spans, end)) for one, end in finished]
        states = [await asyncio.to_thread(stored.state, one.evaluation_id) for one in accepted]
        late = [o.evaluation_id for o, s in zip(accepted, states, strict=True) if s != o.state]
        complete = all(counted.emitted == counted.rows for _, counted in spans)
        if (complete and not late) or time.monotonic() - began_s > SETTLE_S:
            break
        await asyncio.sleep(0.2)
    account.settled_s = time.monotonic() - began_s
    account.lost += [
        f"{evaluation_id} is not stored as its client saw it" for evaluation_id in late
    ]
    for one, counted in spans:
        account.spans += counted.emitted
        account.spans_lost += max(0, counted.emitted - counted.different)
        account.spans_doubled += max(0, counted.rows - counted.different)
        took_s = one.ended_s - one.asked_s
        if counted.longest_s > took_s or counted.shortest_s < 0:
            text = f"spans of {counted.shortest_s:g} to {counted.longest_s:g} s in {took_s:.3g} s"
            account.impossible.append(f"{one.evaluation_id[:8]} has {text}")


def _compare(one: Told, ends: Sequence[End], account: Account) -> None:
    name = one.evaluation_id[:8]
    if not ends:
        account.lost.append(f"{name} was accepted and never ended ({one.error or one.state})")
        return
    if len(ends) > 1:
        account.doubled.append(f"{name} ended {len(ends)} times")
    end = ends[0]
    state = "finished" if isinstance(end, EvaluationFinished) else "failed"
    if state != one.state:
        account.lost.append(f"{name} {state}, and its client heard: {one.state} {one.error}")
    if isinstance(end, EvaluationFailed):
        account.failed[end.kind] += 1
    else:
        account.finished += 1


class _Stored:
    """The database, read as documents."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def state(self, evaluation_id: str) -> str:
        """The evaluation's state."""
        found = self._database.evaluations.find_one({"_id": evaluation_id})
        return found["state"] if found else ""

    def spans(self, end: EvaluationFinished) -> Counted:
        """What is stored of the attempts that count."""
        emitted = 0
        rows: list[Span] = []
        for job in end.jobs:
            of_attempt = {"evaluation_id": end.evaluation_id, "job_id": job.job_id}
            emitted += self._emitted(of_attempt, job.attempt)
            for document in self._database.spans.find({**of_attempt, "attempt": job.attempt}):
                rows += unpack_rows(document["block"])
        took_s = [row.duration_ns / 1e9 for row in rows]
        different = len({row.span_id for row in rows})
        return Counted(
            emitted, len(rows), different, min(took_s, default=0.0), max(took_s, default=0.0)
        )

    def _emitted(self, where: dict[str, str], attempt: int) -> int:
        for document in self._database.facts.find({**where, "kind": "JobFinished"}):
            fact = decode(document["data"])
            if isinstance(fact, JobFinished) and fact.attempt == attempt:
                return sum(fact.spans.values())
        return -1


@dataclass(frozen=True)
class Counted:
    """Spans of one evaluation: told to have been sent, stored, different ones, and how long."""

    emitted: int
    rows: int
    different: int
    shortest_s: float
    longest_s: float
