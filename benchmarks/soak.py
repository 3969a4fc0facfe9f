"""A worker that traces as fast as it can for a while: every span is counted, to MongoDB and back.

Nothing may be lost that is not counted as lost; what worker and node held in memory is recorded.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter
from typing import Any

from benchmarks import children, services
from benchmarks.effort import Effort
from benchmarks.intervals import exactly
from benchmarks.report import Result, Row
from benchmarks.services import Fleet
from benchmarks.spans import a_job, emptied, heard, jetstream, stored_blocks
from bus import subjects
from bus.connection import Bus
from predictor_node.spill import Spill
from predictor_node.telling import Teller

MADE = 50_000
"""Spans that the worker gives again and again."""
SPILL_BYTES = 1 << 30


async def run(effort: Effort) -> Result:
    """One run of `soak_s` seconds."""
    with services.running(("collector",), durable=True) as system:
        async with services.connected(system) as bus:
            return await _soaked(system, bus, effort.soak_s)


async def _soaked(system: Fleet, bus: Bus, seconds: float) -> Result:
    counters: Counter[str] = Counter()
    spill = Spill(system.folder / "spill", SPILL_BYTES, counters)
    job = a_job()
    teller = Teller(bus, job, spill=spill)
    resending = asyncio.create_task(spill.run(bus))
    try:
        begin_s = time.perf_counter()
        finished = await _traced(teller, seconds)
        sent_s = time.perf_counter() - begin_s
        await teller.settle()
        while spill.active:
            await asyncio.sleep(0.1)
        async with jetstream(system) as js:
            await emptied(js, subjects.SPANS_STREAM)
        took_s = time.perf_counter() - begin_s
    finally:
        resending.cancel()
    emitted = sum(finished["spans"].values())
    stored = await asyncio.to_thread(stored_blocks, system, job.evaluation_id)
    raw: dict[str, float] = {
        "emitted": emitted,
        "stored": stored,
        "dropped": teller.lost_spans,
        "spilled_batches": counters["spilled_batches"],
        "seconds": took_s,
        "worker_peak_bytes": finished["peak_bytes"],
        "node_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(f"soak: {raw}", file=sys.stderr, flush=True)
    return Result([_row(raw, sent_s)], raw)


async def _traced(teller: Teller, seconds: float) -> dict[str, Any]:
    """Pass on what a worker traces; what it says at its end."""
    arguments = ("-m", "benchmarks.span_worker", str(MADE), str(seconds))
    async with children.started(*arguments) as worker:
        await heard(worker)
        children.tell(worker, b"begin")
        while (frame := await heard(worker)).pop("said") == "spans":
            await teller.spans_packed("worker", frame)
        return frame


def _row(raw: dict[str, float], sent_s: float) -> Row:
    gib = {name: raw[f"{name}_peak_bytes"] / 2**30 for name in ("worker", "node")}
    return Row(
        what="spans at full rate, stored / emitted",
        ours=raw["stored"],
        theirs=raw["emitted"],
        unit="",
        compared=exactly(raw["stored"] / raw["emitted"]),
        at_least=1.0,
        note=f"{raw['emitted'] / sent_s:,.0f} spans a second for {sent_s:.0f} s, all of them in "
        f"MongoDB {raw['seconds'] - sent_s:.1f} s later; {raw['dropped']:,.0f} dropped, "
        f"{raw['spilled_batches']:,.0f} batches spilled on the way; peaks of memory: worker "
        f"{gib['worker']:.2f} GiB, node {gib['node']:.2f} GiB",
    )
