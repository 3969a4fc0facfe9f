"""What the levels below the layers saw, as a person reads it: counts a query, samples, calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from analysis.counts import CountRow, SampledRow, counts_per_query, sampled
from analysis.summary import Result
from bus.messages import LEVELS, JobStarted, Level, Message, MetricsRecorded, Run
from collector.timeline import Timeline
from mlmodelscope.tables import Column, console, table

CALLS, SPENT = "syscalls.", ".time"
MOST_CALLS = 10


class Deep(msgspec.Struct, frozen=True, kw_only=True):
    """Each quantity from the shallowest run of the best batch size that has it."""

    counts: list[CountRow] = []
    sampled: list[SampledRow] = []
    queries: int = 0


def is_deep(result: Result) -> bool:
    """Whether there may be something to see below the model level."""
    model = LEVELS.index("model")
    return any(LEVELS.index(run.level) > model for run in result.overhead) or not result.leveled


def look(
    facts: Sequence[Message],
    result: Result,
    timeline: Timeline | None,
    metrics: Sequence[MetricsRecorded],
) -> Deep:
    """The counts and samples of an evaluation."""
    runs = best_runs(facts, result)
    levels: tuple[Level, ...] = ("system", "hardware")
    counts = []
    for level in levels:
        able = [run.index for run in runs if LEVELS.index(run.level) >= LEVELS.index(level)]
        rows = (counts_per_query(timeline, level, run) for run in able) if timeline else iter(())
        counts += next((found for found in rows if found), [])
    order = {run.index: number for number, run in enumerate(runs)}
    chosen: dict[tuple[str, str], SampledRow] = {}
    for row in sampled(metrics):
        known = chosen.get((row.name, row.unit))
        if row.run in order and (known is None or order[row.run] < order[known.run]):
            chosen[row.name, row.unit] = row
    queries = runs[0].queries if runs else 0
    return Deep(counts=counts, sampled=list(chosen.values()), queries=queries)


def best_runs(facts: Sequence[Message], result: Result) -> list[Run]:
    """The runs of the best batch size, the shallowest first."""
    started = next((fact for fact in facts if isinstance(fact, JobStarted)), None)
    if started is None or result.best_batch is None:
        return []
    best = [run for run in started.runs if run.batch_size == result.best_batch.batch_size]
    return sorted(best, key=lambda run: LEVELS.index(run.level))


def print_deep(deep: Deep) -> None:
    """Tables of what there is."""
    out = console()
    titles = {"system": "What the system did, per query", "hardware": "What was counted, per query"}
    for level, title in titles.items():
        if rows := [_count(row) for row in deep.counts if row.level == level]:
            out.print(table(rows, COUNTS, f"\n{title}"))
    values = [_sample(row) for row in deep.sampled if not row.name.startswith(CALLS)]
    if values:
        out.print(table(values, SAMPLED, "\nWhat was sampled beside it"))
    if calls := _calls(deep):
        out.print(table(calls, CALL_COLUMNS, f"\nSystem calls, of {deep.queries} queries"))


COUNTS = [
    Column("count", "name"),
    Column("mean", right=True),
    Column("median", right=True),
    Column("max", "high", right=True),
]
SAMPLED = [
    Column("quantity", "name"),
    Column("unit"),
    Column("samples", right=True),
    Column("mean", right=True),
    Column("min", "low", right=True),
    Column("max", "high", right=True),
]
CALL_COLUMNS = [
    Column("call", "name"),
    Column("calls", right=True),
    Column("per query", "per_query", right=True),
    Column("kernel ms", "kernel_ms", right=True),
]


def _count(row: CountRow) -> dict[str, Any]:
    """Times in milliseconds."""
    timed = row.name.endswith("_ns")
    scale, name = (1e6, f"{row.name.removesuffix('_ns')} (ms)") if timed else (1.0, row.name)
    numbers = {key: _number(getattr(row, key) / scale) for key in ("mean", "median", "high")}
    return {"name": name.replace("_", " "), **numbers}


def _sample(row: SampledRow) -> dict[str, Any]:
    numbers = {key: _number(getattr(row, key)) for key in ("mean", "low", "high")}
    return {"name": row.name, "unit": row.unit, "samples": row.samples, **numbers}


def _calls(deep: Deep) -> list[dict[str, Any]]:
    found = {row.name: row.last for row in deep.sampled if row.name.startswith(CALLS)}
    counted = {name: calls for name, calls in found.items() if not name.endswith(SPENT)}
    first = sorted(counted, key=lambda name: -counted[name])[:MOST_CALLS]
    return [
        {
            "name": name.removeprefix(CALLS),
            "calls": f"{counted[name]:,.0f}",
            "per_query": _number(counted[name] / max(1, deep.queries)),
            "kernel_ms": _number(found.get(f"{name}{SPENT}", 0.0) * 1e3),
        }
        for name in first
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1e4 else f"{value:,.4g}"
