"""Has the cells of a grid evaluated, in parallel, those that were not done before; one table."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape
from rich.progress import Progress, TaskID

from analysis.accuracy import accuracy
from analysis.summary import Result, summarize
from bus.errors import EvaluationError, MLModelScopeError, NotStoredError, RefusedError
from bus.messages import DatasetManifest, Manifest, Message, Wanted
from mlmodelscope import accuracy_report, dataset_files, manifest_files
from mlmodelscope.asked import as_arguments
from mlmodelscope.client import Client
from mlmodelscope.evaluating import give_up, progress_bar
from mlmodelscope.evaluation import Evaluation
from mlmodelscope.exits import FAILED, OK
from mlmodelscope.grids import Grid, Wish, is_count, wishes
from mlmodelscope.tables import Column, console, ms, print_csv, print_json, table

AT_ONCE = 32
"""Evaluations that one grid has outstanding: the nodes' queues belong to others too."""
MOST_TRIES = 100


@dataclass
class Cell:
    """One evaluation of a grid and what came of it. before: it was done when we looked."""

    wish: Wish
    problem: str = ""
    result: Result | None = None
    facts: Sequence[Message] = ()
    before: bool = False
    evaluation: Evaluation | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Running:
    """What the cells of one grid have in common while they run."""

    client: Client
    grid: Grid
    fail_fast: bool
    models: dict[str, str | Manifest]
    dataset: str | DatasetManifest


async def run(client: Client, grid: Grid, output: str, fail_fast: bool = False) -> int:
    """Run the grid to its end, and print it. FAILED where a cell failed or was refused."""
    with progress_bar() as progress:
        task = progress.add_task("starting", total=None)
        async with client:
            progress.update(task, description="looking at the grid")
            running = await running_of(client, grid, fail_fast)
            cells = [Cell(wish) for wish in wishes(grid, await places(running))]
            await complete(running, cells, Watched(progress, task, "evaluating the grid"))
            progress.remove_task(task)
    show(cells, output)
    return FAILED if any(cell.problem for cell in cells) else OK


@dataclass(frozen=True)
class Watched:
    """A bar that shows how far some cells are, and what it says meanwhile."""

    progress: Progress
    task: TaskID
    text: str


async def complete(running: Running, cells: Sequence[Cell], watched: Watched) -> None:
    """Evaluate those cells that were not done before; Ctrl-C stops what was begun."""
    await look(running, cells)
    done = sum(cell.before for cell in cells)
    progress, task = watched.progress, watched.task
    progress.update(task, description=watched.text, total=len(cells), completed=done)
    try:
        await _run(running, cells, lambda: progress.advance(task))
    except (asyncio.CancelledError, KeyboardInterrupt):
        begun = [cell.evaluation for cell in cells if cell.evaluation and not cell.result]
        await asyncio.gather(*(give_up(running.client, evaluation) for evaluation in begun))
        left = sum(1 for cell in cells if cell.result is None)
        text = f"{len(cells) - left} of {len(cells)} cells are done"
        print(f"{text}: the same command goes on from there", file=sys.stderr)
        raise


async def running_of(client: Client, grid: Grid, fail_fast: bool) -> Running:
    """Manifests and datasets of one's own go along once, not once a cell."""
    models: dict[str, str | Manifest] = {}
    for model in dict.fromkeys(grid.models):
        is_file = manifest_files.is_file(model)
        models[model] = await client.manifest(Path(model)) if is_file else model
    dataset: str | DatasetManifest = grid.dataset
    if grid.dataset and dataset_files.is_own(grid.dataset):
        dataset = await client.dataset(Path(grid.dataset))
    return Running(client, grid, fail_fast, models, dataset)


async def places(running: Running) -> dict[str, list[str]]:
    """For `nodes: all`, or a number: which nodes fit each model, the first choice first; of a model
    that none fits, a cell says why."""
    grid = running.grid
    if not any(map(is_count, grid.nodes)):
        return {}
    wanted = Wanted(device="", requires=grid.requires, prefer=grid.prefer)
    found = {}
    for name, model in running.models.items():
        try:
            found[name] = (await running.client.fits(model, wanted)).nodes
        except RefusedError:
            found[name] = ["any"]
    return found


# ---------------------------------------------------------------- what was done before


