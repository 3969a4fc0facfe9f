"""Tracing against not tracing, and against the framework's own profiler alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks.bare import TORCH
from benchmarks.effort import Effort
from benchmarks.model_files import MODEL
from benchmarks.overhead import both, ours, row
from benchmarks.report import Result
from benchmarks.rounds import Rounds, Sides, measure

FRAMEWORK_BUDGET = 1.05
MODEL_BUDGET = 1.01
PROCESSES = 3
"""PyTorch's processes differ more from each other than its blocks: more of them, fewer of these."""
SETTLED = 30
"""After so many calls under Kineto the bare loop has come to its pace: it is up to 1.4 times slower
before, which would be in our favour."""


async def run(effort: Effort) -> Result:
    """Framework level against the framework's profiler; model level against none, both ours."""
    framework, model, torch = Rounds(), Rounds(), Rounds()
    for _ in range(effort.generations):
        async with both() as (bus, files, (one, two)):
            profiled = Sides(
                partial(ours, bus, files, "framework", effort),
                partial(one.block, effort, profile=True),
                partial(two.block, effort, profile=True),
            )
            await measure("framework level", profiled, effort, framework)
            untraced = partial(ours, bus, files, "none", effort)
            traced = Sides(partial(ours, bus, files, "model", effort), untraced, untraced)
            await measure("model level", traced, effort, model)
    many = of_many_processes(effort)
    for _ in range(many.generations):
        async with both(MODEL, "pytorch", TORCH) as (bus, files, (one, two)):
            profiled = Sides(
                partial(ours, bus, files, "framework", many),
                partial(one.block, many, profile=True),
                partial(two.block, many, profile=True),
            )
            await measure("framework level, PyTorch", profiled, many, torch)
    return Result(
        [
            row("framework level / its own profiler alone", framework, effort, FRAMEWORK_BUDGET),
            row("framework level, PyTorch / its own profiler", torch, many, FRAMEWORK_BUDGET),
            row("model level / no tracing", model, effort, MODEL_BUDGET),
        ],
        {
            "framework_block_medians_ns": framework.medians(),
            "pytorch_block_medians_ns": torch.medians(),
            "model_block_medians_ns": model.medians(),
        },
    )


def of_many_processes(effort: Effort) -> Effort:
    """The same effort in more generations of processes, each measured once it has settled."""
    if effort.generations == 1:
        return effort
    return replace(
        effort,
        generations=effort.generations * PROCESSES,
        warmup=SETTLED,
        queries=effort.queries // 2,
        least_rounds=4,
    )
