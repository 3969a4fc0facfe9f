"""The command ab: one stream of inputs to two models, turn about, until enough is known."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape

from analysis.disagreement import answers, said
from analysis.items import is_right
from analysis.latency import percentile
from analysis.sequential import SequentialState, Watch
from bus.errors import InputError, NotStoredError
from bus.messages import (
    DatasetManifest,
    JobStarted,
    Manifest,
    Message,
    Prediction,
    RunMeasured,
    Selection,
)
from mlmodelscope import dataset_files, manifest_files
from mlmodelscope.client import Client
from mlmodelscope.evaluating import give_up, progress_bar
from mlmodelscope.exits import OK, WORSE
from mlmodelscope.tables import Column, console, print_csv, print_json, table

PART = 10
"""Items that one side runs before it is the other's turn."""
UNTIL = ("both", "accuracy", "latency")


@dataclass(frozen=True)
class Side:
    """One of the two models, and in which framework."""

    model: str
    framework: str = ""


@dataclass(frozen=True)
class Stream:
    """What is fed to both, and when it is enough."""

    dataset: str = ""
    inputs: tuple[str, ...] = ()
    limit: int = 1000
    until: str = "both"
    tolerance: float = 0.02
    alpha: float = 0.05


@dataclass(frozen=True)
class Place:
    """Where both run, and how."""

    device: str = "cpu"
    node: str = ""
    environment: str = ""
    settings: dict[str, str | int] = field(default_factory=dict)
    threads: int = 0


@dataclass(frozen=True)
class Pair:
    """What both said of one input, and how long each took; 0: that is told with another pair."""

    a: Prediction
    b: Prediction
    a_ns: int = 0
    b_ns: int = 0


async def run_ab(
    client: Client, sides: tuple[Side, Side], stream: Stream, place: Place, output: str
) -> int:
    """Feed both until what was asked is decided or the stream ends; WORSE where B surely is."""
    if bool(stream.dataset) == bool(stream.inputs):
        raise InputError("expected --dataset D, or --input FILE (several times): one of the two")
    watch = Watch(stream.tolerance, stream.alpha)
    with progress_bar() as progress:
        task = progress.add_task("asking for a node", total=stream.limit)
        async with client:
            turns = _of_dataset if stream.dataset else _of_inputs
            async with aclosing(turns(client, sides, stream, place)) as pairs:
                async for pair in pairs:
                    _note(watch, pair)
                    state = watch.state()
                    progress.update(task, description=_shortly(state), completed=state.pairs)
                    if state.pairs >= stream.limit or decided(state, stream.until):
                        break
    state = watch.state()
    _print(state, sides, stream, output)
    is_worse = state.latency == "B slower" or state.accuracy == "B less right"
    return WORSE if is_worse else OK


def decided(state: SequentialState, until: str) -> bool:
    """Whether what was asked for is known."""
    known = {"accuracy": bool(state.accuracy), "latency": bool(state.latency)}
    return all(known.values()) if until == "both" else known[until]


def _note(watch: Watch, pair: Pair) -> None:
    watch.answered(is_right(pair.a), is_right(pair.b), said(pair.a) != said(pair.b))
    if pair.a_ns and pair.b_ns:
        watch.took(pair.a_ns, pair.b_ns)


# ---------------------------------------------------------------- a dataset, part by part


async def _of_dataset(
    client: Client, sides: tuple[Side, Side], stream: Stream, place: Place
) -> AsyncGenerator[Pair, None]:
    """Parts of the dataset, each run by both; who begins changes from part to part (ABBA)."""
    dataset = await _dataset(client, stream.dataset)
    models = [await _model(client, side.model) for side in sides]
    made: list[str] = []
    first, turn = 0, 0
    try:
        while True:
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            facts: dict[int, Sequence[Message]] = {}
            for which in order:
                # One item more than counts: whether it is there says whether a next part is.
                part = _part(dataset, first)
                facts[which] = await _measured(client, models[which], sides[which], part, place)
                made.append(_id_of(facts[which]))
            pairs = _paired(facts[0], facts[1])
            for pair in pairs[:PART]:
                yield pair
            if len(pairs) <= PART:
                return
            first, turn = first + PART, turn + 1
    finally:
        await _forget(client, made)


async def _forget(client: Client, made: Sequence[str]) -> None:
    """A part of a comparison is no result of its own: the history is not filled with them."""
    for evaluation_id in made:
        try:
            await client.timeline_head(evaluation_id)  # when that is there, all has been stored
            await client.delete(evaluation_id)
        except NotStoredError:
            continue


def _id_of(facts: Sequence[Message]) -> str:
    return next((f.evaluation_id for f in facts if isinstance(f, JobStarted)), "")


def _part(dataset: DatasetManifest, first: int) -> DatasetManifest:
    """The items from `first` on, as many as there are."""
    chosen = dataset.select
    count = max(chosen.count - first, 0) if chosen.count else 0
    select = Selection(seed=chosen.seed, skip=chosen.skip + first, count=count)
    return msgspec.structs.replace(dataset, select=select)


async def _measured(
    client: Client, model: str | Manifest, side: Side, part: DatasetManifest, place: Place
) -> Sequence[Message]:
    evaluation = await client.evaluate(
        model,
        dataset=part,
        limit=PART + 1,
        framework=side.framework,
        device=place.device,
        node=place.node,
        environment=place.environment,
        settings=place.settings,
        threads=place.threads,
        batch_sizes=[1],
        warmup=2,
    )
    try:
        await evaluation.result()
    except BaseException:
        await give_up(client, evaluation)
        raise
    return evaluation.facts


