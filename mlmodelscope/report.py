"""A Result as a person reads it: what it says, how fast it is, where the time goes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape

from analysis.claims import ClaimRow
from analysis.layers import LayerRow
from analysis.reconciliation import CoverageRow, reconcile
from analysis.summary import Result
from collector.timeline import Timeline
from mlmodelscope import completeness
from mlmodelscope.deep_report import Deep, print_deep
from mlmodelscope.imported import devices, recording_lines
from mlmodelscope.load_report import print_loads
from mlmodelscope.predictions import tables_of
from mlmodelscope.tables import Column, console, gib, ms, table

UNTRAINED = "good for timing, never for accuracy"


def print_result(
    result: Result,
    layers: Sequence[LayerRow],
    timeline: Timeline | None,
    deep: Deep | None = None,
) -> None:
    """Everything that there is to say about one evaluation."""
    out = console()
    out.print(f"\n[bold]{escape(result.model)} {result.model_version}[/] {where_it_ran(result)}")
    if result.state != "finished":
        out.print(f"[bold red]{result.state}[/]")
        for failure in result.failures:
            out.print(f"[red]{escape(failure.kind)}[/] {escape(failure.text)}")
    if result.weights != "trained" and not result.recording:
        out.print(f"[yellow]weights: {escape(result.weights)}[/]: {UNTRAINED}")
    told = [] if result.dataset else result.predictions
    for shown in tables_of(told, f"\nWhat it says{_marked(result)}"):
        out.print(shown)
    if result.latency:
        out.print(table(latency_rows(result), LATENCY, "How fast it is", mark="best"))
        for line in latency_notes(result):
            out.print(line)
    print_loads(out, result.scenarios)
    for line in claim_lines(result.claims):
        out.print(line)
    if layers:
        out.print(
            table([_layer(row) for row in layers], LAYERS, f"\n{_layers_title(result, layers)}")
        )
    for line in coverage_lines(reconcile(timeline)) if timeline is not None else ():
        out.print(line)
    for line in recording_lines(result.recording) if result.recording else ():
        out.print(line)
    if deep is not None:
        print_deep(deep)
    for line in cost_lines(result):
        out.print(line)
    for line in _completeness(result, timeline):
        out.print(line)


def print_next(result: Result, trace: Path | None) -> None:
    """What to do now."""
    out, short = console(), result.evaluation_id[:8]
    where = f"written to {trace}; stored as" if trace is not None else "stored as"
    out.print(f"\nTimeline {where} {result.evaluation_id}")
    asked, about = (
        ("A6,A14", "layers by type, and their limits")
        if result.layers
        else ("A1", "latency and throughput by batch size")
    )
    out.print("Next:")
    for words, why in (
        (f"timeline {short} -o trace.json", "open it at https://ui.perfetto.dev"),
        (f"analyze {short} --what {asked}", about),
        (f"show {short} --output json", "every number, for programs"),
        ("history", "what was measured before"),
    ):
        out.print(f"  {own_command()} {words:<32} # {why}", soft_wrap=True)


def own_command() -> str:
    """How this command can be typed again in this shell: by its name only where PATH has it."""
    if shutil.which("mlmodelscope"):
        return "mlmodelscope"
    if Path(sys.argv[0]).name == "mlmodelscope":
        return _short(sys.argv[0])
    return f"{_short(sys.executable)} -m mlmodelscope"


def _short(path: str) -> str:
    return min(os.path.relpath(path), os.path.abspath(path), key=len)


def print_written(path: str, size: int, timeline: Timeline) -> None:
    """A timeline was written to a file."""
    state = "; ".join(completeness.words(timeline))
    text = f"{path}: {len(timeline):,} spans, {size:,} bytes, {state}"
    console().print(escape(text))


# ---------------------------------------------------------------- tables


def _spread(low: Any, high: Any, show: Any) -> str:
    return "–" if low is None or high is None else f"{show(low)}–{show(high)}"


def _rate(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


LATENCY = [
    Column("batch", "batch_size", lambda size: str(size or "unknown"), right=True),
    Column("queries", right=True),
    Column("p50 ms", "p50_ns", ms, right=True),
    Column("95 % interval", "interval", right=True),
    Column("p90 ms", "p90_ns", ms, right=True),
    Column("p99 ms", "p99_ns", ms, right=True),
    Column("inputs/s", "throughput", _rate, right=True),
    Column("95 % interval", "rates", right=True),
    Column("", "mark"),
]
LAYERS = [
    Column("layer"),
    Column("operator"),
    Column("output"),
    Column("p50 ms", "median_ns", ms, right=True),
    Column("share", "share_percent", lambda x: "n/a" if x is None else f"{x:.1f} %", right=True),
]


def latency_rows(result: Result) -> list[dict[str, Any]]:
    """Each batch size as a row of LATENCY."""
    best = result.best_batch.batch_size if result.best_batch else None
    return [
        {
            **msgspec.to_builtins(row),
            "interval": _spread(row.median_low_ns, row.median_high_ns, ms),
            "rates": _spread(row.throughput_low, row.throughput_high, _rate),
            "best": row.batch_size == best and len(result.latency) > 1,
            "mark": "← best" if row.batch_size == best and len(result.latency) > 1 else "",
        }
        for row in result.latency
    ]


def _layer(row: LayerRow) -> dict[str, Any]:
    return {
        "layer": row.name,
        "operator": row.operator,
        "output": "×".join(map(str, row.output_shape)),
        "median_ns": row.median_ns,
        "share_percent": row.share_percent,
    }


# ---------------------------------------------------------------- lines


def where_it_ran(result: Result) -> str:
    """Framework, machine and node in a line of rich markup."""
    machine = result.node
    threads = result.effective.get("intra_op_threads")
    unsaid = ("", "default", "unknown (imported)")
    parts = [
        f"{result.framework} {result.framework_version}",
        f"environment {result.environment}" if result.environment not in unsaid else "",
        _boxed(result),
        f"{threads} thread{'s' if threads != 1 else ''}" if threads else "",
        f"{machine.cpu} ({machine.cores} cores)" if machine and machine.cores else "",
        devices(machine) if machine and result.recording else "",
        f"node {result.node_id}",
    ]
    return "· " + " · ".join(escape(part) for part in parts if part)


def _boxed(result: Result) -> str:
    """Which image it was, whatever its name means by now, and what the container might use."""
    if result.stack is None or not result.stack.image:
        return ""
    memory = gib(result.effective.get("container.memory", 0))
    limits = f"{memory}, {result.effective.get('container.cpus', '?')} CPUs"
    network = "" if result.effective.get("container.network") == "on" else ", no network"
    return f"image {result.stack.digest[:19]}, {limits}{network}"


def _marked(result: Result) -> str:
    return "" if result.weights == "trained" else f" (weights: {result.weights}: it means nothing)"


def claim_lines(claims: Sequence[ClaimRow]) -> list[str]:
    """Each of the author's claims beside what was measured."""
    return [escape(claim_text(row)) for row in claims]


