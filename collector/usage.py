"""What each user's stored evaluations take: counted as they come, told to the coordinators.

The bucket mlms_usage holds the totals, to which every collector adds by compare-and-set once a
second. The database is the truth: it is summed anew when a collector starts, and every six hours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict

from bus import subjects
from bus.buckets import Watch
from bus.connection import Bus
from bus.errors import BusError, MLModelScopeError, StaleError
from bus.holding import Most
from bus.messages import EvaluationSize, GetUsage, Message, Undecodable, Usage
from collector.store import Held, Store

log = logging.getLogger(__name__)

TELL_S = 1.0
SUM_S = 6 * 3600.0
TRIES = 20
SHOWN = 10


class Usages:
    """The totals of all users; `took` and `freed` change them, `over` asks."""

    def __init__(self, store: Store, most: Most) -> None:
        self._store, self._most = store, most
        self._known: dict[str, Usage] = {}
        self._changes: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._watch: Watch | None = None

    async def start(self, bus: Bus) -> None:
        """Know what the bucket says."""
        self._bucket = await bus.bucket(subjects.USAGE_BUCKET)
        self._watch = await self._bucket.watch(self._saw)

    async def stop(self) -> None:
        """Tell what is not told yet, and follow no more."""
        if self._watch is not None:
            await self._told()
            await self._watch.stop()

    def took(self, user: str, size_bytes: int, spans: int = 0) -> None:
        """Something of this user's was stored."""
        change = self._changes[subjects.token(user)]
        change[0] += size_bytes
        change[1] += spans

    def freed(self, held: Held) -> None:
        """Something was deleted, by user."""
        for user, (size_bytes, spans) in held.items():
            self.took(user, -size_bytes, -spans)

    def over(self, user: str) -> str:
        """Why no more of this user's is to be stored, or nothing."""
        usage = self._known.get(subjects.token(user))
        return self._most.stands_against(usage) if usage is not None else ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Sum what there is, then tell what comes, until stopped."""
        summed_s = -SUM_S
        while not stopping.is_set():
            try:
                if time.monotonic() - summed_s > SUM_S:
                    await self._sum()
                    summed_s = time.monotonic()
                await self._told()
            except MLModelScopeError as exc:
                log.info("usage not told", extra={"error": str(exc)})
            try:
                await asyncio.wait_for(stopping.wait(), TELL_S)
            except TimeoutError:
                continue

    async def answer(self, question: Message) -> Message:
        """What a user's evaluations take, the largest by name."""
        if not isinstance(question, GetUsage):
            return Undecodable(text=f"expected GetUsage, got {type(question).__name__}")
        user = subjects.token(question.user)
        each = await self._store.held("evaluation_id", {"user": user})
        largest = sorted(each.items(), key=lambda found: -found[1][0])[:SHOWN]
        return Usage(
            user=question.user,
            bytes=sum(size for size, _ in each.values()),
            spans=sum(spans for _, spans in each.values()),
            most_bytes=self._most.bytes,
            most_spans=self._most.spans,
            largest=[
                EvaluationSize(evaluation_id=name, bytes=size, spans=spans)
                for name, (size, spans) in largest
            ],
        )

    # ---------------------------------------------------------------- the bucket

    def _saw(self, key: str, message: Message | None, _: int) -> None:
        if isinstance(message, Usage):
            self._known[key] = message
        else:
            self._known.pop(key, None)

    async def _told(self) -> None:
        """Add what has come to the totals; what cannot be told now is told later."""
        for user in list(self._changes):
            size_bytes, spans = self._changes.pop(user)
            try:
                await self._move(user, (size_bytes, spans))
            except BusError:
                self.took(user, size_bytes, spans)
                raise

    async def _sum(self) -> None:
        """The totals as the database has them."""
        self._changes.clear()  # it is in the database
        held = await self._store.held("user", {"user": {"$gt": ""}})
        for user in {*held, *self._known}:
            await self._move(user, held.get(user, (0, 0)), anew=True)

    async def _move(self, user: str, change: tuple[int, int], anew: bool = False) -> None:
        for _ in range(TRIES):
            got = await self._bucket.get(user)
            there = got[0] if got is not None and isinstance(got[0], Usage) else Usage(user=user)
            before = (0, 0) if anew else (there.bytes, there.spans)
            size, spans = (max(0, old + new) for old, new in zip(before, change, strict=True))
            if got is not None and (size, spans) == (there.bytes, there.spans):
                return
            told = Usage(user=user, bytes=size, spans=spans)
            try:
                if got is None:
                    await self._bucket.create(user, told)
                else:
                    await self._bucket.update(user, told, got[1])
                return
            except StaleError:
                continue
        raise StaleError(subjects.USAGE_BUCKET, user)