def _paired(facts_a: Sequence[Message], facts_b: Sequence[Message]) -> list[Pair]:
    """The same items' answers; the first pair has both sides' median times of the whole part.

    The queries of a part share the machine's mood: as evidence about latency they are one pair.
    """
    one, two = answers(facts_a), answers(facts_b)
    times = [
        sorted(ns for f in facts if isinstance(f, RunMeasured) for ns in f.durations_ns)
        for facts in (facts_a, facts_b)
    ]
    middles = [percentile(found, 50) if found else 0 for found in times]
    pairs = [Pair(a, two[name]) for name, a in one.items() if name in two]
    return [replace(pairs[0], a_ns=middles[0], b_ns=middles[1]), *pairs[1:]] if pairs else []


async def _dataset(client: Client, name: str) -> DatasetManifest:
    if dataset_files.is_own(name):
        return await client.dataset(Path(name))
    found = await client.datasets(name)
    if not found:
        names = ", ".join(sorted({each.name for each in await client.datasets()}))
        raise InputError(f"--dataset {name!r}: there is no such dataset; there is: {names}")
    return found[0]


async def _model(client: Client, name: str) -> str | Manifest:
    return await client.manifest(Path(name)) if manifest_files.is_file(name) else name


# ---------------------------------------------------------------- inputs, one by one


async def _of_inputs(
    client: Client, sides: tuple[Side, Side], stream: Stream, place: Place
) -> AsyncGenerator[Pair, None]:
    """Both held open; each input to both, who is first changes, again and again."""

    def opened(side: Side, model: str | Manifest) -> Any:
        return client.open(
            model,
            framework=side.framework,
            device=place.device,
            node=place.node,
            environment=place.environment,
            settings=place.settings,
            threads=place.threads,
        )

    models = [await _model(client, side.model) for side in sides]
    async with opened(sides[0], models[0]) as one, opened(sides[1], models[1]) as two:
        for warm in (one, two):
            await warm.ask(stream.inputs[:1])
        for number in range(stream.limit):
            given = [stream.inputs[number % len(stream.inputs)]]
            order: tuple[Any, Any] = (one, two) if number % 2 == 0 else (two, one)
            told = {id(each): await each.ask(given) for each in order}
            a, b = told[id(one)], told[id(two)]
            yield Pair(a.predictions[0], b.predictions[0], a.duration_ns, b.duration_ns)


# ---------------------------------------------------------------- what is printed


def _shortly(state: SequentialState) -> str:
    return (
        f"{state.pairs} pairs; right A {state.right_a}, B {state.right_b} "
        f"(p {state.accuracy_p:.2g}); latency p {state.latency_p:.2g}"
    )


COLUMNS = [
    Column("question"),
    Column("A", "a", right=True),
    Column("B", "b", right=True),
    Column("p", show=lambda p: f"{p:.2g}", right=True),
    Column("verdict"),
]


def _print(state: SequentialState, sides: tuple[Side, Side], stream: Stream, output: str) -> None:
    told = {"a": _name(sides[0]), "b": _name(sides[1]), **msgspec.to_builtins(state)}
    why = _why(state, stream)
    if output == "json":
        print_json({**told, "stopped": why})
    elif output == "csv":
        print_csv([{**told, "stopped": why}])
    else:
        out = console()
        out.print(f"\n[bold]A[/] {escape(_name(sides[0]))}\n[bold]B[/] {escape(_name(sides[1]))}")
        rows = [
            {**_accuracy(state), "p": state.accuracy_p},
            {**_latency(state), "p": state.latency_p},
        ]
        out.print(table(rows, COLUMNS))
        out.print(
            f"{state.pairs} inputs went to both; they say something else of {state.differing}"
        )
        out.print(f"stopped: {why}")
        out.print(
            f"p holds whenever one looks (mixture SPRT); a verdict errs in {state.alpha:.0%} of "
            f"comparisons at most; latency: beyond ±{state.tolerance:.1%}, {state.timed} ratios"
        )
    sys.stdout.flush()


def _accuracy(state: SequentialState) -> dict[str, Any]:
    a, b = (
        f"{right} of {state.labelled}" if state.labelled else "no labels"
        for right in (state.right_a, state.right_b)
    )
    return {
        "question": "more often right?",
        "a": a,
        "b": b,
        "verdict": state.accuracy or "not decided",
    }


def _latency(state: SequentialState) -> dict[str, Any]:
    ratio = "–" if state.median_ratio is None else f"×{state.median_ratio:.3f}"
    return {
        "question": "faster?",
        "a": "×1",
        "b": ratio,
        "verdict": state.latency or "not decided",
    }


def _why(state: SequentialState, stream: Stream) -> str:
    if decided(state, stream.until):
        asked = "accuracy and latency" if stream.until == "both" else stream.until
        return f"{asked} decided after {state.pairs} pairs"
    if state.pairs >= stream.limit:
        return f"--limit {stream.limit} reached; not all is decided"
    return f"the stream ended after {state.pairs} pairs; not all is decided"


def _name(side: Side) -> str:
    return f"{side.model} ({side.framework})" if side.framework else side.model
