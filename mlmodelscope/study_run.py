"""Has the cells of a study evaluated, part by part: the sweep, the traces, the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.progress import Progress, TaskID

from analysis.summary import summarize
from bus.errors import InputError, MLModelScopeError, NotStoredError, UnknownNameError
from bus.messages import JobStarted, Manifest
from mlmodelscope import grid_run, studies
from mlmodelscope.client import Client
from mlmodelscope.grid_run import MOST_TRIES, Cell, Running, Watched
from mlmodelscope.grids import Wish
from mlmodelscope.studies import Ran, Study

NOT_YET = "it was not measured yet"


@dataclass(frozen=True)
class How:
    """How a study is run. stored: measure nothing, take what is there."""

    fail_fast: bool = False
    stored: bool = False


@dataclass
class Done:
    """A study's cells, and what came of them."""

    study: Study
    own: Mapping[str, Manifest]
    sweep: list[Cell] = field(default_factory=list)
    traces: list[Cell] = field(default_factory=list)
    judged: list[Cell] = field(default_factory=list)
    unmeasured: dict[str, str] = field(default_factory=dict)
    """Of nodes whose ceilings could not be measured, why."""

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [*self.sweep, *self.traces, *self.judged]


async def run(client: Client, study: Study, how: How, progress: Progress, task: TaskID) -> Done:
    """Run every part to its end; Ctrl-C leaves nothing running, and what is done stays done."""
    own = studies.own_manifests(study)
    if not how.stored:
        await _refuse_unknown(client, study, own)
    done = Done(study, own)

    def watched(text: str) -> Watched:
        return Watched(progress, task, text)

    running = await grid_run.running_of(client, studies.sweep_grid(study), how.fail_fast)
    places = await grid_run.places(running)
    done.sweep = [Cell(wish) for wish in studies.sweep_wishes(study, places, own)]
    await _part(running, done.sweep, watched("sweeping batch sizes"), how)
    if not any(cell.result and not cell.problem for cell in done.sweep):
        raise InputError(_nothing(study, done.sweep, how))
    if study.ceilings and study.traced and not how.stored:
        progress.update(task, description="measuring what the machines can do", total=None)
        done.unmeasured = await _ceilings(client, done.sweep)
    if study.traced:
        done.traces = [Cell(wish) for wish in _trace_wishes(study, done.sweep)]
        await _part(running, done.traces, watched("looking deeper at the peaks"), how)
    if study.dataset:
        judging = await grid_run.running_of(client, studies.judging_grid(study), how.fail_fast)
        done.judged = [Cell(wish) for wish in _judging_wishes(study, done.sweep)]
        await _part(judging, done.judged, watched(f"running {study.dataset}"), how)
    return done


async def _part(running: Running, cells: list[Cell], watched: Watched, how: How) -> None:
    if not how.stored:
        await grid_run.complete(running, cells, watched)
        return
    watched.progress.update(watched.task, description="reading what is stored", total=None)
    await grid_run.look(running, cells)
    for cell in cells:
        if cell.result is None:
            await _state_of(running, cell)


async def _state_of(running: Running, cell: Cell) -> None:
    """Of a cell that did not finish: whether it runs, why it failed, or that nobody began it."""
    cell.problem = NOT_YET
    for tried in range(MOST_TRIES):
        evaluation_id = cell.wish.evaluation_id(running.grid.name, tried)
        try:
            _, facts, _ = await running.client.stored(evaluation_id)
        except NotStoredError:
            return
        result = summarize(facts)
        cell.result, cell.facts = result, facts
        if result.state == "running":
            cell.problem = f"it is still running: `mlmodelscope show {evaluation_id[:8]}`"
            return
        cell.problem = result.failures[0].text if result.failures else result.state


