"""A fleet of 10 to 10,000 simulated nodes: choosing, explaining, and two coordinators at work.

Matching is timed alone, against a peer that parses each range on each node. Then, on a real bus,
simulated nodes (benchmarks/fleet_nodes.py) announce and beat, two coordinators share 1,000
evaluations a minute, and a new coordinator is started beside them.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import nodesemver
import numpy as np

from benchmarks import children, services
from benchmarks.effort import Effort
from benchmarks.fleet_nodes import announcement
from benchmarks.intervals import bootstrap, exactly
from benchmarks.report import Result, Row
from benchmarks.services import Fleet, Service
from bus import subjects
from bus.connection import Bus
from bus.messages import (
    Accepted,
    Evaluate,
    FrameworkWanted,
    Input,
    Manifest,
    ModelResources,
    Wanted,
)
from coordinator.constraints import misfits, survey
from coordinator.placement import Outlook, choose
from coordinator.registry import Registry

CHOOSE_MS, EXPLAIN_MS = 1.0, 20.0
A_MINUTE = 1_000
RANGE = ">=1.12 <1.16 || ^2.3"
ROUNDS = 15
ENDING_S = 30.0
MODEL = Manifest(
    name="Simulated",
    version="1.0.0",
    framework=FrameworkWanted(name="onnxruntime", version="^1"),
    model=ModelResources(graph_path="https://models.example/m.onnx"),
)


async def run(effort: Effort) -> Result:
    """Matching at the largest size; then each size on the bus."""
    rows, raw = _matching(max(effort.fleets))
    for count in effort.fleets:
        print(f"fleet: {count} nodes", file=sys.stderr, flush=True)
        with services.running(()) as system:
            async with services.connected(system) as bus:
                seen = await _at_work(system, bus, count, effort.fleet_s)
        rows += _rows(count, seen)
        raw[f"{count} nodes"] = seen
    return Result(rows, raw)


# ---------------------------------------------------------------- matching alone


def _matching(count: int) -> tuple[list[Row], dict[str, Any]]:
    registry = Registry()
    nodes = [announcement(number) for number in range(count)]
    for node in nodes:
        registry.announced(node.node_id, node)
        registry.heard(node.node_id, node.incarnation)
    wanted = Wanted(framework=f"onnxruntime@{RANGE}", requires=["avx512, cores>=8"])
    busy = Outlook({node.node_id: 1.0 + number % 7 for number, node in enumerate(nodes)})

    def chosen(outlook: Outlook) -> Callable[[], object]:
        return lambda: choose(survey(MODEL, wanted, registry.kinds()), outlook)

    def explained() -> object:
        nobody = Wanted(framework=f"onnxruntime@{RANGE}", requires=["gpu.memory>=1TiB"])
        return misfits(survey(MODEL, nobody, registry.kinds()))

    def peer() -> object:
        return [
            node.node_id
            for node in nodes
            for build in node.frameworks
            if build.name == "onnxruntime" and nodesemver.satisfies(build.version, RANGE, True)
        ]

    theirs = _times_ms(peer, 3)
    rows, raw = [], {"peer_ms": theirs}
    for what, work, most in (
        ("choose among", chosen(Outlook()), CHOOSE_MS),
        ("choose among all busy", chosen(busy), CHOOSE_MS),
        ("explain every refusal of", explained, EXPLAIN_MS),
    ):
        ours = _times_ms(work, ROUNDS)
        raw[f"{what}_ms"] = ours
        rows.append(
            Row(
                what=f"{what} {count:,} nodes",
                ours=float(np.median(ours)),
                theirs=float(np.median(theirs)),
                unit="ms",
                compared=bootstrap(lambda a, _: np.asarray(np.median(a, axis=-1)), ours, ours),
                sign="ms",
                at_most=most,
                note="the peer parses each range on each node, and looks at nothing else",
            )
        )
    return rows, raw


def _times_ms(work: Callable[[], object], rounds: int) -> list[float]:
    work()  # what is built once is built
    times = []
    for _ in range(rounds):
        began_ns = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - began_ns) / 1e6)
    return times


# ---------------------------------------------------------------- on the bus


async def _at_work(system: Fleet, bus: Bus, count: int, seconds: float) -> dict[str, Any]:
    """Nodes, two coordinators, evaluations for a while, and a third coordinator at the end."""
    arguments = ("-m", "benchmarks.fleet_nodes", system.bus_url, str(count))
    async with children.started(*arguments) as nodes:
        if await children.line(nodes) != b"ready\n":
            raise RuntimeError(f"{count} simulated nodes were not announced")
        coordinator = functools.partial(services.service, "coordinator", system)
        with coordinator() as one, coordinator() as two:
            await _until_seen((one, two), count)
            seen = await _asked(bus, (one, two), seconds)
            with coordinator() as third:
                began_s = time.monotonic()
                seen["nodes"] = await _until_seen((third,), count)
                seen["new_ready_s"] = third.ready_s + time.monotonic() - began_s
        return seen


async def _until_seen(coordinators: tuple[Service, ...], count: int) -> int:
    """How many nodes all of them see, once it is every one, or in time."""
    deadline_s = time.monotonic() + services.READY_S
    while True:
        seen = min([len((await _status(each))["nodes"]) for each in coordinators])
        if seen >= count or time.monotonic() > deadline_s:
            return seen
        await asyncio.sleep(0.05)


async def _status(service: Service) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        with urllib.request.urlopen(f"{service.status_url}/status", timeout=30) as answer:
            return dict(json.load(answer))

    return await asyncio.to_thread(read)


async def _asked(bus: Bus, coordinators: tuple[Service, ...], seconds: float) -> dict[str, Any]:
    """1,000 evaluations a minute for so long; what they waited, what the coordinators took."""
    before = [_cpu_s(each.pid) for each in coordinators]
    began_s, sent, waited_ms = time.monotonic(), 0, list[float]()
    asking: list[asyncio.Task[None]] = []
    while time.monotonic() - began_s < seconds:
        asking.append(asyncio.create_task(_ask(bus, waited_ms)))
        sent += 1
        due_s = began_s + sent * 60.0 / A_MINUTE
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    await asyncio.gather(*asking)
    passed_s = time.monotonic() - began_s
    after = [_cpu_s(each.pid) for each in coordinators]
    ended = await _ended(coordinators, sent)
    placed = [(await _status(each))["counters"].get("placed", 0) for each in coordinators]
    return {
        "sent": sent,
        "ended": ended,
        "placed": placed,
        "waited_ms": waited_ms,
        "cpu": [(b - a) / passed_s for a, b in zip(before, after, strict=True)],
        "memory_mib": [_memory_mib(each.pid) for each in coordinators],
        "ready_s": [each.ready_s for each in coordinators],
    }


async def _ask(bus: Bus, waited_ms: list[float]) -> None:
    request = Evaluate(
        evaluation_id=uuid.uuid4().hex,
        user=f"user-{len(waited_ms) % 5}",
        manifest=MODEL,
        wanted=Wanted(requires=["cores>=8"]),
        inputs=[Input(name="a", data=b"a")],
        level="none",
    )
    began_ns = time.perf_counter_ns()
    await bus.request(subjects.EVALUATE, request, Accepted, timeout_s=60.0)
    waited_ms.append((time.perf_counter_ns() - began_ns) / 1e6)


async def _ended(coordinators: tuple[Service, ...], sent: int) -> int:
    """How many evaluations the coordinators say have finished, once all have, or in time."""
    deadline_s = time.monotonic() + ENDING_S
    while True:
        counters = [(await _status(each))["counters"] for each in coordinators]
        ended = sum(each.get("finished", 0) for each in counters)
        if ended >= sent or time.monotonic() > deadline_s:
            return ended
        await asyncio.sleep(0.2)


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:
        kib = next(line.split()[1] for line in status if line.startswith("VmRSS"))
    return int(kib) / 1024


def _rows(count: int, seen: dict[str, Any]) -> list[Row]:
    waited = np.asarray(seen["waited_ms"])
    p50, p99 = (float(np.percentile(waited, share)) for share in (50, 99))
    lost = seen["sent"] - seen["ended"]
    one, two = seen["placed"]
    note = (
        f"{seen['sent']} evaluations at {A_MINUTE} a minute, {lost} not ended; the coordinators "
        f"placed {one} and {two} of them"
    )
    figures = (
        ("placing, p99 (theirs: p50)", p99, p50, "ms", note),
        ("a coordinator's CPU (theirs: the other's)", *seen["cpu"], "cores", ""),
        ("a coordinator's memory (theirs: the other's)", *seen["memory_mib"], "MiB", ""),
        (
            "a new coordinator ready (theirs: the first, idle)",
            seen["new_ready_s"],
            seen["ready_s"][0],
            "s",
            f"from its start to knowing {seen['nodes']} nodes, Python's start included",
        ),
    )
    return [
        Row(
            what=f"{count:,} nodes: {what}",
            ours=ours,
            theirs=theirs,
            unit=unit,
            compared=exactly(ours),
            sign=unit,
            note=text,
        )
        for what, ours, theirs, unit, text in figures
    ]
