"""One evaluation, from asking to its result, of a small warm model: against a bare request.

Everything that makes an evaluation durable and its numbers trustworthy lies between the two.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nats
from nats.aio.client import Client as Nats

from benchmarks import children, services
from benchmarks.echo import SUBJECT
from benchmarks.effort import Effort
from benchmarks.intervals import bootstrap, difference_of_medians
from benchmarks.overhead import MS, ROLES
from benchmarks.report import Result, Row
from benchmarks.services import Fleet
from bus.errors import EmbeddedError
from bus.messages import EvaluationFinished, JobFinished, JobStarted, Level, RunMeasured
from manifests import catalog
from mlmodelscope.client import Client

MODEL = "MNIST-CNN"
DIGIT = Path(catalog.__file__).with_name("models") / "samples" / "seven.png"
BUDGET_MS = 10.0
LEVELS: tuple[Level, ...] = ("none", "model")
UNCOUNTED = 5
"""Evaluations before the first that counts: the worker starts, and the model is opened."""
PAUSE_S = 0.05
"""Between two measurements: what one leaves behind (a timeline, say) is not the next one's."""
SEED = 7
BODY = b"x" * 1024
"""About what a request for an evaluation takes."""


@dataclass(frozen=True)
class Asked:
    """One evaluation: how long it took, and what its parts took, by what ends each of them."""

    took_ms: float
    parts_ms: dict[str, float]


async def run(effort: Effort) -> Result:
    """One query at each level, and two bare requests, in an order drawn anew for each round."""
    with services.running(ROLES) as system:
        async with (
            Client(system.bus_url, user="benchmark") as client,
            children.started("-m", "benchmarks.echo", system.bus_url) as echo,
        ):
            if await children.line(echo) != b"ready\n":
                raise EmbeddedError("the echo process ended; it wrote why to stderr")
            kept = await _rounds(client, system, effort)
    rows = [_row(level, kept) for level in LEVELS]
    return Result(rows, {name: [vars(one) for one in every] for name, every in kept.items()})


async def _rounds(client: Client, system: Fleet, effort: Effort) -> dict[str, list[Asked]]:
    bare = await nats.connect(system.bus_url)
    turns: dict[str, Callable[[], Awaitable[Asked]]] = {
        **{level: _of(client, level) for level in LEVELS},
        "bare": lambda: _request(bare),
        "bare again": lambda: _request(bare),
    }
    kept: dict[str, list[Asked]] = {name: [] for name in turns}
    chance = random.Random(SEED)
    try:
        for number in range(UNCOUNTED + effort.evaluations):
            for name in chance.sample([*turns], len(turns)):
                await asyncio.sleep(PAUSE_S)
                asked = await turns[name]()
                if number >= UNCOUNTED:
                    kept[name].append(asked)
            if number % 20 == 0:
                print(f"one evaluation: round {number + 1}", file=sys.stderr, flush=True)
    finally:
        await bare.close()
    return kept


def _of(client: Client, level: Level) -> Callable[[], Awaitable[Asked]]:
    return lambda: _evaluate(client, level)


async def _evaluate(client: Client, level: Level) -> Asked:
    """One query, no warm-up: the model is warm. Times of facts are of this machine's one clock."""
    asked_ns, began_ns = time.time_ns(), time.perf_counter_ns()
    evaluation = await client.evaluate(
        MODEL,
        inputs=[DIGIT],
        framework="onnxruntime",
        runs=1,
        warmup=0,
        threads=1,
        trace=level,
    )
    accepted_ns = time.perf_counter_ns() - began_ns
    await evaluation.result()
    took_ns = time.perf_counter_ns() - began_ns
    parts_ms = {"accepted": accepted_ns / MS}
    for fact in evaluation.facts:
        if isinstance(fact, JobStarted | RunMeasured | JobFinished | EvaluationFinished):
            parts_ms[type(fact).__name__] = (fact.at_ns - asked_ns) / MS
    return Asked(took_ns / MS, parts_ms)


async def _request(bare: Nats) -> Asked:
    began_ns = time.perf_counter_ns()
    await bare.request(SUBJECT, BODY)
    return Asked((time.perf_counter_ns() - began_ns) / MS, {})


def _row(level: Level, kept: dict[str, list[Asked]]) -> Row:
    ours, theirs, again = (
        [asked.took_ms for asked in kept[name]] for name in (level, "bare", "bare again")
    )
    return Row(
        what=f"one evaluation, level {level} − a bare request",
        ours=median(ours),
        theirs=median(theirs),
        unit="ms",
        compared=bootstrap(difference_of_medians, ours, theirs),
        sign="ms",
        at_most=BUDGET_MS,
        same=bootstrap(difference_of_medians, again, theirs),
        note=_when(kept[level]),
    )


def _when(asked: list[Asked]) -> str:
    """Medians of when its steps were reached."""
    reached = {name: median(one.parts_ms[name] for one in asked) for name in asked[0].parts_ms}
    steps = ", ".join(f"{name} after {at_ms:.1f}" for name, at_ms in reached.items())
    return f"{len(asked)} of each; {steps} ms"
