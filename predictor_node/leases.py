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
LOOK_AGAIN_S = (0.02, 0.25)
"""The first and the longest pause between two looks at a lease that somebody holds."""


class Leases:
    """The leases of one node. stopping: whether it is to wait for one no longer."""

    def __init__(
        self, me: tuple[str, str, str], counters: Counter[str], stopping: Callable[[], bool]
    ) -> None:
        self._machine, self._node_id, self._incarnation = me
        self._counters, self._stopping = counters, stopping
        self._bucket: Bucket | None = None
        self._holding: dict[str, int] = {}

    async def start(self, bus: Bus) -> None:
        """Know where leases are kept."""
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
        assert self._bucket is not None
        pause_s, longest_s = LOOK_AGAIN_S
        while not self._stopping():
            try:
                self._holding[key] = await self._bucket.create(key, value)
                return True
            except StaleError:
                if await self._take_over(key, value):
                    return True
            except BusError as exc:
                log.info("lease not asked for", extra={"key": key, "error": str(exc)})
            self._counters["lease_waits"] += 1
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        return False

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
            await self._bucket.delete(key, revision)
        except BusError as exc:
            log.info("lease will expire by itself", extra={"key": key, "error": str(exc)})