async def _refuse_unknown(client: Client, study: Study, own: Mapping[str, Manifest]) -> None:
    """No such model, node or dataset is said before anything is measured."""
    wanted = [name for name in study.models if name not in own]
    for name in wanted:
        if not (await client.models(name)).models:
            known = sorted({one.name for one in (await client.models()).models})
            raise UnknownNameError("model", name, known)
    if study.baseline:
        alive = [seen.node.node_id for seen in await client.nodes()]
        if study.baseline not in {*alive, *study.nodes}:
            raise UnknownNameError("baseline node", study.baseline, alive)


def _nothing(study: Study, cells: Sequence[Cell], how: How) -> str:
    """Why there is nothing to show."""
    whys = list(dict.fromkeys(cell.problem for cell in cells if cell.problem))
    if how.stored:
        text = "nothing of this study was measured yet"
        if whys and whys != [NOT_YET]:
            text = f"nothing of this study is finished ({'; '.join(whys[:3])})"
        return f"{text}: the same command without --stored measures it"
    return f"none of the {len(cells)} cells could be measured: {'; '.join(whys[:3])}"


# ---------------------------------------------------------------- what follows from the sweep


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that differ in nothing but their batch size, and ran on one node: those measured."""
    found: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        if cell.result is not None and not cell.problem and cell.result.latency:
            asked = cell.wish.asked
            precision = str(asked.settings.get("precision", ""))
            key = (asked.model, asked.framework, asked.environment, asked.device, precision)
            found.setdefault((*key, cell.result.node_id), []).append(cell)
    return list(found.values())


def _ran(cell: Cell) -> Ran:
    assert cell.result is not None
    return Ran(cell.result.node_id, cell.result.environment, cell.wish.asked.batch_sizes[0])


def _trace_wishes(study: Study, sweep: Sequence[Cell]) -> list[Wish]:
    """One a model, framework, setting and node, all of a model at the same batch size: where its
    throughput was highest anywhere. One that failed there is looked at where its own was."""
    groups = _groups(sweep)
    highest: dict[str, Cell] = {}
    for cells in groups:
        peak = max(cells, key=_rate)
        if _rate(peak) > _rate(highest.get(_model(peak), peak)) or _model(peak) not in highest:
            highest[_model(peak)] = peak
    found = []
    for cells in groups:
        sizes = highest[_model(cells[0])].wish.asked.batch_sizes
        same = [cell for cell in cells if cell.wish.asked.batch_sizes == sizes]
        chosen = max(same or cells, key=_rate)
        found.append(studies.trace_wish(study, chosen.wish.asked, _ran(chosen)))
    return found


def _model(cell: Cell) -> str:
    return f"{cell.result.model} {cell.result.model_version}" if cell.result else ""


def _rate(cell: Cell) -> float:
    rows = cell.result.latency if cell.result else []
    return max((row.throughput or 0.0 for row in rows), default=0.0)


def _judging_wishes(study: Study, sweep: Sequence[Cell]) -> list[Wish]:
    """One for each model, framework and setting: answers do not depend on the node."""
    found: dict[tuple[str, ...], Wish] = {}
    for cells in _groups(sweep):
        first = min(cells, key=lambda cell: cell.wish.asked.batch_sizes)
        asked = first.wish.asked
        precision = str(asked.settings.get("precision", ""))
        key = (asked.model, asked.framework, asked.environment, asked.device, precision)
        found.setdefault(key, studies.judging_wish(study, asked, _ran(first)))
    return list(found.values())


async def _ceilings(client: Client, sweep: Sequence[Cell]) -> dict[str, str]:
    """Have each machine measure itself, once for ever; why those that could not did not."""
    whys = {}
    for node in nodes_of(sweep):
        try:
            await client.ceilings(node)
        except MLModelScopeError as exc:
            whys[node] = str(exc)
    return whys


def nodes_of(cells: Sequence[Cell]) -> list[str]:
    """The nodes on which something was measured, in order."""
    ran = (cell.result.node_id for cell in cells if cell.result and not cell.problem)
    return [node for node in dict.fromkeys(ran) if node]


def started_of(cell: Cell) -> JobStarted | None:
    """What a cell's node told when it took the job."""
    return next((fact for fact in cell.facts if isinstance(fact, JobStarted)), None)
