"""The commands accuracy, predictions and disagree: what happens, and what is printed of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import Progress

from analysis.accuracy import Accuracy, accuracy
from analysis.items import is_right, items_of
from analysis.paired import paired
from analysis.summary import Result
from bus.messages import (
    DatasetManifest,
    JobStarted,
    Manifest,
    Message,
    ModelOpened,
    Prediction,
    Queue,
    Scenario,
    Truth,
)
from bus.messages import Progress as Told
from mlmodelscope import accuracy_report, dataset_files, local_results, manifest_files
from mlmodelscope.asked import ANY_NODE, OnNodes, as_arguments
from mlmodelscope.client import Client
from mlmodelscope.evaluating import asking, progress_bar, queued, watched
from mlmodelscope.evaluation import Evaluation
from mlmodelscope.tables import Column, print_csv, print_json, print_rows


@dataclass(frozen=True)
class Pass:
    """What a person asked to have run over a dataset."""

    model: str
    dataset: str
    limit: int
    batch_sizes: tuple[int, ...]
    warmup: int
    framework: str
    device: str
    node: str
    environment: str
    threads: int
    top_k: int
    full_outputs: bool
    timeout_s: float
    settings: dict[str, str | int] = field(default_factory=dict)
    container: bool = False
    on: OnNodes = ANY_NODE
    scenario: Scenario | None = None


@dataclass(frozen=True)
class Shown:
    """How it is to be shown. wrong: every wrong item, not the first few."""

    output: str
    wrong: bool = False
    keep_in: Path | None = None
    """Results as files there, and nothing stored."""


async def measure(client: Client, asked: Pass, shown: Shown) -> int:
    """Have a dataset run through a model, and print how right it is and how fast."""
    if shown.keep_in is not None:
        local_results.check(shown.keep_in)
    with progress_bar() as progress:
        waiting = progress.add_task("starting", total=None)
        async with client:
            progress.update(waiting, description=asking(asked.on))
            evaluation = await submit(client, asked)
            result = await watched(client, evaluation, _watch(evaluation, progress, waiting))
            facts = evaluation.facts
            if shown.keep_in is not None:
                progress.update(waiting, description="writing the results", total=None)
                await local_results.keep(client, result, facts, shown.keep_in)
            progress.remove_task(waiting)
    print_accuracy(result, facts, shown)
    if shown.output == "table":
        accuracy_report.print_next(result, shown.keep_in)
    return 0


def print_accuracy(result: Result, facts: Sequence[Message], shown: Shown) -> None:
    """Everything that a run over a dataset says."""
    rows = accuracy(facts)
    if shown.output == "json":
        print_json(as_data(result, rows, facts))
    elif shown.output == "csv":
        print_csv([flat(row) for row in rows])
    else:
        for row in rows:
            accuracy_report.print_row(row, result, every_wrong=shown.wrong)
    sys.stdout.flush()


def figures_of(result: Result, facts: Sequence[Message]) -> dict[str, Any]:
    """The first figures of each accuracy, for a row among others."""
    (row,) = accuracy(facts)
    found = list(accuracy_report.figures(row))[:2]
    shown = [
        f"{100 * f.value:.2f} %" if f.unit == "%" else f"{f.value:.4g}"
        for f in found
        if f.value is not None
    ]
    names = "/".join(figure.name for figure in found)
    return {"items": row.items, "accuracy": f"{names} {', '.join(shown)}"} | {
        figure.name: figure.value for figure in found
    }


SIDE_BY_SIDE = [Column("items", right=True), Column("accuracy")]


def as_data(result: Result, rows: Sequence[Accuracy], facts: Sequence[Message]) -> dict[str, Any]:
    """A result with its accuracy, for programs."""
    told: dict[str, Any] = msgspec.to_builtins(result)
    speeds = {row.job_id: accuracy_report.speed(row, facts) for row in rows}
    told["accuracy"] = [{**msgspec.to_builtins(row), **speeds[row.job_id]} for row in rows]
    return told


def flat(row: Accuracy) -> dict[str, Any]:
    """One line of CSV: whose, and every figure of the task."""
    line: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("model", "model_version", "framework", "framework_version", "node_id")
    }
    line |= {"dataset": row.dataset, "items": row.items, "unlabelled": row.unlabelled}
    for figure in accuracy_report.figures(row):
        line[figure.name] = figure.value
        if figure.low is not None:
            line |= {f"{figure.name}_low": figure.low, f"{figure.name}_high": figure.high}
    return line


# ---------------------------------------------------------------- stored predictions


async def predictions(
    client: Client, evaluation: str, *, wrong: bool, of_class: str, output: str
) -> int:
    """List what was said of each item."""
    async with client:
        _, facts, _ = await client.stored(evaluation)
    rows = []
    for items in items_of(facts).values():
        for item in items:
            made = item.prediction
            right = is_right(made)
            if (wrong and right is not False) or not _of_class(made, of_class):
                continue
            rows.append({"position": item.position, **_row(made), "right": right})
    columns = [Column("position", right=True), Column("input"), Column("true"), Column("said")]
    columns += [
        Column("probability", show=lambda p: "" if p is None else f"{p:.3f}", right=True),
        Column("", "right", lambda right: {True: "right", False: "wrong"}.get(right, "unlabelled")),
    ]
    print_rows(output, rows, columns, empty="no item is like that")
    return 0


def _of_class(made: Prediction, wanted: str) -> bool:
    if not wanted:
        return True
    truth = made.truth or Truth()
    return wanted.casefold() in {truth.label.casefold(), str(truth.index)}


def _row(made: Prediction) -> dict[str, Any]:
    truth, first = made.truth or Truth(), made.classes[0] if made.classes else None
    named = truth.text or truth.label or (str(truth.index) if truth.index >= 0 else "")
    return {
        "input": made.input,
        "true": named or (f"{len(truth.boxes)} boxes" if truth.boxes else ""),
        "said": (first.label or str(first.index)) if first else made.text,
        "probability": first.probability if first else None,
        "prediction": msgspec.to_builtins(made),
    }


async def disagree(client: Client, one: str, two: str, output: str) -> int:
    """Which items does one of two get right and the other wrong?"""
    async with client:
        _, facts_a, _ = await client.stored(one)
        _, facts_b, _ = await client.stored(two)
    found = paired(facts_a, facts_b)
    if output == "json":
        print_json(msgspec.to_builtins(found))
    elif output == "csv":
        print_csv([msgspec.to_builtins(row) for row in found.disagreements])
    else:
        accuracy_report.print_paired(found)
    return 0


# ---------------------------------------------------------------- the way there


async def submit(client: Client, asked: Pass) -> Evaluation:
    """Ask for it; what a manifest or a dataset names of a person's own goes along."""
    model: str | Manifest = asked.model
    if manifest_files.is_file(asked.model):
        model = await client.manifest(Path(asked.model))
    dataset: str | DatasetManifest = asked.dataset
    if dataset_files.is_own(asked.dataset):
        dataset = await client.dataset(Path(asked.dataset))
    return await client.evaluate(model, **{**as_arguments(asked), "dataset": dataset})


async def _watch(evaluation: Evaluation, progress: Progress, task: Any) -> None:
    """Show how far it is until it has ended."""
    async for fact in evaluation:
        match fact:
            case JobStarted():
                label = f"{fact.model} on {fact.dataset}, node {fact.node_id}"
                progress.update(task, description=label)
            case Queue():
                progress.update(task, description=queued(fact))
            case Told(phase="fetch" | "container" | "environment"):
                progress.update(task, description=fact.text)
            case ModelOpened() if not fact.cached:
                progress.update(task, description=f"opened in {fact.duration_ns / 1e6:.0f} ms")
            case Told() if fact.run >= 0:
                label = f"item {fact.done} of {fact.total}"
                progress.update(task, description=label, completed=fact.done, total=fact.total)
