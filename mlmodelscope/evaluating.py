"""The commands evaluate and show: what happens, and what is printed of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.layers import LayerRow, slowest_layers
from analysis.reconciliation import reconcile
from analysis.recording import recording_of
from analysis.summary import Result, summarize
from bus.errors import BusError, MLModelScopeError
from bus.messages import (
    LEVELS,
    GraphDescribed,
    JobStarted,
    Manifest,
    Message,
    MetricsRecorded,
    ModelOpened,
    Queue,
    TimelineChunk,
)
from bus.messages import Progress as Told
from collector.timeline import Timeline
from mlmodelscope import completeness, manifest_files, mlperf_logs, report, timeline_file
from mlmodelscope.asked import Asked, OnNodes, as_arguments
from mlmodelscope.client import Client
from mlmodelscope.deep_report import best_runs, is_deep, look
from mlmodelscope.evaluation import Evaluation
from mlmodelscope.tables import console, print_csv, print_json

MODEL = LEVELS.index("model")


@dataclass(frozen=True)
class Files:
    """What is to be written besides: the timeline, and the log files of MLPerf's load generator."""

    timeline: Path | None = None
    mlperf_logs: Path | None = None


async def evaluate(client: Client, asked: Asked, output: str, files: Files) -> int:
    """Have it evaluated and print what came of it."""
    timeline = files.timeline
    wanted = timeline_file.target(timeline) if timeline is not None else None
    if files.mlperf_logs is not None:
        mlperf_logs.check(files.mlperf_logs, asked)
    with progress_bar() as progress:
        waiting = progress.add_task("starting", total=None)
        async with client:
            progress.update(waiting, description=asking(asked.on))
            evaluation = await submit(client, asked)
            result = await watched(client, evaluation, _watch(evaluation, progress, waiting))
            facts = evaluation.facts
            progress.update(waiting, description="fetching the timeline", total=None)
            found = await _timeline(client, result, needed=timeline is not None)
            metrics: list[MetricsRecorded] = []
            if timeline or is_deep(result):
                _, _, metrics = await client.stored(result.evaluation_id)
            progress.remove_task(waiting)
    _print(facts, result, found, output, metrics)
    if files.mlperf_logs is not None:
        mlperf_logs.write(files.mlperf_logs, result, facts)
    if wanted is not None and found is not None:
        timeline_file.write(recording_of(found, facts, metrics), wanted)
    if output == "table":
        report.print_next(result, timeline)
    return 0


async def show(client: Client, evaluation: str, output: str) -> int:
    """Print a stored evaluation."""
    async with client:
        _, facts, metrics = await client.stored(evaluation)
        result = summarize(facts)
        if result.dataset and result.state == "finished":
            from mlmodelscope.accuracy import Shown, print_accuracy

            print_accuracy(result, facts, Shown(output))
            return 0
        found = await _timeline(client, result)
        needs_head = found is None and bool(result.spans)
        head = await client.timeline_head(evaluation) if needs_head else None
    _print(facts, result, head or found, output, metrics)
    return 0


# ---------------------------------------------------------------- the way there


async def submit(client: Client, asked: Asked) -> Evaluation:
    """Ask for it; a manifest file's own files go along."""
    model: str | Manifest = asked.model
    if manifest_files.is_file(asked.model):
        model = await client.manifest(Path(asked.model))
    return await client.evaluate(model, **as_arguments(asked))


def asking(on: OnNodes) -> str:
    """What is done first, for the progress bar."""
    return f"waiting for a node, up to {on.wait_s:g} s" if on.wait_s else "asking for a node"


def queued(queue: Queue) -> str:
    """Where an evaluation's jobs wait: `queued: 3rd of 7 on node-1`."""
    first = min((job for job in queue.jobs if job.position), key=lambda job: job.position)
    place = f"queued: {ordinal(first.position)} of {first.of} on {first.node_id}"
    others = sum(1 for job in queue.jobs if job.position) - 1
    return f"{place}, {others} more elsewhere" if others else place


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    last = number % 10 if number % 100 not in (11, 12, 13) else 0
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


