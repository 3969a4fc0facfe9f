"""The command recommend: what the history says of a task, and what to measure next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from analysis.accuracy import accuracy
from analysis.advice import Choice, Limits, Option, advise
from analysis.latency import LatencyRow, latency
from analysis.recommend import MODEL, cost_per_1000, price_per_hour
from bus.errors import InputError, MLModelScopeError, UnknownNameError
from bus.messages import (
    LEVELS,
    DatasetManifest,
    JobStarted,
    Manifest,
    Message,
    ModelOpened,
    NodeSeen,
    RunMeasured,
)
from mlmodelscope import advice_report, reproduce
from mlmodelscope.accuracy_report import Figure, figures
from mlmodelscope.client import Client
from mlmodelscope.evaluating import progress_bar
from mlmodelscope.exits import NOT_COMPARABLE, OK
from mlmodelscope.tables import print_csv, print_json

EARLIER = 300
"""Evaluations of the history that are looked at, the newest."""
MOST_COMMANDS = 8
LOADS = ("online", "single_stream")
"""Under which a call of predict takes what it takes when nothing else waits."""
SAME_ANSWERS = ("device", "threads")
"""Settings that do not change what a model says."""
PERCENTILES = {50: "p50_ns", 90: "p90_ns", 99: "p99_ns"}


@dataclass(frozen=True)
class Question:
    """What a person wants. dataset: `name` or `name@version`; percentile: of the latency."""

    task: str
    dataset: str
    limits: Limits
    percentile: int = 50


@dataclass
class Known:
    """What the history holds of a task."""

    jobs: list[tuple[JobStarted, list[Message]]] = field(default_factory=list)
    judged: dict[tuple[str, ...], tuple[Figure, JobStarted, int]] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    """Models whose answers the dataset does not know, and why."""


async def recommend(client: Client, question: Question, output: str) -> int:
    """Print the advice; NOT_COMPARABLE where nothing can be recommended."""
    async with client:
        manifests = await _manifests(client, question.task)
        dataset = await _dataset(client, question.dataset)
        known = await _known(client, question, {manifest.name for manifest in manifests})
        known.others = {m.name: why for m in manifests if (why := mismatch(m, dataset))}
        nodes = await client.nodes()
        choices = advise(options_of(known, question, nodes), question.limits)
        commands = [*await _missing(client, question, manifests, choices, known)]
    if output == "json":
        rows = [msgspec.to_builtins(choice) for choice in choices]
        print_json({"choices": rows, "measure_next": commands})
    elif output == "csv":
        print_csv([advice_report.flat(choice) for choice in choices])
    else:
        about = advice_report.About(question.task, question.percentile)
        advice_report.print_advice(choices, commands, about)
    return OK if any(choice.verdict == "recommended" for choice in choices) else NOT_COMPARABLE


async def _manifests(client: Client, task: str) -> list[Manifest]:
    """The models of the task; UnknownNameError names the nearest tasks."""
    models = (await client.models(hidden=True)).models
    found = [manifest for manifest in models if manifest.task == task]
    if not found:
        raise UnknownNameError("task", task, sorted({m.task for m in models if m.task}))
    return found


async def _dataset(client: Client, name: str) -> DatasetManifest | None:
    """The dataset that is meant; UnknownNameError names the nearest."""
    if not name:
        return None
    plain, _, version = name.partition("@")
    every = await client.datasets()
    found = [one for one in every if one.name == plain and version in ("", one.version)]
    if not found:
        raise UnknownNameError("dataset", name, sorted({one.name for one in every}))
    return found[0]


def mismatch(manifest: Manifest, dataset: DatasetManifest | None) -> str:
    """Why a classifier's classes cannot be those of a dataset; empty where they may be."""
    if dataset is None or not dataset.labels or manifest.task != "image_classification":
        return ""
    sizes = {n for out in manifest.outputs for n in out.parameters.dimensions[-1:] if n > 1}
    classes = len(dataset.labels)
    if not sizes or classes in sizes or classes + 1 in sizes:
        return ""
    return f"it knows {max(sizes):,} classes, and {dataset.name} has {classes}"


