"""What comes from the streams -> the store: a batch is one write a collection."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bus import codec, subjects
from bus.consumer import Received
from bus.messages import (
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    MetricsRecorded,
    RunMeasured,
    SpansRecorded,
)
from bus.senders import CLIENT, forged, sender_of, user_of
from collector.records import (
    Ended,
    Update,
    evaluation_updates,
    fact_document,
    metrics_document,
    run_update,
    spans_document,
)
from collector.store import Store
from collector.usage import Usages

log = logging.getLogger(__name__)

NS = 1_000_000_000
Document = dict[str, Any]


class Intake:
    """Writes batches; each may be given twice. `ended` hears of evaluations that have ended,
    `usages` of what is stored for whom."""

    def __init__(
        self,
        store: Store,
        counters: Counter[str],
        usages: Usages,
        *,
        grace_s: float,
        ended: Callable[[str], None],
    ) -> None:
        self._store, self._counters, self._ended = store, counters, ended
        self._usages = usages
        self._grace_ns = int(grace_s * NS)

    async def facts(self, received: Sequence[Received]) -> None:
        """Store facts and bring their evaluations up to date."""
        received = await self._true(received)
        told = [(r, r.message) for r in received if isinstance(r.message, Fact | Ended)]
        self._counters["unexpected"] += len(received) - len(told)
        gone = await self._store.forgotten(fact.evaluation_id for _, fact in told)
        told = [(r, fact) for r, fact in told if fact.evaluation_id not in gone]
        documents = [_owned(fact_document(fact, r.data), r) for r, fact in told]
        known = await self._insert("facts", documents)
        due_ns = time.time_ns() + self._grace_ns
        updates: list[Update] = []
        for r, fact in told:
            updates += evaluation_updates(r.subject, fact, due_ns)
            if isinstance(fact, RunMeasured) and fact.last and fact.first_query:
                updates.append(await self._long_run(fact))
        await self._store.update("evaluations", updates)
        self._count("facts", len(told), len(known))
        for _, fact in told:
            if isinstance(fact, EvaluationFinished | EvaluationFailed):
                self._ended(fact.evaluation_id)

    async def _long_run(self, last: RunMeasured) -> Update:
        """The summary of a run whose times came in several messages."""
        where = {
            "evaluation_id": last.evaluation_id,
            "job_id": last.job_id,
            "attempt": last.attempt,
            "kind": "RunMeasured",
        }
        durations_ns: list[int] = []
        async for document in self._store.each("facts", where):
            fact = codec.decode_as(document["data"], RunMeasured)
            if fact.run == last.run:
                durations_ns += fact.durations_ns
        return run_update(last, durations_ns)

    async def recorded(self, received: Sequence[Received]) -> None:
        """Store batches of spans and of metrics."""
        messages = [(r, r.message) for r in await self._true(received)]
        gone = await self._store.forgotten(
            m.evaluation_id for _, m in messages if isinstance(m, SpansRecorded | MetricsRecorded)
        )
        spans = [(r, m) for r, m in messages if isinstance(m, SpansRecorded)]
        metrics = [(r, m) for r, m in messages if isinstance(m, MetricsRecorded)]
        self._counters["unexpected"] += len(messages) - len(spans) - len(metrics)
        batches = {
            document["_id"]: (document, batch)
            for r, batch in spans
            if batch.evaluation_id not in gone
            for document in [_owned(spans_document(batch), r)]
        }
        known = await self._insert("spans", [document for document, _ in batches.values()])
        new = [batch for name, (_, batch) in batches.items() if name not in known]
        self._counters["span_batches"] += len(new)
        self._counters["spans"] += sum(max(batch.count, 0) for batch in new)
        self._counters["duplicates"] += len(spans) - len(new)
        samples = [
            _owned(metrics_document(m, r.data), r)
            for r, m in metrics
            if m.evaluation_id not in gone
        ]
        self._count("metrics", len(samples), len(await self._insert("metrics", samples)))

    async def _insert(self, collection: str, documents: list[Document]) -> set[str]:
        """Write what is not there yet, and count it for its user; what was there already."""
        known = await self._store.insert(collection, documents)
        new = {document["_id"]: document for document in documents if document["_id"] not in known}
        for document in new.values():
            spans = max(document["count"], 0) if collection == "spans" else 0
            self._usages.took(document["user"], document["bytes"], spans)
        return known

    async def _true(self, received: Sequence[Received]) -> list[Received]:
        """Those that come from whom they say, and a client's only of what is its own."""
        true = []
        for each in received:
            why = forged(each.subject, each.message) or await self._foreign(each)
            over = "" if why else await self._too_much(each)
            if not (why or over):
                true.append(each)
                continue
            why = why or over
            self._counters["over_limit" if over else "forged"] += 1
            log.warning("not taken", extra={"subject": each.subject, "error": why})
        return true

    async def _foreign(self, received: Received) -> str:
        """Whether a client tells something of another's evaluation."""
        if sender_of(received.subject) not in (CLIENT, subjects.IMPORTED):
            return ""
        name = getattr(received.message, "evaluation_id", "")
        known = await self._store.one("evaluations", {"_id": name})
        owner, user = (known or {}).get("user", ""), user_of(received.subject)
        return f"evaluation {name} is {owner}'s, not {user}'s" if owner not in ("", user) else ""

    async def _too_much(self, received: Received) -> str:
        """Whether a client tells more than it may hold. What nodes tell is of accepted work, and
        stored whatever it takes."""
        message = received.message
        if sender_of(received.subject) not in (CLIENT, subjects.IMPORTED):
            return ""
        over = self._usages.over(user_of(received.subject))
        if over and isinstance(message, Fact | Ended):
            # Without its facts what is stored of it already could be neither seen nor deleted.
            begun = await self._store.one("spans", {"evaluation_id": message.evaluation_id})
            return "" if begun is not None else over
        return over

    def _count(self, what: str, given: int, known: int) -> None:
        self._counters[what] += given - known
        self._counters["duplicates"] += known


def _owned(document: Document, received: Received) -> Document:
    """With whose it is, as nats-server checked it."""
    return {**document, "user": user_of(received.subject)}
