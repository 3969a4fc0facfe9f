"""Answers questions about stored evaluations: history, facts, timelines; deletes."""

from __future__ import annotations

import socket
import time
from difflib import get_close_matches
from typing import Any

from bus import codec
from bus.connection import ASKED_BY
from bus.errors import ForbiddenError, InputError
from bus.groups import Groups
from bus.messages import (
    ClockRead,
    Delete,
    Done,
    Evaluation,
    GetEvaluation,
    GetTimeline,
    History,
    ListHistory,
    Message,
    NotFound,
    ReadClock,
    TimelineChunk,
    Undecodable,
)
from bus.readers import names_of
from collector.assembler import Assembler
from collector.records import history_row, winning_attempts
from collector.store import Store
from collector.usage import Usages

Document = dict[str, Any]

PART_BYTES = 2 * 1024 * 1024
SHORTEST_PREFIX = 4
LARGEST_PAGE = 500
SHOWN = 6
LATEST_NS = 2**63 - 1
"""MongoDB's whole numbers hold no more."""


class Answers:
    """One handler a question. What there is not is NotFound, with what is nearest."""

    def __init__(self, store: Store, assembler: Assembler, groups: Groups, usages: Usages) -> None:
        self._store, self._assembler, self._groups = store, assembler, groups
        self._usages = usages

    async def history(self, question: Message) -> Message:
        """A page of past evaluations."""
        if not isinstance(question, ListHistory):
            return _wrong(question, ListHistory)
        asked = {
            "model": question.model,
            "framework": question.framework,
            "node_id": question.node,
            "user": question.user,
            "state": question.state,
            "dataset": question.dataset,
        }
        where: Document = {key: _plain(key, text) for key, text in asked.items() if text}
        where |= self._seen()
        where |= _between(question.since_ns, question.before_ns)
        limit = min(max(question.limit, 1), LARGEST_PAGE)
        found = await self._store.history(where, limit + 1)
        rows = [history_row(document) for document in found[:limit]]
        return History(rows=rows, next_before_ns=rows[-1].at_ns if len(found) > limit else 0)

    async def evaluation(self, question: Message) -> Message:
        """One part of an evaluation's facts and metrics."""
        if not isinstance(question, GetEvaluation):
            return _wrong(question, GetEvaluation)
        evaluation = await self._resolve(question.evaluation_id)
        if isinstance(evaluation, NotFound):
            return evaluation
        whose = {"evaluation_id": evaluation["_id"]}
        sizes = ["job_id", "attempt", "kind", "bytes"]
        order = [("job_id", 1), ("sequence", 1)]
        facts = await self._store.find("facts", whose, sort=order, fields=sizes)
        metrics = await self._store.find(
            "metrics", whose, sort=[("job_id", 1), ("batch", 1)], fields=sizes
        )
        winners = winning_attempts(evaluation, facts)
        listed = [("facts", d) for d in facts if d["attempt"] == winners[d["job_id"]]]
        listed += [
            ("metrics", d)
            for d in metrics
            if not d["job_id"] or d["attempt"] == winners.get(d["job_id"], d["attempt"])
        ]
        parts = _parts(listed)
        if not 0 <= question.part < len(parts):
            text = f"evaluation {evaluation['_id'][:8]} has {len(parts)} parts, counted from 0"
            return NotFound(text=text)
        wanted = parts[question.part]
        return Evaluation(
            evaluation_id=evaluation["_id"],
            state=evaluation["state"],
            facts=await self._data("facts", wanted),
            part=question.part,
            parts=len(parts),
            stored_spans=await self._stored_spans(evaluation, winners),
            metrics=await self._data("metrics", wanted),
            user=evaluation.get("user", ""),
        )

    async def _data(self, collection: str, wanted: list[tuple[str, Document]]) -> list[bytes]:
        ids = [document["_id"] for kind, document in wanted if kind == collection]
        found = await self._store.find(collection, {"_id": {"$in": ids}}, fields=["data"])
        data = {document["_id"]: document["data"] for document in found}
        return [data[name] for name in ids if name in data]

    async def _stored_spans(self, evaluation: Document, winners: dict[str, int]) -> dict[str, int]:
        total: dict[str, int] = {}
        whose = {"evaluation_id": evaluation["_id"]}
        async for document in self._store.each(
            "spans", whose, fields=["job_id", "attempt", "levels"]
        ):
            if document["attempt"] != winners.get(document["job_id"], document["attempt"]):
                continue
            for level, count in document["levels"].items():
                total[level] = total.get(level, 0) + count
        return total

    async def timeline(self, question: Message) -> Message:
        """One chunk of a timeline. Asking for chunk 0 brings it up to date first."""
        if not isinstance(question, GetTimeline):
            return _wrong(question, GetTimeline)
        evaluation = await self._resolve(question.evaluation_id)
        if isinstance(evaluation, NotFound):
            return evaluation
        name, head = evaluation["_id"], None
        if question.chunk:
            head = await self._store.one("timelines", {"_id": name})
        head = head or await self._assembler.current(name, question.wait_s)
        for _ in range(3):
            if head is None:
                return await self._not_found(name)
            if not 0 <= question.chunk < head["chunks"]:
                text = f"the timeline has {head['chunks']} chunks, counted from 0: ask again from 0"
                return NotFound(text=text)
            key = f"{head['assembly']}/{question.chunk}"
            found = await self._store.one("chunks", {"_id": key})
            if found is not None:
                return codec.decode_as(found["data"], TimelineChunk)
            # Assembled again between the two look-ups: the new one counts.
            head = await self._store.one("timelines", {"_id": name})
        return NotFound(text="the timeline is being assembled again: ask again from chunk 0")

    async def delete(self, question: Message) -> Message:
        """Forget an evaluation."""
        if not isinstance(question, Delete):
            return _wrong(question, Delete)
        evaluation = await self._resolve(question.evaluation_id)
        if isinstance(evaluation, NotFound):
            return evaluation
        owner, who = evaluation.get("user") or question.user, question.user
        if owner != who:
            text = f"evaluation {evaluation['_id']} is {owner}'s, not {who}'s: nothing is deleted"
            raise ForbiddenError(text)
        self._usages.freed(await self._store.forget(evaluation["_id"]))
        return Done(text=f"evaluation {evaluation['_id']} is deleted")

    async def clock(self, question: Message) -> Message:
        """The reference's time."""
        if not isinstance(question, ReadClock):
            return _wrong(question, ReadClock)
        return ClockRead(reference=f"collector@{socket.gethostname()}", now_ns=time.time_ns())

    def _seen(self) -> Document:
        """What whoever asks may see: what everyone may, and what it is a reader of."""
        who = ASKED_BY.get()
        mine = [{"readers": {"$in": names_of(who, self._groups.of(who))}}, {"user": who}]
        return {"$or": [{"readers": {"$in": [None, []]}}, *mine]}

    async def _resolve(self, asked: str) -> Document | NotFound:
        """The evaluation that an id, the beginning of one, or `last` means."""
        asked = _plain("evaluation_id", asked)
        if asked == "last":
            names = await self._store.beginning("", 1, self._seen())
        else:
            exact = await self._store.one("evaluations", {"_id": asked, **self._seen()})
            if exact is not None:
                return exact
            long_enough = len(asked) >= SHORTEST_PREFIX
            seen = self._seen()
            names = await self._store.beginning(asked, SHOWN, seen) if long_enough else []
        if len(names) > 1:
            text = f"several evaluations begin with {asked!r}: give more of its digits"
            return NotFound(text=text, nearest=names)
        found = await self._store.one("evaluations", {"_id": names[0]}) if names else None
        return found or await self._not_found(asked)

    async def _not_found(self, asked: str) -> NotFound:
        known = await self._store.beginning("", LARGEST_PAGE, self._seen())
        deleted = bool(await self._store.forgotten([asked]))
        if asked == "last" or not (known or deleted):
            return NotFound(text="nothing has been evaluated yet: there is no history")
        heads = {name[: len(asked)]: name for name in reversed(known)}
        nearest = [heads[m] for m in get_close_matches(asked, list(heads), 3, 0.5)]
        hint = "give all of its id, 4 or more of its first digits, or `last`"
        return NotFound(
            text=f"no evaluation {asked!r}: {'it was deleted' if deleted else hint}",
            nearest=nearest or known[:3],
            deleted=deleted,
        )


def _between(since_ns: int, before_ns: int) -> Document:
    """Times in MongoDB's words; nothing where neither end is given."""
    ends: Document = {"$gte": min(since_ns, LATEST_NS)} if since_ns > 0 else {}
    if before_ns:
        ends["$lt"] = max(min(before_ns, LATEST_NS), 0)
    return {"at_ns": ends} if ends else {}


def _parts(listed: list[tuple[str, Document]]) -> list[list[tuple[str, Document]]]:
    parts: list[list[tuple[str, Document]]] = [[]]
    size = 0
    for kind, document in listed:
        if parts[-1] and size + document["bytes"] > PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append((kind, document))
        size += document["bytes"]
    return parts


def _plain(field: str, text: str) -> str:
    """A text that may be looked for; InputError for one with control characters."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise InputError(f"{field} {text[:80]!r}: expected a name without control characters")
    return text


def _wrong(question: Message, wanted: type[Message]) -> Undecodable:
    return Undecodable(text=f"expected {wanted.__name__}, got {type(question).__name__}")
