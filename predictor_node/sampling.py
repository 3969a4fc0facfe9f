"""Samples a worker's memory and processor time from outside, on the node's own clock."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import TracebackType

from predictor_node.telling import Samples, Teller

INTERVAL_S = 0.25
"""Seldom enough to leave the measured core alone: two small reads of /proc a quarter second."""


class Sampler:
    """Inside the block, a sample every quarter second; `tell` afterwards."""

    def __init__(self, pid: int, wanted: bool) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._wanted = wanted and self._stat.exists()
        self._times_ns: list[int] = []
        self._memory: list[float] = []
        self._cpu_s: list[float] = []

    async def __aenter__(self) -> Sampler:
        self._task = asyncio.create_task(self._sample()) if self._wanted else None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task:
            self._task.cancel()

    async def tell(self, teller: Teller) -> None:
        """Publish what was sampled."""
        for name, unit, values in (
            ("worker.memory", "bytes", self._memory),
            ("worker.cpu_time", "seconds", self._cpu_s),
        ):
            taken = Samples(name=name, unit=unit, times_ns=self._times_ns, values=values)
            await teller.samples(taken)

    async def _sample(self) -> None:
        page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        while True:
            try:
                # The command's name, which may hold spaces, ends at the last parenthesis.
                fields = self._stat.read_text().rpartition(")")[2].split()
            except OSError:
                return  # the worker has ended
            self._times_ns.append(time.time_ns())
            self._cpu_s.append((int(fields[11]) + int(fields[12])) / tick)
            self._memory.append(float(int(fields[21]) * page))
            await asyncio.sleep(INTERVAL_S)
