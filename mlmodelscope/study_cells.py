"""What a study's cells say, as the analyses of a study take it: points, traces, answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from analysis.accuracy import accuracy
from analysis.answers import Answer
from analysis.evidence import Evidence
from analysis.fifteen import answers, asked_of
from analysis.recommend import price_per_hour
from analysis.study import Place, Point
from analysis.study_layers import USED, Traced
from analysis.study_tradeoffs import Judged, Known
from analysis.summary import Result
from bus.errors import MLModelScopeError
from bus.messages import JobStarted, MetricsRecorded, NodeAnnounced
from mlmodelscope.accuracy_report import figures
from mlmodelscope.analyses import known_ceilings
from mlmodelscope.client import Client
from mlmodelscope.grid_run import Cell
from mlmodelscope.study_run import Done, nodes_of, started_of

AVERAGES = ("_macro", "_micro")
ENERGY = ("energy.per_query", "gpu.energy_per_query")
NOT_DEEP = "energy is looked at from level hardware on: --trace hardware"
ELSEWHERE = "it was looked at with batch size {size} only"


@dataclass
class Material:
    """Everything that the figures are made of."""

    done: Done
    points: list[Point] = field(default_factory=list)
    traces: list[Traced] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    nodes: dict[str, NodeAnnounced] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each node, as they are now where it is alive: a price may have been told since."""

    @property
    def baseline(self) -> str:
        """The node that others are held against: the one that was named, else the first."""
        found = nodes_of(self.done.sweep)
        return self.done.study.baseline or min(found, default="")


async def gather(client: Client, done: Done, step: Callable[[str], None]) -> Material:
    """Turn cells into points, and fetch the timelines of the traces."""
    material = Material(done)
    places = Places(done)
    material.points = [_point(cell, places) for cell in done.sweep]
    energies: dict[str, float | str] = {}
    for at, cell in enumerate(done.traces, 1):
        step(f"analyzing trace {at} of {len(done.traces)}")
        traced = await _traced(client, cell, places)
        material.traces.append(traced)
        energies[traced.evaluation_id] = await _joules(client, cell)
    material.judged = [judged for cell in done.judged for judged in _judged(cell, places, done)]
    for cell in done.sweep:
        told = started_of(cell)
        if told is not None and told.node is not None and not cell.problem:
            material.nodes.setdefault(told.node_id, told.node)
    material.labels = await _labels(client, material)
    material.known = _known(material, energies)
    return material


async def _labels(client: Client, material: Material) -> dict[str, dict[str, str]]:
    found = {name: dict(node.labels) for name, node in material.nodes.items()}
    try:
        alive = await client.nodes()
    except MLModelScopeError:
        return found  # nobody to ask: the records alone count
    return found | {s.node.node_id: dict(s.node.labels) for s in alive if s.node.node_id in found}


# ---------------------------------------------------------------- where a cell belongs


class Places:
    """The place of each cell: as it ran, or, where it did not, as those did that differ from it in
    their batch size alone; else as it was asked for."""

    def __init__(self, done: Done) -> None:
        self._own = done.own
        self._environments: dict[str, set[str]] = {}
        for cell in done.cells:
            if (result := cell.result) is not None and result.framework:
                framework = f"{result.framework} {result.framework_version}"
                self._environments.setdefault(framework, set()).add(result.environment)
        self._like: dict[tuple[str, ...], Place] = {}
        self._models: dict[str, str] = {}
        for cell in done.sweep:
            if cell.result is not None and cell.result.framework and cell.result.node_id:
                place = self._like.setdefault(_likeness(cell), self._ran(cell, cell.result))
                self._models.setdefault(cell.wish.asked.model, place.model)

    def of(self, cell: Cell) -> Place:
        """Where it belongs."""
        if cell.result is not None and cell.result.framework and cell.result.node_id:
            return self._ran(cell, cell.result)
        if (found := self._like.get(_likeness(cell))) is not None:
            return found
        asked = cell.wish.asked
        manifest = self._own.get(asked.model)
        own = f"{manifest.name} {manifest.version}" if manifest else ""
        return Place(
            model=own if manifest else self._models.get(asked.model, asked.model),
            framework=asked.framework or "any framework",
            setting=_setting(cell, asked.environment),
            node=asked.node or "any",
        )

    def _ran(self, cell: Cell, result: Result) -> Place:
        framework = f"{result.framework} {result.framework_version}"
        several = len(self._environments[framework]) > 1
        return Place(
            model=f"{result.model} {result.model_version}",
            framework=framework,
            setting=_setting(cell, result.environment if several else ""),
            node=result.node_id,
        )


def _likeness(cell: Cell) -> tuple[str, ...]:
    asked = cell.wish.asked
    settings = str(sorted(asked.settings.items()))
    return asked.model, asked.framework, asked.node, asked.environment, asked.device, settings


def _setting(cell: Cell, environment: str) -> str:
    """What beside model, framework and node tells a cell apart; what everybody expects is not."""
    asked = cell.wish.asked
    parts = [
        f"environment {environment}" if environment not in ("", "default") else "",
        asked.device if asked.device != "cpu" else "",
        str(asked.settings.get("precision", "")),
    ]
    return ", ".join(filter(None, parts))


# ---------------------------------------------------------------- the three kinds


