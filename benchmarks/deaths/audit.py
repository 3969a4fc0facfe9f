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
from bus.messages import EvaluationFailed, EvaluationFinished, JobFinished

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
    settled_s: float = 0.0
    """How long after the last end everything was in the database."""

    @property
    def faults(self) -> list[str]:
        """All that must not be."""
        found = [*self.lost, *self.doubled]
        found += [f"{self.spans_lost} spans lost"] * bool(self.spans_lost)
        found += [f"{self.spans_doubled} spans doubled"] * bool(self.spans_doubled)
        return found


async def audit(system: System, told: Iterable[Told]) -> Account:
    """Look at everything that was accepted; waits until the database has what was told."""
    accepted = [one for one in told if one.accepted]
    account = Account(evaluations=len(accepted))
    bus = await Bus.connect(system.bus_url, name="audit")
    try:
        ends = {one.evaluation_id: await _ends(bus, one.evaluation_id) for one in accepted}
    finally:
        await bus.close()
    for one in accepted:
        _compare(one, ends[one.evaluation_id], account)
    began_s = time.monotonic()
    with MongoClient(system.mongo_url, serverSelectionTimeoutMS=20_000) as client:
        stored = _Stored(client[DATABASE])
        while True:
            spans = [
                await asyncio.to_thread(stored.spans, end)
                for found in ends.values()
                for end in found[:1]
                if isinstance(end, EvaluationFinished)
            ]
            late = [
                one.evaluation_id
                for one in accepted
                if await asyncio.to_thread(stored.state, one.evaluation_id) != one.state
            ]
            complete = all(emitted == there for emitted, there, _ in spans)
            if (complete and not late) or time.monotonic() - began_s > SETTLE_S:
                break
            await asyncio.sleep(0.2)
    account.settled_s = time.monotonic() - began_s
    account.lost += [f"{evaluation_id} is not stored as its client saw it" for evaluation_id in late]
    for emitted, there, different in spans:
        account.spans += emitted
        account.spans_lost += max(0, emitted - different)
        account.spans_doubled += max(0, there - different)
    return account


async def _ends(bus: Bus, evaluation_id: str) -> list[End]:
    facts = await bus.replay(subjects.FACTS_STREAM, subjects.facts_of(evaluation_id))
    return [fact for fact in facts if isinstance(fact, End)]


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

    def spans(self, end: EvaluationFinished) -> tuple[int, int, int]:
        """Of the attempts that count: spans emitted, rows stored, and different span ids."""
        emitted = there = 0
        ids: set[int] = set()
        for job in end.jobs:
            of_attempt = {"evaluation_id": end.evaluation_id, "job_id": job.job_id}
            emitted += self._emitted(of_attempt, job.attempt)
            for document in self._database.spans.find(of_attempt):
                if document["attempt"] == job.attempt:
                    rows = unpack_rows(document["block"])
                    there += len(rows)
                    ids |= {row.span_id for row in rows}
        return emitted, there, len(ids)

    def _emitted(self, where: dict[str, str], attempt: int) -> int:
        for document in self._database.facts.find({**where, "kind": "JobFinished"}):
            fact = decode(document["data"])
            if isinstance(fact, JobFinished) and fact.attempt == attempt:
                return sum(fact.spans.values())
        return -1

