"""A device of this machine to ourselves: two nodes of one host never measure on it at once.

The lease is a key of the machine and the device. It is told again every two seconds, and expires
when its node has died. The machine is known by its boot, which all its containers share.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bus import subjects
from bus.buckets import Bucket
from bus.connection import Bus
from bus.errors import BusError, StaleError
from bus.messages import DeviceHeld

log = logging.getLogger(__name__)

RENEW_S = 2.0
LOOK_AGAIN_S = 1.0
"""A lease that is given back is heard of; one that expires is not."""
YIELD_S = 0.05
"""Whoever had it last lets one who waits go first: this is longer than that one's hearing of it."""


class Leases:
    """The leases of one node. stopping: whether it is to wait for one no longer."""

    def __init__(
        self, me: tuple[str, str, str], counters: Counter[str], stopping: Callable[[], bool]
    ) -> None:
        self._machine, self._node_id, self._incarnation = me
        self._counters, self._stopping = counters, stopping
        self._bus: Bus | None = None
        self._bucket: Bucket | None = None
        self._wanted: set[str] = set()
        self._holding: dict[str, int] = {}
        self._left: dict[str, int] = {}
        """The marks of leases that we gave back: who comes next needs no other look at them."""

    async def start(self, bus: Bus) -> None:
        """Know where leases are kept."""
        self._bus = bus
        self._bucket = await bus.bucket(subjects.LEASES_BUCKET)

    @asynccontextmanager
    async def held(self, device: str, job_id: str) -> AsyncIterator[bool]:
        """Have a device while the block runs; False: the node stops, and has it not."""
        key = f"{self._machine}.{subjects.token(device)}"
        value = DeviceHeld(node_id=self._node_id, incarnation=self._incarnation, job_id=job_id)
        if not await self._take(key, value):
            yield False
            return
        done = asyncio.Event()
        renewing = asyncio.create_task(self._renew(key, value, done))
        try:
            yield True
        finally:
            done.set()
            # Not cancelled: what it has just written must be known, to be taken away again.
            await asyncio.wait([renewing])
            await self._give_back(key)

    async def _take(self, key: str, value: DeviceHeld) -> bool:
        """Wait until nobody has it, then have it."""
        assert self._bus is not None
        if key in self._wanted:
            await asyncio.sleep(YIELD_S)
        if self._stopping():
            return False
        if await self._try(key, value):
            return True
        changed = asyncio.Event()
        hearing = await self._bus.wake_on(
            subjects.key_change(subjects.LEASES_BUCKET, key), changed.set
        )
        try:
            while not self._stopping():
                changed.clear()
                if await self._try(key, value):
                    return True
                self._counters["lease_waits"] += 1
                await self._say_wanted(key, value)
                try:
                    await asyncio.wait_for(changed.wait(), LOOK_AGAIN_S)
                except TimeoutError:
                    pass
            return False
        finally:
            await hearing.stop()

    async def _try(self, key: str, value: DeviceHeld) -> bool:
        """Have it, if nobody does."""
        assert self._bucket is not None
        try:
            if left := self._left.pop(key, 0):
                try:
                    self._holding[key] = await self._bucket.update(key, value, left)
                    return True
                except StaleError:
                    pass  # somebody has it, or had it meanwhile
            self._holding[key] = await self._bucket.create(key, value)
            return True
        except StaleError:
            return await self._take_over(key, value)
        except BusError as exc:
            log.info("lease not asked for", extra={"key": key, "error": str(exc)})
            return False

    async def _say_wanted(self, key: str, value: DeviceHeld) -> None:
        """Let whoever has it know that somebody waits; it expires by itself."""
        assert self._bucket is not None
        try:
            await self._bucket.put(f"{key}.wanted", value)
        except BusError as exc:
            log.info("wish not told", extra={"key": key, "error": str(exc)})

    async def _take_over(self, key: str, value: DeviceHeld) -> bool:
        """What a former life of this very node held is ours."""
        assert self._bucket is not None
        try:
            got = await self._bucket.get(key)
            if got is None or not isinstance(got[0], DeviceHeld):
                return False
            if got[0].node_id != self._node_id or got[0].incarnation == self._incarnation:
                return False
            self._holding[key] = await self._bucket.update(key, value, got[1])
        except BusError:
            return False
        return True

    async def _renew(self, key: str, value: DeviceHeld, done: asyncio.Event) -> None:
        assert self._bucket is not None
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), RENEW_S)
                return
            except TimeoutError:
                pass
            try:
                self._holding[key] = await self._bucket.update(key, value, self._holding[key])
            except StaleError:
                # It had expired while the bus was away: what is measured now may be disturbed.
                self._counters["lost_leases"] += 1
                log.warning("device no longer to ourselves", extra={"key": key})
                del self._holding[key]
                return
            except BusError as exc:
                log.info("lease not renewed", extra={"key": key, "error": str(exc)})

    async def _give_back(self, key: str) -> None:
        assert self._bucket is not None
        revision = self._holding.pop(key, 0)
        if not revision:
            return
        try:
            self._left[key] = await self._bucket.delete(key, revision)
            wish = await self._bucket.get(f"{key}.wanted")
            self._wanted.discard(key)
            if wish is not None and getattr(wish[0], "node_id", "") != self._node_id:
                self._wanted.add(key)
        except BusError as exc:
            log.info("lease will expire by itself", extra={"key": key, "error": str(exc)})
