"""Several evaluations of one command: models x places x precisions, in parallel, side by side."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from rich.markup import escape

from analysis.summary import Result, summarize
from bus.errors import EvaluationError, InputError, MLModelScopeError, RefusedError
from bus.messages import Message, Place, Prediction, Wanted
from mlmodelscope.asked import listed
from mlmodelscope.client import Client
from mlmodelscope.evaluating import give_up, progress_bar
from mlmodelscope.evaluation import Evaluation
from mlmodelscope.exits import FAILED, OK
from mlmodelscope.tables import Column, console, ms, print_csv, print_json, table

AT_ONCE = 32
"""Evaluations that one command has outstanding: the nodes' queues belong to others too."""

Wish = Any
"""What a person asked of one model, a frozen dataclass with model, framework, device, node,
environment, settings and on: an Asked or a Pass."""


@dataclass(frozen=True)
class Grid:
    """What one command asks for. models: names, or `all`; everywhere: each place that fits."""

    wish: Wish
    models: tuple[str, ...] = ()
    everywhere: bool = False
    precisions: tuple[str, ...] = ()
    fail_fast: bool = False

    @property
    def one(self) -> bool:
        """Whether a single evaluation is asked for, which is shown whole."""
        return not (self.models or self.everywhere or self.precisions)


@dataclass(frozen=True)
class Kind:
    """How a command submits a wish, and what it adds to a row: columns, and their values."""

    submit: Callable[[Client, Wish], Awaitable[Evaluation]]
    columns: Sequence[Column] = ()
    figures: Callable[[Result, Sequence[Message]], dict[str, Any]] = lambda result, facts: {}


@dataclass
class Cell:
    """One evaluation of a grid and what came of it."""

    wish: Wish
    precision: str = ""
    problem: str = ""
    result: Result | None = None
    facts: Sequence[Message] = ()
    evaluation: Evaluation | None = field(default=None, repr=False)


async def evaluate(client: Client, grid: Grid, kind: Kind, output: str) -> int:
    """Run them all; print them side by side. FAILED where one of them failed or was refused."""
    with progress_bar() as progress:
        task = progress.add_task("starting", total=None)
        async with client:
            progress.update(task, description="asking which nodes fit")
            cells = await _cells(client, grid)
            progress.update(task, description="evaluating", total=len(cells), completed=0)
            try:
                await _run(client, grid, kind, cells, lambda: progress.advance(task))
            except (asyncio.CancelledError, KeyboardInterrupt):
                begun = [cell.evaluation for cell in cells if cell.evaluation and not cell.result]
                await asyncio.gather(*(give_up(client, evaluation) for evaluation in begun))
                raise
            progress.remove_task(task)
    show(cells, kind, output)
    return FAILED if any(cell.problem for cell in cells) else OK


def grid(
    wish: Wish, models: tuple[str, ...], everywhere: bool, precision: str, fail_fast: bool = False
) -> Grid:
    """The grid of a command's options; a single precision is a setting like any other."""
    precisions = listed(precision)
    if len(precisions) == 1:
        return Grid(_precise(wish, precisions[0]), models, everywhere, (), fail_fast)
    return Grid(wish, models, everywhere, precisions, fail_fast)


def chosen(model: str, models: str) -> tuple[str, ...]:
    """The models of `--models`, or none where MODEL is given; InputError for both or neither."""
    names = listed(models)
    if bool(names) == bool(model):
        raise InputError("expected one MODEL, or --models a,b,c, or --models all")
    return names


# ---------------------------------------------------------------- what there is to run


async def _cells(client: Client, grid: Grid) -> list[Cell]:
    names: Sequence[str] = grid.models or (grid.wish.model,)
    if tuple(names) == ("all",):
        names = sorted({manifest.name for manifest in (await client.models()).models})
    cells = []
    for name in names:
        wish = replace(grid.wish, model=name)
        for placed, problem in await _placed(client, wish) if grid.everywhere else [(wish, "")]:
            for precision in grid.precisions or ("",):
                cells.append(Cell(_precise(placed, precision), precision, problem))
    return cells


async def _placed(client: Client, wish: Wish) -> list[tuple[Wish, str]]:
    """The wish at every place that fits it; or once, with the reason why there is none."""
    wanted = Wanted(
        framework=wish.framework,
        device=wish.device,
        node=wish.node,
        environment=wish.environment,
        requires=list(wish.on.requires),
        prefer=wish.on.prefer,
    )
    try:
        places = (await client.fits(wish.model, wanted)).places
    except RefusedError as exc:
        return [(wish, str(exc))]
    return [(_at(wish, place), "") for place in places] or [(wish, "no node fits")]


def _at(wish: Wish, place: Place) -> Wish:
    framework = f"{place.framework}@{place.framework_version}"
    return replace(wish, node=place.node_id, framework=framework, environment=place.environment)


def _precise(wish: Wish, precision: str) -> Wish:
    if not precision:
        return wish
    return replace(wish, settings={**wish.settings, "precision": precision})


# ---------------------------------------------------------------- running it


