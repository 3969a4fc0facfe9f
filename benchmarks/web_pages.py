"""Pages and files of a running web, timed as a program sees them; and rows of those times."""

from __future__ import annotations

import time
from dataclasses import dataclass

import aiohttp
import numpy as np

from benchmarks.intervals import bootstrap
from benchmarks.report import Row

Times = list[float]


@dataclass(frozen=True)
class Looking:
    """Somebody who asks for pages, one after the other, on one connection."""

    session: aiohttp.ClientSession
    times: int

    async def get(self, path: str) -> bytes:
        """What is answered; RuntimeError for an answer that is no success."""
        async with self.session.get(path) as answer:
            body = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
            return body

    async def timed_ms(self, path: str) -> Times:
        """How long each of several takes, to the last byte; one before them does not count."""
        await self.get(path)
        found = []
        for _ in range(self.times):
            began_ns = time.perf_counter_ns()
            await self.get(path)
            found.append((time.perf_counter_ns() - began_ns) / 1e6)
        return found

    async def streamed_ms(self, path: str) -> tuple[float, float, int]:
        """Milliseconds to the first byte and to the last, and how many bytes came."""
        began_ns, first_ns, size = time.perf_counter_ns(), 0, 0
        async with self.session.get(path) as answer:
            async for piece in answer.content.iter_any():
                first_ns = first_ns or time.perf_counter_ns() - began_ns
                size += len(piece)
        return first_ns / 1e6, (time.perf_counter_ns() - began_ns) / 1e6, size


def p95_row(what: str, ours: Times, theirs: Times, at_most: float | None = None) -> Row:
    """The 95th percentiles of both, ours against its budget."""

    def p95(values: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.asarray(np.percentile(values, 95, axis=-1))

    return Row(
        what=f"{what}: p95",
        ours=float(np.percentile(ours, 95)),
        theirs=float(np.percentile(theirs, 95)),
        unit="ms",
        compared=bootstrap(p95, ours, ours),
        sign="ms",
        at_most=at_most,
    )
