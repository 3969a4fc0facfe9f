"""MongoDB: write idempotently, query, index, expire. The home of pymongo.

A fact, a batch of spans and a batch of metrics is a document each; its `_id` is made of the
ids that it came with, so that a second write meets itself and is ignored. An evaluation is one
document that its facts keep up to date; a timeline is its chunks and one document that says
which assembly of them counts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pymongo.errors
from bson.errors import BSONError
from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, DeleteMany, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from bus.errors import StoreError

Document = dict[str, Any]
Held = dict[str, tuple[int, int]]
"""Of each user, or of each evaluation: bytes, and spans among them."""
Update = tuple[Document, Document, bool]
"""A filter, what to set, and whether to make the document when there is none."""

ANY = "*"
"""In place of a name: whichever."""
DUPLICATE_KEY = 11000
SERVER_WAIT_MS = 2_000
SOCKET_WAIT_MS = 30_000
FORGOTTEN_S = 8 * 86_400
"""How long a deleted evaluation stays forgotten: longer than the streams keep anything."""

_HELD = (
    ("user", ASCENDING),
    ("evaluation_id", ASCENDING),
    ("bytes", ASCENDING),
    ("count", ASCENDING),
)
"""Everything that sizes are summed from, so that no document has to be read for it."""
INDEXES: dict[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "facts": (
        (("evaluation_id", ASCENDING), ("job_id", ASCENDING), ("sequence", ASCENDING)),
        _HELD,
    ),
    "spans": (
        (("evaluation_id", ASCENDING), ("job_id", ASCENDING), ("batch", ASCENDING)),
        _HELD,
    ),
    "metrics": (
        (("evaluation_id", ASCENDING), ("job_id", ASCENDING), ("batch", ASCENDING)),
        _HELD,
    ),
    "evaluations": (
        (("at_ns", DESCENDING),),
        (("model", ASCENDING), ("at_ns", DESCENDING)),
        (("user", ASCENDING), ("at_ns", DESCENDING)),
        (("framework", ASCENDING), ("at_ns", DESCENDING)),
        (("node_id", ASCENDING), ("at_ns", DESCENDING)),
        (("state", ASCENDING), ("at_ns", DESCENDING)),
        (("dataset", ASCENDING), ("at_ns", DESCENDING)),
        (("due", ASCENDING),),
        (("push_until", ASCENDING),),
    ),
    "chunks": ((("evaluation_id", ASCENDING),),),
}
OF_AN_EVALUATION = ("facts", "spans", "metrics", "chunks")
COUNTED = ("facts", "spans", "metrics")
"""What a user's evaluations take: the chunks are made of these."""
GONE = (
    pymongo.errors.ConnectionFailure,
    pymongo.errors.ExecutionTimeout,
    pymongo.errors.WTimeoutError,
    pymongo.errors.WaitQueueTimeoutError,
)
PASSING = {
    14031,  # OutOfDiskSpace: somebody will make room
    10107,  # NotWritablePrimary, and more of a member that steps down or shuts down
    13435,
    11600,
    11602,
    91,
    189,
    64,  # WriteConcernFailed
    100,  # UnsatisfiableWriteConcern: too few members are up
    262,  # ExceededTimeLimit
}
"""Codes of refusals that say nothing about what was to be written."""


class StoreAwayError(StoreError):
    """The database cannot be reached now: the same write may succeed later."""