async def _watch(evaluation: Evaluation, progress: Progress, task: Any) -> None:
    """Show how far it is until it has ended."""
    total, runs = 0, []
    async for fact in evaluation:
        match fact:
            case JobStarted():
                total = sum(run.warmup + run.queries for run in fact.runs)
                label = f"{fact.model} on {fact.node_id}"
                progress.update(task, description=label, total=total, completed=0)
                runs = fact.runs
            case Queue():
                progress.update(task, description=queued(fact))
            case Told(phase="fetch" | "container" | "environment"):
                progress.update(task, description=fact.text)
            case ModelOpened() if not fact.cached:
                progress.update(task, description=f"opened in {fact.duration_ns / 1e6:.0f} ms")
            case Told() if fact.run >= 0:
                run = runs[fact.run]
                label = f"batch {run.batch_size}, {run.level} level, {fact.phase}"
                if run.options is not None:
                    # A load's end is known to the worker alone: each phase has a bar of its own.
                    done, label = fact.done, f"{run.scenario.replace('_', '-')}, {label}"
                    progress.update(task, description=label, completed=done, total=fact.total)
                    continue
                before = sum(run.warmup + run.queries for run in runs if run.index < fact.run)
                done = before + fact.done + (run.warmup if fact.phase != "warmup" else 0)
                progress.update(task, description=label, completed=min(done, total))


async def watched(
    client: Client, evaluation: Evaluation, watching: Coroutine[Any, Any, None]
) -> Result:
    """What came of it, once `watching` has seen its end; Ctrl-C stops it on the node too."""
    try:
        await watching
        return await evaluation.result()
    except (asyncio.CancelledError, KeyboardInterrupt):
        await give_up(client, evaluation)
        raise


async def give_up(client: Client, evaluation: Evaluation) -> None:
    """Ctrl-C: stop the work on the node too."""
    try:
        await asyncio.wait_for(client.cancel(evaluation.evaluation_id), 3.0)
    except (MLModelScopeError, TimeoutError):
        pass  # it will end by its timeout
    await evaluation.close()


async def _timeline(client: Client, result: Result, needed: bool = False) -> Timeline | None:
    """The timeline where it is worth having; its absence costs the layers, not the result."""
    if not (needed or any(LEVELS.index(level) > MODEL for level in result.spans)):
        return None
    try:
        return await client.timeline(result.evaluation_id)
    except BusError as exc:
        if needed:
            raise
        console(stderr=True).print(f"[yellow]no timeline:[/] {exc}")
        return None


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on stderr, where a person looks."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shown = console(stderr=True)
    disable = not shown.is_terminal
    with Progress(*columns, console=shown, transient=True, disable=disable) as progress:
        yield progress


# ---------------------------------------------------------------- what came of it


def _print(
    facts: Sequence[Message],
    result: Result,
    told: Timeline | TimelineChunk | None,
    output: str,
    metrics: Sequence[MetricsRecorded],
) -> None:
    timeline = told if isinstance(told, Timeline) else None
    layers = slowest(facts, result, timeline)
    deep = look(facts, result, timeline, metrics)
    if output == "json":
        seen = {
            "slowest_layers": layers,
            "coverage": reconcile(timeline) if timeline is not None else [],
            "counts": deep.counts,
            "sampled": deep.sampled,
        }
        about = {"timeline": completeness.account(told)} if told is not None else {}
        print_json({**msgspec.to_builtins(result), **msgspec.to_builtins(seen), **about})
    elif output == "csv":
        print_csv([msgspec.to_builtins(row) for row in result.scenarios or result.latency])
    else:
        report.print_result(result, layers, timeline, deep)
    sys.stdout.flush()


def slowest(
    facts: Sequence[Message], result: Result, timeline: Timeline | None, k: int = 5
) -> list[LayerRow]:
    """The k slowest layers, of the shallowest run at the best batch size that has some."""
    if timeline is None:
        return []
    graph = next((fact for fact in facts if isinstance(fact, GraphDescribed)), None)
    if result.recording is not None:
        return slowest_layers(timeline, graph, k)
    runs = [run for run in best_runs(facts, result) if LEVELS.index(run.level) > MODEL]
    return slowest_layers(timeline, graph, k, runs[0].index) if runs else []
