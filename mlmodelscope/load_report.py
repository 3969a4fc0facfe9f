"""Results of loads as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from analysis.scenarios import ScenarioRow
from mlmodelscope.tables import Column, ms, table

LOADS = [
    Column("scenario"),
    Column("batch", "batch_size", right=True),
    Column("queries", show=lambda n: f"{n:,}", right=True),
    Column("inputs", "samples", lambda n: f"{n:,}", right=True),
    Column("p50 ms", "p50", ms, right=True),
    Column("p90 ms", "p90", ms, right=True),
    Column("p99 ms", "p99", ms, right=True),
    Column("result"),
    Column("", "valid"),
]
SHOWN = {"p50": 1, "p90": 10, "p99": 100}
"""Which percentiles, and how many queries each needs."""


def print_loads(out: Console, rows: Sequence[ScenarioRow]) -> None:
    """Each run under a load: its figure, valid or not, and why."""
    if not rows:
        return
    shown = [
        {
            "scenario": row.scenario.replace("_", "-"),
            "batch_size": row.batch_size,
            "queries": row.queries,
            "samples": row.samples,
            **{name: _shown(row, name, least) for name, least in SHOWN.items()},
            "result": figure(row),
            "valid": "VALID" if row.valid else "INVALID",
        }
        for row in rows
    ]
    out.print(table(shown, LOADS, "\nUnder load (latency as the scenario means it)"))
    for row in rows:
        for line in _lines(row):
            out.print(line, soft_wrap=True)


def _shown(row: ScenarioRow, name: str, least: int) -> int | None:
    """A percentile, where there were enough for it."""
    count = row.samples // row.batch_size if row.scenario == "offline" else row.queries
    return row.percentiles_ns[name] if count >= least else None


def figure(row: ScenarioRow) -> str:
    """The scenario's own figure."""
    if row.value is None:
        return row.metric if "needs" in row.metric else f"{row.metric}: none"
    return f"{row.metric} {row.value:.4g} {row.unit}".replace(" 1/s", "/s").rstrip()


def _lines(row: ScenarioRow) -> Iterator[str]:
    head = f"{row.scenario.replace('_', '-')}, batch {row.batch_size}"
    for condition in row.conditions:
        if not condition.met:
            text = f"{condition.name}: {condition.found}, expected {condition.expected}"
            yield f"[yellow]{head}: INVALID[/] {escape(text)}"
    if row.early_stopping is not None and row.early_stopping.met:
        yield escape(f"{head}: early stopping: {row.early_stopping.text}")
    if row.parts:
        steps = ", ".join(f"{p.name} {ms(p.median_ns)} ms" for p in row.parts)
        yield escape(f"{head}: {steps} (medians of {row.queries} processes)")
        if row.warm_ns:
            ratio = (row.latency_ns or 0) / row.warm_ns
            yield escape(f"{head}: ×{ratio:.0f} of a warm query ({ms(row.warm_ns)} ms)")
    if row.ended and row.ended != "minima" and not row.parts:
        yield escape(f"{head}: ended: {row.ended}")
    if row.warming:
        yield escape(f"{head}: the first {row.warming} queries look like warming up (all are kept)")
    for name, asked, got in changed(row):
        yield escape(f"{head}: {name}: asked for {asked}, in effect {got}")
    if row.not_compliant:
        yield escape(f"{head}: not MLPerf-compliant: {'; '.join(row.not_compliant)}")


def changed(row: ScenarioRow) -> Iterator[tuple[str, object, object]]:
    """The settings that were asked for and came out otherwise."""
    for name, asked in row.requested.items():
        got = row.effective.get(name)
        if asked and got is not None and asked != got and name != "target_qps":
            yield name, asked, got