class Store:
    """One database. Every write is acknowledged by a majority, with the journal written."""

    def __init__(self, url: str, database: str) -> None:
        self.url = url
        with mapped(url):
            self._client: AsyncMongoClient[Document] = AsyncMongoClient(
                url,
                w="majority",
                journal=True,
                serverSelectionTimeoutMS=SERVER_WAIT_MS,
                # A database that is cut off answers nothing: without this a write waits for ever.
                socketTimeoutMS=SOCKET_WAIT_MS,
                # One connection to watch a server by, not two: closing while the second is
                # being made leaves its socket open (pymongo 4.20). A failed call looks at once.
                serverMonitoringMode="poll",
            )
        self._database = self._client[database]

    def _of(self, collection: str) -> AsyncCollection[Document]:
        return self._database[collection]

    async def close(self) -> None:
        """Disconnect."""
        # The driver looks for an absent server every half second, so just when a call gives up;
        # cancelled in the middle of that, pymongo 4.20 leaves the socket open.
        await asyncio.sleep(0.05)
        await self._client.close()

    async def prepare(self) -> None:
        """Make the indexes that are not there yet."""
        with mapped(self.url):
            for collection, indexes in INDEXES.items():
                for keys in indexes:
                    await self._of(collection).create_index(list(keys))
            await self._of("deleted").create_index("at", expireAfterSeconds=FORGOTTEN_S)

    async def insert(self, collection: str, documents: Sequence[Document]) -> set[str]:
        """Write what is not there yet; the ids of what was there already."""
        if not documents:
            return set()
        with mapped(self.url):
            try:
                await self._of(collection).insert_many(documents, ordered=False)
            except pymongo.errors.BulkWriteError as exc:
                return _duplicates(exc)
        return set()

    async def update(self, collection: str, updates: Iterable[Update]) -> None:
        """Bring documents up to date, in order."""
        steps = [UpdateOne(where, what, upsert=make) for where, what, make in updates]
        if steps:
            with mapped(self.url):
                try:
                    await self._of(collection).bulk_write(steps)
                except pymongo.errors.BulkWriteError as exc:
                    # Another collector made the document at the same moment: now it is there.
                    _duplicates(exc)
                    await self._of(collection).bulk_write(steps)

    async def claim(self, collection: str, where: Document, what: Document) -> bool:
        """Change the one document that fits; whether there was one, and nobody else was first."""
        with mapped(self.url):
            done = await self._of(collection).update_one(where, what)
        return bool(done.modified_count)

    async def one(self, collection: str, where: Document) -> Document | None:
        """The document, if there is one."""
        with mapped(self.url):
            found = await self._of(collection).find_one(where)
        return _plain(found) if found is not None else None

    async def find(
        self,
        collection: str,
        where: Document,
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        fields: Sequence[str] = (),
    ) -> list[Document]:
        """Documents that fit, all at once."""
        found = self.each(collection, where, sort=sort, limit=limit, fields=fields)
        return [document async for document in found]

    async def each(
        self,
        collection: str,
        where: Document,
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        fields: Sequence[str] = (),
    ) -> AsyncIterator[Document]:
        """Documents that fit, one after the other."""
        with mapped(self.url):
            cursor = self._of(collection).find(where, list(fields) or None, limit=limit)
            if sort:
                cursor = cursor.sort(list(sort))
            async for document in cursor:
                yield _plain(document)

    async def count(self, collection: str, where: Document) -> int:
        """How many documents fit."""
        with mapped(self.url):
            return await self._of(collection).count_documents(where)

    async def history(self, where: Document, limit: int) -> list[Document]:
        """Evaluations, newest first; names are compared whatever their case, `*` is any."""
        like: Document = {}
        for key, text in where.items():
            like[key] = text
            if _is_name(key, text):
                # The few spellings there are, found in the index: a pattern would be held against
                # every document.
                like[key] = {"$in": await self._spellings(key, text)}
        return await self.find("evaluations", like, sort=[("at_ns", -1)], limit=limit)

    async def _spellings(self, key: str, text: str) -> list[str]:
        with mapped(self.url):
            known = await self._of("evaluations").distinct(key)
        names = [name for name in known if isinstance(name, str) and name]
        wanted = text.casefold()
        return names if text == ANY else [name for name in names if name.casefold() == wanted]

    async def beginning(self, prefix: str, limit: int, seen: Document | None = None) -> list[str]:
        """The ids of evaluations that begin so, of those that may be seen, newest first."""
        where: Document = {"_id": {"$regex": f"^{re.escape(prefix)}"}} if prefix else {}
        where |= seen or {}
        found = await self.find(
            "evaluations", where, sort=[("at_ns", -1)], limit=limit, fields=["_id"]
        )
        return [document["_id"] for document in found]

    async def replace_timeline(self, head: Document, chunks: Sequence[Document]) -> None:
        """Store an assembly's chunks, then let it be the one that counts, then drop older ones."""
        evaluation_id = head["_id"]
        for chunk in chunks:
            await self.insert("chunks", [chunk])
        await self.update("timelines", [({"_id": evaluation_id}, {"$set": head}, True)])
        others = {"evaluation_id": evaluation_id, "assembly": {"$ne": head["assembly"]}}
        with mapped(self.url):
            await self._of("chunks").bulk_write([DeleteMany(others)])

    async def held(self, by: str, where: Document) -> Held:
        """What documents take, by `user` or by `evaluation_id`."""
        total: Held = {}
        sums = {"_id": f"${by}", "bytes": {"$sum": "$bytes"}, "spans": {"$sum": "$count"}}
        with mapped(self.url):
            for collection in COUNTED:
                steps = [{"$match": where}, {"$group": sums}]
                async for found in await self._of(collection).aggregate(steps):
                    size, spans = total.get(found["_id"], (0, 0))
                    total[found["_id"]] = size + int(found["bytes"]), spans + int(found["spans"])
        return total

    async def forget(self, evaluation_id: str) -> Held:
        """Remove an evaluation and all that is of it; what still comes is not taken. Returns what
        it took, by user."""
        freed = await self.held("user", {"evaluation_id": evaluation_id, "user": {"$gt": ""}})
        now = datetime.now(UTC)
        await self.update("deleted", [({"_id": evaluation_id}, {"$set": {"at": now}}, True)])
        with mapped(self.url):
            for collection in OF_AN_EVALUATION:
                await self._of(collection).delete_many({"evaluation_id": evaluation_id})
            await self._of("timelines").delete_one({"_id": evaluation_id})
            # Last, so that a deletion that was cut short can be asked for again.
            await self._of("evaluations").delete_one({"_id": evaluation_id})
        return freed

    async def forgotten(self, evaluation_ids: Iterable[str]) -> set[str]:
        """Which of these have been deleted."""
        where = {"_id": {"$in": list(set(evaluation_ids))}}
        return {document["_id"] for document in await self.find("deleted", where)}

    async def expired(self, before_ns: int) -> list[str]:
        """Evaluations older than this, so many as may be forgotten at once."""
        where = {"at_ns": {"$lt": before_ns}}
        old = await self.find("evaluations", where, limit=1_000, fields=["_id"])
        return [document["_id"] for document in old]