def _point(cell: Cell, places: Places) -> Point:
    size, result = cell.wish.asked.batch_sizes[0], cell.result
    row = None
    if result is not None and not cell.problem:
        row = next((row for row in result.latency if row.batch_size == size), None)
    return Point(
        place=places.of(cell),
        batch_size=size,
        latency=row,
        evaluation_id=result.evaluation_id if result else "",
        problem=cell.problem,
        weights=result.weights if result else "trained",
    )


async def _traced(client: Client, cell: Cell, places: Places) -> Traced:
    size, place = cell.wish.asked.batch_sizes[0], places.of(cell)
    if cell.result is None or cell.problem:
        return Traced(place=place, batch_size=size, problem=cell.problem or "it did not run")
    evaluation_id = cell.result.evaluation_id
    try:
        timeline = await client.timeline(evaluation_id)
    except MLModelScopeError as exc:
        return Traced(place=place, batch_size=size, evaluation_id=evaluation_id, problem=str(exc))
    facts = list(cell.facts)
    ceilings = await known_ceilings(client, facts)
    evidence = Evidence(facts, timeline, ceilings=ceilings)
    why = cell.result.unavailable.get("framework", "")
    found = answers(asked_of(evidence, size), USED)
    return Traced(
        place=place,
        batch_size=size,
        answers={answer.analysis: _with_reason(answer, why) for answer in found},
        predict_ns=evidence.predict_ns(size),
        evaluation_id=evaluation_id,
    )


def _with_reason(answer: Answer, why: str) -> Answer:
    """Where there are no rows: why the node saw no layers, if it said so."""
    if answer.unavailable and why:
        return msgspec.structs.replace(answer, unavailable=why)
    return answer


def _judged(cell: Cell, places: Places, done: Done) -> Iterator[Judged]:
    """Its figures but for averages over classes; or why there is none."""
    place, dataset = places.of(cell), done.study.dataset
    if cell.result is None or cell.problem:
        yield Judged(place=place, dataset=dataset, problem=cell.problem or "it did not run")
        return
    result, told = cell.result, 0
    about: dict[str, Any] = {
        "dataset": f"{result.dataset} {result.dataset_version}",
        "place": place,
    }
    problem = ""
    if result.weights != "trained":
        problem = f"its weights are {result.weights}: it is right by chance"
    for row in accuracy(cell.facts):
        for figure in figures(row):
            if figure.value is None or figure.name.endswith(AVERAGES):
                continue
            told += 1
            yield Judged(
                **about,
                name=figure.name,
                value=None if problem else figure.value,
                low=None if problem else figure.low,
                high=None if problem else figure.high,
                items=row.items - row.unlabelled,
                evaluation_id=result.evaluation_id,
                problem=problem,
            )
    if not told:
        why = "no label of the dataset could be held against its answers"
        yield Judged(**about, evaluation_id=result.evaluation_id, problem=problem or why)


# ---------------------------------------------------------------- what it costs


def _known(material: Material, energies: dict[str, float | str]) -> Known:
    first: dict[tuple[str, str, str], Judged] = {}
    for judged in material.judged:
        place = judged.place
        first.setdefault((place.model, place.framework, place.setting), judged)
    prices = {name: price_per_hour(labels) for name, labels in material.labels.items()}
    joules: dict[tuple[Place, int], float] = {}
    no_joules: dict[tuple[Place, int], str] = {}
    looked = {traced.place: traced for traced in material.traces}
    for point in material.points:
        key, traced = (point.place, point.batch_size), looked.get(point.place)
        if traced is None:
            continue
        found = energies.get(traced.evaluation_id, NOT_DEEP)
        if isinstance(found, str):
            no_joules[key] = found
        elif traced.batch_size != point.batch_size:
            no_joules[key] = ELSEWHERE.format(size=traced.batch_size)
        else:
            joules[key] = found
    return Known(
        accuracy=first,
        prices={name: price for name, price in prices.items() if price is not None},
        joules=joules,
        no_joules=no_joules,
    )


async def _joules(client: Client, cell: Cell) -> float | str:
    """Of one input, by the counters of processors and devices; or why it is not known."""
    if cell.result is None or cell.problem:
        return cell.problem or "it did not run"
    _, _, metrics = await client.stored(cell.result.evaluation_id)
    values = [found for name in ENERGY if (found := _last(metrics, name)) is not None]
    if values:
        return sum(values) / cell.wish.asked.batch_sizes[0]
    told = cell.result.unavailable
    whys = [f"{what}: {why}" for what, why in told.items() if _is_energy(what)]
    whys += [_of_node(cell)]
    return next(filter(None, whys), NOT_DEEP)


def _is_energy(what: str) -> bool:
    return any(word in what.casefold() for word in ("energy", "power", "rapl"))


def _of_node(cell: Cell) -> str:
    """Why the node says that it cannot measure it at any level."""
    started: JobStarted | None = started_of(cell)
    told = started.node.unavailable if started and started.node else {}
    return next((f"{what}: {why}" for what, why in told.items() if _is_energy(what)), "")


def _last(metrics: Sequence[MetricsRecorded], name: str) -> float | None:
    values = [value for one in metrics if one.name == name for value in one.values]
    return values[-1] if values else None
