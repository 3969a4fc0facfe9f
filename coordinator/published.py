"""One bucket of published manifests: seeded once, followed, moved by compare-and-set.

What was withdrawn leaves an empty entry, so that what comes with the package is not put back when
the next coordinator starts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from bus.buckets import Watch
from bus.connection import Bus
from bus.errors import MLModelScopeError, StaleError
from bus.messages import Message

log = logging.getLogger(__name__)

TRIES = 20
BEHIND_S = 2.0
"""How long an answer waits for what was published before it was asked."""
CHANGED = (
    "is published with another content, and results are compared by version: raise the version, "
    "or unpublish it first"
)
M = TypeVar("M")
Taken = TypeVar("Taken", contravariant=True)


class Known(Protocol[Taken]):
    """What the bucket says now, in the form in which it is asked."""

    def add(self, manifest: Taken, /) -> None: ...

    def remove(self, manifest: Taken, /) -> None: ...


class Published(Generic[M]):
    """The bucket `name`, whose entries hold one manifest or none; `known` follows it.

    entry makes an entry of a list of manifests, listed gives the list in an entry.
    """

    def __init__(
        self,
        name: str,
        known: Known[M],
        entry: Callable[[list[M]], Message],
        listed: Callable[[Message | None], list[M]],
        counters: Counter[str],
    ) -> None:
        self.by_key: dict[str, M] = {}
        self._name, self._known, self._entry, self._listed = name, known, entry, listed
        self._counters = counters
        self._revisions: dict[str, int] = {}
        self._watch: Watch | None = None

    async def start(self, bus: Bus, shipped: Iterable[tuple[str, M]]) -> None:
        """Put what comes with the package there, unless somebody has dealt with it, and follow."""
        self._bucket = await bus.bucket(self._name)
        for key, manifest in shipped:
            try:
                await self._bucket.create(key, self._entry([manifest]))
            except StaleError:
                continue
        self._watch = await self._bucket.watch(self._saw)

    async def stop(self) -> None:
        """Follow no more."""
        if self._watch is not None:
            await self._watch.stop()

    async def caught_up(self) -> None:
        """Know everything that was published before now: also what another coordinator has said,
        a moment ago, to be done."""
        assert self._watch is not None
        last = await self._bucket.last()
        try:
            await asyncio.wait_for(self._watch.until(last), BEHIND_S)
        except TimeoutError:
            log.warning("behind", extra={"bucket": self._name, "revision": last})

    async def move(self, key: str, change: Callable[[M | None], list[M] | None]) -> None:
        """Compare-and-set on one key; `change` of what lies there gives what shall, or None."""
        for _ in range(TRIES):
            got = await self._bucket.get(key)
            entry, revision = got if got is not None else (None, 0)
            changed = change(next(iter(self._listed(entry)), None))
            if changed is None:
                return
            try:
                if got is None:
                    revision = await self._bucket.create(key, self._entry(changed))
                else:
                    revision = await self._bucket.update(key, self._entry(changed), revision)
            except StaleError:
                continue
            self._saw(key, self._entry(changed), revision)  # who asks next need not wait
            return
        raise StaleError(self._name, key)

    def _saw(self, key: str, message: Message | None, revision: int) -> None:
        if revision <= self._revisions.get(key, 0):
            return  # we wrote what came after it
        self._revisions[key] = revision
        before = self.by_key.pop(key, None)
        if before is not None:
            self._known.remove(before)
        for manifest in self._listed(message)[:1]:
            try:
                self._known.add(manifest)
            except MLModelScopeError as exc:
                self._counters["bad_manifests"] += 1
                log.warning("manifest left out", extra={"key": key, "error": str(exc)})
                continue
            self.by_key[key] = manifest