@contextmanager
def mapped(url: str) -> Iterator[None]:
    """Foreign errors as ours: away (try again) or refused (do not)."""
    where = re.sub(r"//[^@/]*@", "//", url)  # never a password in a text
    try:
        yield
    except GONE as exc:
        raise StoreAwayError(
            f"MongoDB at {where} does not answer ({_first_words(exc)}): is mongod running there?"
        ) from exc
    except (pymongo.errors.PyMongoError, BSONError, OverflowError) as exc:
        if _codes(exc) & PASSING:
            raise StoreAwayError(f"MongoDB at {where} cannot now: {_first_words(exc)}") from exc
        raise StoreError(f"MongoDB at {where} refused: {_first_words(exc)}") from exc


def _codes(exc: Exception) -> set[int]:
    """The codes of an error, and of each fault of a bulk write."""
    details = exc.details if isinstance(exc, pymongo.errors.BulkWriteError) else None
    faults = [fault.get("code") for fault in (details or {}).get("writeErrors", [])]
    return {code for code in (getattr(exc, "code", None), *faults) if isinstance(code, int)}


def _plain(value: Any) -> Any:
    """What BSON gives, with whole numbers as Python's own: Int64 is a class that nobody encodes."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, Int64) else value


def _duplicates(exc: pymongo.errors.BulkWriteError) -> set[str]:
    """The ids that were there already; any other fault is raised."""
    faults = (exc.details or {}).get("writeErrors", [])
    if (exc.details or {}).get("writeConcernErrors"):
        raise pymongo.errors.WTimeoutError("written, but not yet by a majority") from exc
    if any(fault.get("code") != DUPLICATE_KEY for fault in faults):
        raise exc
    return {str(fault["keyValue"]["_id"]) for fault in faults}


def _first_words(exc: Exception) -> str:
    return str(exc).split(", Timeout:")[0].splitlines()[0][:300] if str(exc) else repr(exc)


def _is_name(key: str, text: object) -> bool:
    return isinstance(text, str) and not key.startswith("_")