async def look(running: Running, cells: Sequence[Cell]) -> None:
    """Give each cell what is stored of it, if it finished."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(cell: Cell) -> None:
        async with slots:
            await _found(running, cell)

    await asyncio.gather(*(one(cell) for cell in cells))


async def _found(running: Running, cell: Cell) -> int:
    """What is stored of a cell, if it finished; which try is the first that did not end."""
    for tried in range(MOST_TRIES):
        evaluation_id = cell.wish.evaluation_id(running.grid.name, tried)
        try:
            _, facts, _ = await running.client.stored(evaluation_id)
        except NotStoredError:
            return tried
        result = summarize(facts)
        if result.state == "finished":
            cell.result, cell.facts, cell.before = result, facts, True
            return tried
        if result.state == "running":
            return tried  # it goes on: asking by its id finds it
    return MOST_TRIES


# ---------------------------------------------------------------- running the others


async def _run(running: Running, cells: Sequence[Cell], done: Callable[[], None]) -> None:
    slots, failed = asyncio.Semaphore(AT_ONCE), asyncio.Event()

    async def one(cell: Cell) -> None:
        async with slots:
            if running.fail_fast and failed.is_set():
                cell.problem = "not begun: another one had failed (--fail-fast)"
            else:
                await _one(running, cell)
            if cell.problem:
                failed.set()
            done()

    await asyncio.gather(*(one(cell) for cell in cells if not cell.before))


async def _one(running: Running, cell: Cell) -> None:
    wish, client = cell.wish, running.client
    try:
        tried = await _found(running, cell)
        cell.evaluation = await client.evaluate(
            running.models[wish.model],
            **as_arguments(wish.asked),
            dataset=running.dataset,
            limit=wish.limit,
            evaluation_id=wish.evaluation_id(running.grid.name, tried),
        )
        cell.result = await cell.evaluation.result()
    except EvaluationError as exc:
        assert cell.evaluation is not None
        cell.problem, cell.result = str(exc), summarize(cell.evaluation.facts)
    except MLModelScopeError as exc:
        cell.problem = str(exc)
    if cell.evaluation is not None:
        cell.facts = cell.evaluation.facts


# ---------------------------------------------------------------- what is printed


COLUMNS = [
    Column("model"),
    Column("framework"),
    Column("node"),
    Column("environment", optional=True),
    Column("precision", optional=True),
    Column("batch", "batch_size", right=True),
    Column("p50 ms", "p50_ns", ms, right=True),
    Column("p99 ms", "p99_ns", ms, right=True),
    Column("inputs/s", "throughput", lambda x: "–" if x is None else f"{x:.1f}", right=True),
    Column("accuracy", optional=True),
    Column("evaluation", show=lambda found: found[:8]),
    Column("", "before", lambda before: "done before" if before else "", optional=True),
]


def show(cells: Sequence[Cell], output: str) -> None:
    """The grid as a table, its problems below; or as data."""
    rows = [row_of(cell) for cell in cells]
    if output == "json":
        results = (msgspec.to_builtins(cell.result) for cell in cells)
        print_json([row | {"result": whole} for row, whole in zip(rows, results, strict=True)])
        return
    if output == "csv":
        print_csv(rows)
        return
    out = console()
    if shown := [row for row in rows if not row["problem"]]:
        title = f"\n{len(shown)} of {len(rows)} evaluations"
        out.print(table(shown, [_plain(column, shown) for column in COLUMNS], title))
    problems = Counter((row["model"], row["problem"]) for row in rows if row["problem"])
    for (model, problem), count in problems.items():
        times = f" ({count} times)" if count > 1 else ""
        out.print(f"[red]{escape(model)}[/]{times} {escape(problem)}")


def _plain(column: Column, rows: Sequence[dict[str, Any]]) -> Column:
    """A column that says `default` everywhere is left out."""
    if column.optional and all(row[column.field or column.heading] == "default" for row in rows):
        return Column(column.heading, column.field, lambda _: "", column.right, optional=True)
    return column


def row_of(cell: Cell) -> dict[str, Any]:
    """A cell's coordinates and what was measured there."""
    asked, result = cell.wish.asked, cell.result
    row: dict[str, Any] = {
        "model": asked.model,
        "framework": asked.framework,
        "node": asked.node or "any",
        "environment": asked.environment,
        "device": asked.device,
        "precision": str(asked.settings.get("precision", "")),
        "batch_size": asked.batch_sizes[0],
        "p50_ns": None,
        "p99_ns": None,
        "throughput": None,
        "accuracy": "",
        "evaluation": "",
        "before": cell.before,
        "problem": cell.problem,
    }
    if result is None or not result.framework:
        return row
    first = next(iter(result.latency), None)
    return row | {
        "model": f"{result.model} {result.model_version}",
        "framework": f"{result.framework} {result.framework_version}",
        "node": result.node_id,
        "environment": result.environment,
        "p50_ns": first.p50_ns if first else None,
        "p99_ns": first.p99_ns if first else None,
        "throughput": first.throughput if first else None,
        "accuracy": _accuracy(cell) if result.dataset and not cell.problem else "",
        "evaluation": result.evaluation_id,
    }


def _accuracy(cell: Cell) -> str:
    """The first figure of how right it is."""
    for row in accuracy(cell.facts):
        for figure in accuracy_report.figures(row):
            if figure.value is not None:
                percent = figure.unit == "%"
                value = f"{100 * figure.value:.2f} %" if percent else f"{figure.value:.4g}"
                return f"{figure.name} {value}"
    return ""
