"""This machine's clock against the reference's: measured when idle, during long jobs, after them.

A node asks, never its worker: a question is five messages, outside the measured process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from bus.clock import Steady, measure_clock
from bus.connection import Bus
from bus.errors import BusError
from bus.messages import Clock

DURING_S = 15.0
LONG_S = 5.0
"""A job that took longer is worth a measurement at its end."""
STALE_S = 60.0
"""A measurement that is older is made again when the clock is needed."""
MOST = 128


class ClockWatch:
    """The latest measurement, and those since the job began (and the one before it)."""

    def __init__(self, bus: Bus, during_s: float = DURING_S) -> None:
        self._bus, self._during_s = bus, during_s
        self.samples: list[Clock] = []
        self.steady = Steady()
        """The clock that is measured: within a job it does not jump."""
        self.looked_s = -STALE_S
        """When the clock was asked for last, by the monotonic clock."""

    @property
    def latest(self) -> Clock:
        """What is known now; not measured where no collector has answered yet."""
        return self.samples[-1] if self.samples else Clock()

    async def look(self) -> bool:
        """Measure; False where no collector answers."""
        try:
            measured = await measure_clock(self._bus, self.steady)
        except BusError:
            return False
        finally:
            self.looked_s = time.monotonic()
        self.samples.append(measured)
        if len(self.samples) > MOST:  # a long job: every other one tells enough
            self.samples = [*self.samples[:-1:2], self.samples[-1]]
        return True

    def rebase(self) -> None:
        """Between jobs: where the machine's clock was set, all that was measured moves with it."""
        moved_ns = self.steady.rebase()
        self.samples = [
            replace(one, offset_ns=one.offset_ns - moved_ns, at_ns=one.at_ns + moved_ns)
            for one in self.samples
        ]

    async def refresh(self) -> None:
        """Measure where nothing is known, or only of long ago."""
        self.rebase()
        if not self.samples or time.monotonic() - self.looked_s > STALE_S:
            await self.look()

    @asynccontextmanager
    async def during_job(self) -> AsyncIterator[None]:
        """Follow the clock while a job runs; of what was measured before, keep the last two."""
        self.samples = self.samples[-2:]
        self.rebase()
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()

    async def at_the_end(self, began_s: float) -> None:
        """Measure once more after work that began some seconds ago, by the monotonic clock.

        What took less lies between two measurements as it is.
        """
        if time.monotonic() - max(began_s, self.looked_s) > LONG_S:
            await self.look()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._during_s)
            await self.look()
