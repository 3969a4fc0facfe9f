"""What a stored evaluation was asked for, as a request: to run it again, or with one thing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.items import items_of
from bus.errors import InputError
from bus.messages import LEVELS, JobStarted, Level, Message, Scenario
from web.bodies import InputGiven, NewEvaluation
from web.problems import ProblemError
from web.state import State
from web.stored import Known

MODEL = LEVELS.index("model")
DEFAULTS = NewEvaluation()


@dataclass(frozen=True)
class Again:
    """The request; notes: what the record does not hold, in words."""

    wish: NewEvaluation
    notes: list[str]


async def asked_again(state: State, known: Known) -> Again:
    """Everything that the record and this server hold of what was asked.

    Raises InputError for an evaluation that was imported, or of which no job began.
    """
    started = next((fact for fact in known.facts if isinstance(fact, JobStarted)), None)
    if started is None:
        raise InputError(f"evaluation {known.evaluation_id[:8]}: no node began with it")
    if started.recording is not None:
        raise InputError(f"evaluation {known.evaluation_id[:8]} was imported, not run here")
    notes: list[str] = []
    inputs = [] if started.dataset else await _inputs(state, known, notes)
    settings = dict(started.requested)
    threads, device = settings.pop("threads", 0), settings.pop("device", "cpu")
    wish = NewEvaluation(
        model=f"{started.model}@{started.model_version}",
        inputs=inputs,
        framework=started.framework,
        node=started.node_id,
        environment=started.environment,
        device=str(device),
        threads=int(threads),
        settings=settings,
        **_data(started, known.facts),
        **_runs(started),
    )
    return Again(wish, notes)


def _data(started: JobStarted, facts: Sequence[Message]) -> dict[str, Any]:
    if not started.dataset:
        return {}
    items = len(items_of(facts).get(started.job_id, []))
    return {"dataset": f"{started.dataset}@{started.dataset_version}", "limit": items}


def _runs(started: JobStarted) -> dict[str, Any]:
    if not started.runs:
        return {}
    first = started.runs[0]
    levels: set[Level] = {run.level for run in started.runs}
    load: Scenario | None = None if started.dataset else first.options
    return {
        "batch_sizes": list(dict.fromkeys(run.batch_size for run in started.runs)),
        "runs": first.queries if first.queries and load is None else DEFAULTS.runs,
        "warmup": first.warmup,
        "trace": max(levels, key=LEVELS.index),
        "leveled": len(levels) > 1 or LEVELS.index(first.level) <= MODEL,
        "scenario": load,
    }


async def _inputs(state: State, known: Known, notes: list[str]) -> list[InputGiven]:
    """What went in, as far as it can go in again; what cannot is noted."""
    given = state.inputs.get(known.evaluation_id)
    if given is None:
        return await _by_name(state, known, notes)
    kept = [one for one in given if not one.upload or _is_here(state, one.upload)]
    if len(kept) < len(given):
        notes.append(
            f"{len(given) - len(kept)} of its files are not on this server any more: send them "
            "again"
        )
    return kept


async def _by_name(state: State, known: Known, notes: list[str]) -> list[InputGiven]:
    """It was asked for elsewhere: its record holds the names of inputs alone."""
    result = known.result
    told = await state.client.models(f"{result.model}@{result.model_version}", hidden=True)
    samples = {
        sample.url.rsplit("/", 1)[-1] for manifest in told.models for sample in manifest.samples
    }
    names = dict.fromkeys(one.input for one in result.predictions)
    if others := [name for name in names if name not in samples]:
        listed = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
        notes.append(f"its inputs were not given here ({listed}): give them again")
    return []


def _is_here(state: State, upload: str) -> bool:
    try:
        state.uploads.find(upload)
    except ProblemError:
        return False
    return True
