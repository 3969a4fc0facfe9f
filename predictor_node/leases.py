"""A device of this machine to ourselves: two nodes of one host never use it at once.

The lease is a key of the machine and the device. It is told again every two seconds, and expires
when its node has died. The machine is known by its boot, which all its containers share. A lease
is kept for a moment after its use, for the next job or query here, unless another node waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bus import subjects
from bus.buckets import Bucket
from bus.connection import Bus, Subscription
from bus.errors import BusError, StaleError
from bus.messages import DeviceHeld, Message

log = logging.getLogger(__name__)

RENEW_S = 2.0
KEEP_S = 1.0
"""How long a lease that nobody uses or wants is kept."""
LOOK_AGAIN_S = 1.0
"""A lease that is given back is heard of; one that expires is not."""
YIELD_S = 0.05
"""Whoever had it last lets one who waits go first: this is longer than that one's hearing of it."""


@dataclass(eq=False)
class _Hold:
    """A lease that is ours. wanted: another node waits, so it ends with its present users."""

    key: str
    value: DeviceHeld
    revision: int
    users: int = 0
    wanted: bool = False
    closing: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    renewing: asyncio.Task[None] | None = None
    ending: asyncio.TimerHandle | None = None


class Leases:
    """The leases of one node, which its own jobs and queries share: their order is the node's.

    stopping: whether it is to wait for one no longer.
    """

    def __init__(
        self, me: tuple[str, str, str], counters: Counter[str], stopping: Callable[[], bool]
    ) -> None:
        self._machine, self._node_id, self._incarnation = me
        self._counters, self._stopping = counters, stopping
        self._bus: Bus | None = None
        self._bucket: Bucket | None = None
        self._holds: dict[str, _Hold] = {}
        self._left: dict[str, int] = {}
        """The marks of leases that we gave back: who comes next needs no other look at them."""
        self._yielding: set[str] = set()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._closings: set[asyncio.Task[None]] = set()
        self._wishes: Subscription | None = None

    async def start(self, bus: Bus) -> None:
        """Know where leases are kept, and hear who else wants one."""
        self._bus = bus
        self._bucket = await bus.bucket(subjects.LEASES_BUCKET)
        wished = subjects.key_change(subjects.LEASES_BUCKET, f"{self._machine}.*.wanted")
        self._wishes = await bus.listen(wished, self._heard_wish)

    async def stop(self) -> None:
        """Give back what is kept."""
        if self._wishes is not None:
            await self._wishes.stop()
        await asyncio.gather(*(self._close(hold) for hold in [*self._holds.values()]))

    @asynccontextmanager
    async def held(self, device: str, job_id: str) -> AsyncIterator[bool]:
        """Have a device while the block runs; False: the node stops, and has it not."""
        key = f"{self._machine}.{subjects.token(device)}"
        value = DeviceHeld(node_id=self._node_id, incarnation=self._incarnation, job_id=job_id)
        async with self._turns[key]:
            hold = await self._have(key, value)
            if hold is not None:
                hold.users += 1
        if hold is None:
            yield False
            return
        try:
            yield True
        finally:
            hold.users -= 1
            if not hold.users:
                self._unused(hold)

    # ---------------------------------------------------------------- having it

    async def _have(self, key: str, value: DeviceHeld) -> _Hold | None:
        """The lease that we have, or else a new one; one at a time asks for each key."""
        hold = self._holds.get(key)
        if hold is not None and not (hold.closing or hold.wanted):
            if hold.ending is not None:
                hold.ending.cancel()
            return hold
        if hold is not None:
            await hold.gone.wait()
        if not (revision := await self._take(key, value)):
            return None
        hold = self._holds[key] = _Hold(key, value, revision)
        hold.renewing = asyncio.create_task(self._renew(hold))
        return hold

    async def _take(self, key: str, value: DeviceHeld) -> int:
        """Wait until nobody has it, then have it: its revision, or 0 when the node stops."""
        assert self._bus is not None
        if key in self._yielding:
            self._yielding.discard(key)
            await asyncio.sleep(YIELD_S)
        if self._stopping():
            return 0
        if revision := await self._try(key, value):
            return revision
        changed = asyncio.Event()
        hearing = await self._bus.wake_on_end(
            subjects.key_change(subjects.LEASES_BUCKET, key), changed.set
        )
        try:
            while not self._stopping():
                _heed_cancellation()
                changed.clear()
                if revision := await self._try(key, value):
                    return revision
                self._counters["lease_waits"] += 1
                await self._say_wanted(key, value)
                try:
                    await asyncio.wait_for(changed.wait(), LOOK_AGAIN_S)
                except TimeoutError:
                    pass
            return 0
        finally:
            await hearing.stop()

    async def _try(self, key: str, value: DeviceHeld) -> int:
        """Have it, if nobody does."""
        assert self._bucket is not None
        try:
            if left := self._left.pop(key, 0):
                try:
                    return await self._bucket.update(key, value, left)
                except StaleError:
                    pass  # somebody has it, or had it meanwhile
            return await self._bucket.create(key, value)
        except StaleError:
            return await self._take_over(key, value)
        except BusError as exc:
            log.info("lease not asked for", extra={"key": key, "error": str(exc)})
            return 0

    async def _say_wanted(self, key: str, value: DeviceHeld) -> None:
        """Let whoever has it know that somebody waits; it expires by itself."""
        assert self._bucket is not None
        try:
            await self._bucket.put(f"{key}.wanted", value)
        except BusError as exc:
            log.info("wish not told", extra={"key": key, "error": str(exc)})

    async def _take_over(self, key: str, value: DeviceHeld) -> int:
        """What this very node holds and does not know of is ours: of a former life, or asked for
        by somebody who then gave up waiting."""
        assert self._bucket is not None
        try:
            got = await self._bucket.get(key)
            if got is None or not isinstance(got[0], DeviceHeld):
                return 0
            if got[0].node_id != self._node_id:
                return 0
            return await self._bucket.update(key, value, got[1])
        except BusError:
            return 0

    # ---------------------------------------------------------------- keeping it, giving it back

    async def _heard_wish(self, subject: str, message: Message) -> None:
        if not isinstance(message, DeviceHeld) or message.node_id == self._node_id:
            return
        key = subject.removeprefix(subjects.key_change(subjects.LEASES_BUCKET, ""))
        hold = self._holds.get(key.removesuffix(".wanted"))
        if hold is not None:
            hold.wanted = True
            if not hold.users:
                self._close_soon(hold)

    def _unused(self, hold: _Hold) -> None:
        if hold.wanted or self._stopping():
            self._close_soon(hold)
        else:
            loop = asyncio.get_running_loop()
            hold.ending = loop.call_later(KEEP_S, self._close_soon, hold)

    def _close_soon(self, hold: _Hold) -> None:
        """In a task of its own, which nobody who gives up waiting can interrupt."""
        if not hold.users:
            closing = asyncio.create_task(self._close(hold))
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)

    async def _close(self, hold: _Hold) -> None:
        """Give it back; whoever is already at it is waited for."""
        if hold.closing:
            await hold.gone.wait()
            return
        hold.closing = True
        if hold.ending is not None:
            hold.ending.cancel()
        hold.done.set()
        # Not cancelled: what it has just written must be known, to be taken away again.
        if hold.renewing is not None:
            await asyncio.wait([hold.renewing])
        await self._give_back(hold)
        if hold.wanted:
            self._yielding.add(hold.key)
        if self._holds.get(hold.key) is hold:
            del self._holds[hold.key]
        hold.gone.set()

    async def _renew(self, hold: _Hold) -> None:
        assert self._bucket is not None
        while not hold.done.is_set():
            try:
                await asyncio.wait_for(hold.done.wait(), RENEW_S)
                return
            except TimeoutError:
                pass
            try:
                hold.revision = await self._bucket.update(hold.key, hold.value, hold.revision)
            except StaleError:
                # It had expired while the bus was away: what is measured now may be disturbed.
                self._counters["lost_leases"] += 1
                log.warning("device no longer to ourselves", extra={"key": hold.key})
                hold.revision, hold.wanted = 0, True
                return
            except BusError as exc:
                log.info("lease not renewed", extra={"key": hold.key, "error": str(exc)})

    async def _give_back(self, hold: _Hold) -> None:
        assert self._bucket is not None
        if not hold.revision:
            return
        try:
            self._left[hold.key] = await self._bucket.delete(hold.key, hold.revision)
        except BusError as exc:
            log.info("lease will expire by itself", extra={"key": hold.key, "error": str(exc)})


def _heed_cancellation() -> None:
    """In Python 3.11 a wait_for below us whose answer comes just then forgets a cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
