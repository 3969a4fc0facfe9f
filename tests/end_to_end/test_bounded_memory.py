"""A collector that is frozen: node, worker and collector hold a bounded part; nothing is lost."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.spans import heard
from bus.errors import NotStoredError
from mlmodelscope import Client

QUERIES = 4_000
MIB = 1 << 20


def peak_bytes(pid: int) -> int:
    """The most that a process has had resident (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def forget_peak(pid: int) -> int:
    """The peak begins anew at what is resident now: that."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pid)


async def test_a_frozen_collector_costs_the_node_no_memory(fleet, tmp_path: Path) -> None:
    collector, coordinator = fleet.start("collector"), fleet.start("coordinator")
    node = fleet.start("node", "--id", "node-1")
    for process in (collector, coordinator, node):
        process.wait_until_ready()
    async with Client(fleet.bus_url) as scope:

        async def traced(runs: int) -> Any:
            evaluation = await scope.evaluate(
                "MNIST-CNN", framework="onnxruntime", runs=runs, threads=1, trace="framework"
            )
            return evaluation, await asyncio.wait_for(evaluation.result(), 120)

        await traced(20)  # what is loaded and cached once is not what grows
        before = {one.role: forget_peak(one.pid) for one in (collector, node)}
        collector.freeze()
        evaluation, result = await traced(QUERIES)
        grown = peak_bytes(node.pid) - before["node"]
        collector.thaw()
        deadline_s = time.monotonic() + 60
        timeline = None
        while timeline is None or not timeline.complete:
            assert time.monotonic() < deadline_s, timeline and timeline.missing
            try:
                timeline = await evaluation.timeline()
            except NotStoredError:  # it has 64 messages at a time in hand
                await asyncio.sleep(0.2)
        assert sum(result.spans.values()) > 8 * QUERIES
        assert timeline.emitted == timeline.stored and timeline.lost == 0
        assert all(timeline.emitted[name] == n for name, n in result.spans.items() if n > 1_000)
        # All of these spans are some 10 MiB as rows, several times that as objects.
        assert grown < 24 * MIB
        assert peak_bytes(collector.pid) - before["collector"] < 96 * MIB


async def test_a_worker_whose_pipe_nobody_empties_waits() -> None:
    """It traces as fast as it can: what it holds is one block, and what the pipe takes."""
    async with children.started("-m", "benchmarks.span_worker", "5000", "1.5") as worker:
        await heard(worker)
        resident = forget_peak(worker.pid)
        children.tell(worker, b"begin")
        await asyncio.sleep(1.0)  # nobody reads
        said: list[int] = []
        while (frame := await heard(worker))["said"] == "spans":
            said.append(frame["count"])
            if len(said) % 50 == 1:  # the first time just after it had to wait
                assert peak_bytes(worker.pid) - resident < 16 * MIB
        assert sum(said) == sum(frame["spans"].values()) and len(said) > 5