async def _known(client: Client, question: Question, names: set[str]) -> Known:
    rows = [
        row
        for row in await client.history(state="finished", limit=EARLIER)
        if row.model in names and row.origin == "measured"
    ]
    name, _, version = question.dataset.partition("@")
    known = Known()
    with progress_bar() as progress:
        task = progress.add_task("reading the history", total=len(rows))
        for row in rows:
            if not row.dataset or row.dataset == name:
                _, facts, _ = await client.stored(row.evaluation_id)
                _learn(known, facts, version)
            progress.advance(task)
    return known


def _learn(known: Known, facts: list[Message], version: str) -> None:
    """Of an evaluation's jobs: how fast, or how right. The newest of each kind is kept."""
    judged = {row.job_id: row for row in accuracy(facts)}
    opened = {f.job_id: f.framework_version for f in facts if isinstance(f, ModelOpened)}
    for started in (fact for fact in facts if isinstance(fact, JobStarted)):
        # The worker itself knows better than what its node announced.
        told = opened.get(started.job_id, started.framework_version)
        started = msgspec.structs.replace(started, framework_version=told)
        if not started.dataset:
            own = [f for f in facts if getattr(f, "job_id", "") == started.job_id]
            known.jobs.append((started, own))
        elif not version or started.dataset_version == version:
            row = judged[started.job_id]
            figure = next((one for one in figures(row) if one.value is not None), None)
            before = known.judged.get(_computation(started))
            labelled = row.items - row.unlabelled
            if figure is not None and (before is None or before[2] < labelled):
                known.judged[_computation(started)] = (figure, started, labelled)


def _computation(started: JobStarted) -> tuple[str, ...]:
    """What decides the answers: the model, the framework, and settings other than threads."""
    settings = {k: v for k, v in started.requested.items() if k not in SAME_ANSWERS}
    framework = (started.framework, started.framework_version)
    return (started.model, started.model_version, *framework, _shown(settings))


def _shown(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(settings.items()))


# ---------------------------------------------------------------- options


def options_of(known: Known, question: Question, nodes: Sequence[NodeSeen]) -> list[Option]:
    """One for each model, framework, machine, settings and batch size: the newest run of each."""
    now = {seen.node.node_id: seen.node.labels for seen in nodes}
    found: dict[tuple[str, ...], Option] = {}
    for started, facts in known.jobs:
        runs = [f for f in facts if isinstance(f, RunMeasured) and f.scenario in LOADS]
        labels = now.get(started.node_id, started.node.labels if started.node else {})
        for row in latency([run for run in runs if LEVELS.index(run.level) <= MODEL]):
            option = _option(started, row, known, question, price_per_hour(labels))
            found.setdefault((option.name,), option)
    return list(found.values())


def _option(
    started: JobStarted, row: LatencyRow, known: Known, question: Question, price: float | None
) -> Option:
    na: dict[str, str] = {}
    column = PERCENTILES[question.percentile]
    time_ns = getattr(row, column)
    if time_ns is None:
        needs = row.needs.get(column.removesuffix("_ns"), "needs more queries")
        na["latency_ns"] = f"p{question.percentile} {needs}"
    figure, judged, items = known.judged.get(_computation(started), (None, None, 0))
    if started.weights != "trained":
        figure, na["accuracy"] = None, f"its weights are {started.weights}: it is right by chance"
    elif figure is None and started.model in known.others:
        na["accuracy"] = known.others[started.model]
    elif figure is None and question.dataset:
        na["accuracy"] = f"nobody measured it on {question.dataset} with this framework"
    elif figure is None:
        na["accuracy"] = "no dataset was named: --dataset"
    cost = None
    if price is None:
        na["cost"] = f"node {started.node_id} has no label `price`"
    elif row.throughput:
        cost = cost_per_1000(price, 1e9 / row.throughput)
    settings = {k: v for k, v in started.requested.items() if k != "device" or v != "cpu"}
    return Option(
        model=started.model,
        version=started.model_version,
        framework=started.framework,
        framework_version=started.framework_version,
        node_id=started.node_id,
        settings=settings,
        batch_size=row.batch_size,
        queries=row.queries,
        evaluation_id=started.evaluation_id,
        latency_ns=time_ns,
        low_ns=row.median_low_ns if question.percentile == 50 else None,
        high_ns=row.median_high_ns if question.percentile == 50 else None,
        throughput=row.throughput,
        accuracy=figure.value if figure else None,
        accuracy_low=figure.low if figure else None,
        accuracy_high=figure.high if figure else None,
        figure=figure.name if figure else "",
        items=items if figure else 0,
        accuracy_evaluation_id=judged.evaluation_id if figure and judged else "",
        cost=cost,
        na=na,
    )