async def _run(
    client: Client, grid: Grid, kind: Kind, cells: list[Cell], done: Callable[[], None]
) -> None:
    slots, failed = asyncio.Semaphore(AT_ONCE), asyncio.Event()

    async def one(cell: Cell) -> None:
        async with slots:
            if grid.fail_fast and failed.is_set():
                cell.problem = cell.problem or "not begun: another one had failed (--fail-fast)"
            if not cell.problem:
                await _one(client, kind, cell)
            if cell.problem:
                failed.set()
            done()

    await asyncio.gather(*(one(cell) for cell in cells))


async def _one(client: Client, kind: Kind, cell: Cell) -> None:
    try:
        cell.evaluation = await kind.submit(client, cell.wish)
        cell.result = await cell.evaluation.result()
    except EvaluationError as exc:
        assert cell.evaluation is not None
        cell.problem, cell.result = str(exc), summarize(cell.evaluation.facts)
    except MLModelScopeError as exc:
        cell.problem = str(exc)
    if cell.evaluation is not None:
        cell.facts = cell.evaluation.facts


# ---------------------------------------------------------------- what is printed


def show(cells: Sequence[Cell], kind: Kind, output: str) -> None:
    """Every cell as a row, the problems below; or as data."""
    rows = [_row(cell) | _figures(cell, kind) for cell in cells]
    if output == "json":
        results = (msgspec.to_builtins(cell.result) for cell in cells)
        print_json([row | {"result": whole} for row, whole in zip(rows, results, strict=True)])
    elif output == "csv":
        print_csv(rows)
    else:
        out = console()
        if shown := [row for row in rows if not row["problem"]]:
            every = [*BEFORE, *(kind.columns or [Column("says")]), *AFTER]
            columns = [column for column in every if not _says_nothing(column, shown)]
            out.print(table(shown, columns, "\nSide by side, at the smallest batch size"))
        problems = Counter((row["model"], row["problem"]) for row in rows if row["problem"])
        for (model, problem), count in problems.items():
            times = f" ({count} times)" if count > 1 else ""
            out.print(f"[red]{escape(model)}[/]{times} {escape(problem)}")


def _says_nothing(column: Column, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a column holds only what everybody expects."""
    return all(row[column.field or column.heading] in ("", "default", "trained") for row in rows)


def _figures(cell: Cell, kind: Kind) -> dict[str, Any]:
    names = dict.fromkeys(column.field or column.heading for column in kind.columns)
    if cell.result is None or cell.problem:
        return names
    return names | kind.figures(cell.result, cell.facts)


BEFORE = [Column(name) for name in ("model", "framework", "node", "environment")]
AFTER = [
    Column("precision"),
    Column("p50 ms", "p50_ns", ms, right=True),
    Column("inputs/s", "throughput", lambda x: "–" if x is None else f"{x:.1f}", right=True),
    Column("weights"),
    Column("evaluation", show=lambda found: found[:8]),
]


def _row(cell: Cell) -> dict[str, Any]:
    result, wish = cell.result, cell.wish
    if result is None or not result.framework:
        names = ("framework", "node", "environment")
        found = {name: getattr(wish, name) for name in names}
        return _empty() | {"model": wish.model, **found, "problem": cell.problem}
    first = min(result.latency, key=lambda row: row.batch_size, default=None)
    return {
        "model": f"{result.model} {result.model_version}",
        "framework": f"{result.framework} {result.framework_version}",
        "node": result.node_id,
        "environment": result.environment,
        "precision": result.effective.get("precision", cell.precision),
        "says": in_short(result.predictions),
        "batch_size": first.batch_size if first else None,
        "p50_ns": first.p50_ns if first else None,
        "throughput": first.throughput if first else None,
        "weights": result.weights,
        "evaluation": result.evaluation_id,
        "problem": cell.problem,
    }


def _empty() -> dict[str, Any]:
    numbers = dict.fromkeys(("batch_size", "p50_ns", "throughput"))
    words = dict.fromkeys(("model", *(c.heading for c in BEFORE[1:]), "precision", "says"), "")
    return {**words, **numbers, "weights": "", "evaluation": "", "problem": ""}


def in_short(predictions: Sequence[Prediction]) -> str:
    """What is said of the first input, in a few words."""
    return next((text for made in predictions[:1] for text in _words(made)), "")


def _words(made: Prediction) -> Iterator[str]:
    if made.classes:
        best = made.classes[0]
        yield f"{best.label or best.index} {best.probability:.3f}"
    if made.boxes:
        best_box = max(made.boxes, key=lambda box: box.probability)
        yield f"{len(made.boxes)} boxes, {best_box.label} {best_box.probability:.2f}"
    if made.text:
        yield made.text[:40]
    if made.intervals:
        yield f"{len(made.intervals)} intervals"
    for tensor in (*made.tensors, *filter(None, (made.image,))):
        yield f"{tensor.dtype} {'×'.join(map(str, tensor.shape))}"
    if made.map is not None:
        yield f"classes of {made.map.width}×{made.map.height} pixels"
