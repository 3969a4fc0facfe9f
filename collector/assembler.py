"""Assembles the timelines of ended evaluations once, in a thread, and again when more has come.

What is still to be done stands in the database (`due` on an evaluation), never only in here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from bus import codec
from bus.errors import MLModelScopeError
from bus.messages import JobFinished, SpansRecorded
from collector.otlp_push import OtlpPush
from collector.records import spans_of, winning_attempts
from collector.store import Store
from collector.timeline import assemble

log = logging.getLogger(__name__)

Document = dict[str, Any]

TICK_S = 0.1
LOOK_S = 5.0
"""How often the database is asked what is due, besides what this collector has heard of."""
LONGEST_WAIT_S = 60.0


class Assembler:
    """Decides when an evaluation's spans are all here, and puts them together."""

    def __init__(self, store: Store, counters: Counter[str], push: OtlpPush) -> None:
        self._store, self._counters, self._push = store, counters, push
        self._heard = asyncio.Event()
        self.pending: set[str] = set()
        # One at a time: an assembly takes a core and the memory of all its spans.
        self._one = asyncio.Lock()
        self._stopping = False

    def ended(self, evaluation_id: str) -> None:
        """An evaluation has ended: its timeline is due."""
        self.pending.add(evaluation_id)
        self._heard.set()

    def stop(self) -> None:
        """Let `run` end after what it has in hand."""
        self._stopping = True
        self._heard.set()

    async def run(self) -> None:
        """Assemble what is due, until stopped."""
        looked_s = -LOOK_S
        while not self._stopping:
            pause_s = LOOK_S
            try:
                if time.monotonic() - looked_s >= LOOK_S:
                    due = await self._store.find("evaluations", {"due": {"$gt": 0}}, fields=["_id"])
                    self.pending.update(document["_id"] for document in due)
                    looked_s = time.monotonic()
                for evaluation_id in sorted(self.pending):
                    if self._stopping:
                        return
                    await self._if_due(evaluation_id)
                pause_s = TICK_S if self.pending else LOOK_S
            except MLModelScopeError as exc:
                log.warning("timelines wait: %s", exc)
            try:
                await asyncio.wait_for(self._heard.wait(), pause_s)
            except TimeoutError:
                continue
            self._heard.clear()

    async def _if_due(self, evaluation_id: str) -> None:
        evaluation = await self._store.one("evaluations", {"_id": evaluation_id})
        if evaluation and evaluation.get("due"):
            if time.time_ns() < evaluation["due"] and not await self._all_here(evaluation):
                return
            await self._assemble(evaluation)
            # Only this `due`: an end that was told again meanwhile is looked at again.
            same = {"_id": evaluation_id, "due": evaluation["due"]}
            await self._push.offer(evaluation)
            await self._store.update("evaluations", [(same, {"$set": {"due": 0}}, False)])
        self.pending.discard(evaluation_id)

    async def current(self, evaluation_id: str, wait_s: float) -> Document | None:
        """The head of the timeline as the database has it now, assembled if need be.

        While spans are on their way it waits for them, at most `wait_s`.
        """
        deadline_s = time.monotonic() + min(max(wait_s, 0.0), LONGEST_WAIT_S)
        while True:
            evaluation = await self._store.one("evaluations", {"_id": evaluation_id})
            if evaluation is None:
                return None
            given_up = evaluation["state"] != "running" and evaluation["due"] < time.time_ns()
            late = given_up or time.monotonic() >= deadline_s
            if late or await self._all_here(evaluation):
                return await self._fresh(evaluation)
            await asyncio.sleep(TICK_S / 2)

    async def _fresh(self, evaluation: Document) -> Document:
        head = await self._store.one("timelines", {"_id": evaluation["_id"]})
        if head and head["basis"] == await self._basis(evaluation):
            return head
        return await self._assemble(evaluation)

    async def _basis(self, evaluation: Document) -> list[Any]:
        """What a timeline was made of: when this differs, it is stale."""
        whose = {"evaluation_id": evaluation["_id"]}
        batches = await self._store.count("spans", whose)
        finished = await self._store.count("facts", {**whose, "kind": "JobFinished"})
        return [evaluation["state"], batches, finished]

    async def _all_here(self, evaluation: Document) -> bool:
        """Whether every batch that the winning attempts announced is stored."""
        if evaluation["state"] != "finished":
            return False  # a job that failed announced nothing: only time can tell
        if self._push.targets(evaluation) and not await self._client_heard(evaluation):
            return False  # what leaves us cannot be mended when the request's own span comes later
        for job in evaluation["jobs"]:
            whose = {"job_id": job["job_id"], "attempt": job["attempt"]}
            fact = await self._store.one("facts", {**_of(evaluation), **whose, **FINISHED})
            if fact is None:
                return False
            announced = codec.decode_as(fact["data"], JobFinished).span_batches
            for source, sent in announced.items():
                where = {**_of(evaluation), **whose, "source": source}
                if await self._store.count("spans", where) < sent:
                    return False
        return True

    async def _client_heard(self, evaluation: Document) -> bool:
        return await self._store.count("spans", {**_of(evaluation), "source": "client"}) > 0

    async def _assemble(self, evaluation: Document) -> Document:
        async with self._one:
            name, basis = evaluation["_id"], await self._basis(evaluation)
            batches, finished, unfinished = await self._material(evaluation)
            started_s = time.monotonic()
            messages = await asyncio.to_thread(_put_together, name, batches, finished, unfinished)
            assembly = uuid4().hex
            head: Document = {"_id": name, "assembly": assembly, "basis": basis}
            head["chunks"] = len(messages)
            chunks = [
                {
                    "_id": f"{assembly}/{number}",
                    "evaluation_id": name,
                    "assembly": assembly,
                    "chunk": number,
                    "data": data,
                }
                for number, data in enumerate(messages)
            ]
            await self._store.replace_timeline(head, chunks)
        self._counters["assembled"] += 1
        log.info(
            "timeline assembled in %.3f s",
            time.monotonic() - started_s,
            extra={"evaluation_id": name, "batches": len(batches)},
        )
        return head

    async def _material(
        self, evaluation: Document
    ) -> tuple[list[SpansRecorded], list[JobFinished], str]:
        """The winning attempts' batches, their last words, and why some have none."""
        order = [("job_id", 1), ("batch", 1)]
        documents = await self._store.find("spans", _of(evaluation), sort=order)
        facts = await self._store.find("facts", {**_of(evaluation), **FINISHED})
        winners = winning_attempts(evaluation, [d for d in documents + facts if d["job_id"]])
        finished = [
            codec.decode_as(fact["data"], JobFinished)
            for fact in facts
            if fact["attempt"] == winners[fact["job_id"]]
        ]
        batches = [
            spans_of(document)
            for document in documents
            if document["attempt"] == winners.get(document["job_id"], document["attempt"])
        ]
        silent = sorted(set(winners) - {fact.job_id for fact in finished})
        why = [INCOMPLETE[evaluation["state"]]] if evaluation["state"] in INCOMPLETE else []
        if silent:
            why.append(f"{len(silent)} jobs have not said how many spans they made")
        return batches, finished, ", ".join(why)


INCOMPLETE = {
    "running": "the evaluation is still running",
    "failed": "the evaluation failed",
    "cancelled": "the evaluation was cancelled",
}
FINISHED = {"kind": "JobFinished"}


def _of(evaluation: Document) -> Document:
    return {"evaluation_id": evaluation["_id"]}


def _put_together(
    evaluation_id: str,
    batches: Sequence[SpansRecorded],
    finished: Sequence[JobFinished],
    unfinished: str,
) -> list[bytes]:
    """The timeline's chunks as bytes. Runs in a thread: it takes a core for a while."""
    timeline = replace(assemble(batches, finished), evaluation_id=evaluation_id)
    if unfinished:
        missing = ", ".join(filter(None, [timeline.missing, unfinished]))
        timeline = replace(timeline, complete=False, missing=missing)
    return [codec.encode(chunk) for chunk in timeline.to_chunks()]