# ---------------------------------------------------------------- what to measure next


async def _missing(
    client: Client,
    question: Question,
    manifests: Sequence[Manifest],
    choices: Sequence[Choice],
    known: Known,
) -> list[str]:
    """Commands that would fill the gaps: of what was begun first, then of what nobody tried."""
    commands = [*_of_options(choices, question, known)]
    begun = {started.model for started, _ in known.jobs}
    trained = [m.name for m in manifests if m.model.weights == "trained" and not m.hidden]
    trained = [name for name in trained if name not in known.others]
    for name in sorted(dict.fromkeys(trained), key=lambda each: (each not in begun, each)):
        if len(commands) >= MOST_COMMANDS:
            break
        commands += await _untried(client, name, question, known)
    return list(dict.fromkeys(commands))[:MOST_COMMANDS]


def _of_options(choices: Iterable[Choice], question: Question, known: Known) -> Iterator[str]:
    sizes: dict[tuple[str, ...], list[int]] = {}
    for choice in choices:
        option = choice.option
        if choice.verdict != "not known" or option.model in known.others:
            continue
        name = f"{option.model}@{option.version}"
        framework = f"{option.framework}@{option.framework_version.partition('+')[0]}"
        where = (name, "--framework", framework, *reproduce.settings_as_options(option.settings))
        if option.latency_ns is None:
            sizes.setdefault((*where, "--node", option.node_id), []).append(option.batch_size)
        if "accuracy" in option.na and question.dataset and "weights" not in option.na["accuracy"]:
            yield _command("accuracy", *where, "--dataset", question.dataset)
    for where, found in sizes.items():
        batches = ",".join(map(str, sorted(found)))
        yield _command("evaluate", *where, "--batch-size", batches, "--runs", "100")


async def _untried(client: Client, name: str, question: Question, known: Known) -> list[str]:
    """The places where a model would run and nobody measured it."""
    try:
        places = (await client.fits(name)).places
    except MLModelScopeError:
        return []  # no node can run it: there is nothing to measure
    fast = {(s.model, s.framework, s.node_id) for s, _ in known.jobs}
    right = {key[:1] + key[2:3] for key in known.judged}
    commands = []
    for place in places:
        framework = place.framework
        if (name, framework, place.node_id) not in fast:
            where = ("--framework", framework, "--node", place.node_id)
            commands.append(_command("evaluate", name, *where, "--batch-size", "1,2,4,8"))
        if question.dataset and (name, framework) not in right:
            on = ("--dataset", question.dataset, "--framework", framework)
            commands.append(_command("accuracy", name, *on))
    return commands


def _command(*words: str) -> str:
    return " ".join(map(shlex.quote, ("mlmodelscope", *words)))


# ---------------------------------------------------------------- what was typed

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(us|µs|ms|s)")
_NS = {"us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


def read_time_ns(text: str) -> float | None:
    """`20ms`, `0.5 s`, `300us`; None for nothing."""
    if not text:
        return None
    found = _TIME.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise InputError(
            f"--max-latency {text!r}: expected a time with its unit: 20ms, 0.5s, 300us"
        )
    return float(found[1]) * _NS[found[2]]