def claim_text(row: ClaimRow) -> str:
    """One claim beside what was measured."""
    batch = f"batch {row.batch_size}" if row.batch_size else ""
    about = ", ".join(part for part in (batch, row.on, row.source) if part)
    line = f"claimed {row.metric} {_amount(row.claimed, row.unit)}"
    line += f" ({about})" if about else ""
    if row.measured is None:
        return f"{line}: {row.why}"
    line += f", measured {_amount(row.measured, row.unit)}"
    return (
        f"{line}: ×{row.ratio:.2f}" if row.ratio is not None else f"{line}: not compared, {row.why}"
    )


def _amount(value: float, unit: str) -> str:
    return f"{value:.4g} {unit}".strip()


def latency_notes(result: Result) -> list[str]:
    """What must be said beside the table, as rich markup."""
    lines = []
    if result.best_batch is not None and len(result.latency) > 1:
        lines.append(f"best: batch {result.best_batch.batch_size}, {result.best_batch.rule}")
    for row in result.latency:
        if row.needs:
            needs = ", ".join(f"{name} {text}" for name, text in row.needs.items())
            lines.append(f"batch {row.batch_size or 'unknown'}: {needs}")
        for note in row.statistics.notes if row.statistics else ():
            lines.append(f"[yellow]batch {row.batch_size or 'unknown'}:[/] {escape(note)}")
    return lines


def _layers_title(result: Result, layers: Sequence[LayerRow]) -> str:
    run = next((row for row in result.overhead if row.run == layers[0].run), None)
    return f"The {len(layers)} slowest layers" + (f", batch {run.batch_size}" if run else "")


def coverage_lines(rows: Sequence[CoverageRow]) -> list[str]:
    """How much of the time is accounted for: of the first run with layers, and of their calls."""
    lines = []
    if row := next((row for row in rows if row.layers_percent is not None), None):
        lines.append(f"layers cover {row.layers_percent:.0f} % of predict (run {row.run})")
    if row := next((row for row in rows if row.calls_percent is not None), None):
        text = f"library calls cover {row.calls_percent:.0f} % of the layers that make any"
        lines.append(f"{text} (run {row.run}: {row.calls:,} calls)")
    return lines


def cost_lines(result: Result) -> list[str]:
    """What looking cost, and what could not be looked at, as rich markup."""
    lines = []
    if not result.leveled:
        level = result.latency[0].level
        lines.append(f"[yellow]not leveled[/]: times contain the cost of looking at {level} level")
    for level in dict.fromkeys(row.level for row in result.overhead):
        costs = ", ".join(
            f"batch {row.batch_size} ×{row.ratio:.2f} ({row.added_ns / 1e6:+.3f} ms)"
            for row in result.overhead
            if row.level == level
        )
        lines.append(f"cost of looking at {level} level (a run of its own): {costs}")
    if result.peak_memory_bytes:
        lines.append(f"peak memory of the worker: {gib(result.peak_memory_bytes)}")
    for what, why in result.unavailable.items():
        lines.append(f"unavailable: {escape(what)}: {escape(why)}")
    return lines


def _completeness(result: Result, timeline: Timeline | None) -> list[str]:
    if not result.spans:
        return []
    emitted = ", ".join(f"{count:,} {level}" for level, count in result.spans.items())
    if result.spilled_spans:
        emitted += f" ({result.spilled_spans:,} of them waited in a file on {result.node_id})"
    if timeline is None:
        return [f"spans emitted: {escape(emitted)}; lost: {result.lost_spans}"]
    state = escape("; ".join(completeness.words(timeline)))
    state = state if timeline.complete else f"[yellow]{state}[/]"
    return [f"spans emitted: {escape(emitted)}; lost: {timeline.lost}; timeline {state}"]
