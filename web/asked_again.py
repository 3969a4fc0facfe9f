"""What a stored evaluation was asked for, as a request: to run it again, or with one thing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.items import items_of
from bus.errors import InputError
from bus.messages import LEVELS, InputTaken, JobStarted, Level, Message, Scenario
from mlmodelscope.reproduce import FETCHED
from web import samples
from web.bodies import InputGiven, NewEvaluation
from web.state import State
from web.stored import Known

MODEL = LEVELS.index("model")
DEFAULTS = NewEvaluation()


@dataclass(frozen=True)
class Again:
    """The request; notes: what the record does not hold, in words."""

    wish: NewEvaluation
    notes: list[str]


def asked_again(state: State, known: Known) -> Again:
    """Everything that the record and this server hold of what was asked.

    Raises InputError for an evaluation that was imported, or of which no job began.
    """
    started = next((fact for fact in known.facts if isinstance(fact, JobStarted)), None)
    if started is None:
        raise InputError(f"evaluation {known.evaluation_id[:8]}: no node began with it")
    if started.recording is not None:
        raise InputError(f"evaluation {known.evaluation_id[:8]} was imported, not run here")
    notes: list[str] = []
    inputs = [] if started.dataset else _inputs(state, started.inputs, notes)
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


def _inputs(state: State, taken: Sequence[InputTaken], notes: list[str]) -> list[InputGiven]:
    """What went in, as far as it can go in again; what cannot is noted."""
    found = [(one.name, _given(state, one)) for one in taken]
    if missing := [name for name, given in found if given is None]:
        listed = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        notes.append(f"not on this server ({listed}): give it again")
    if not taken:
        notes.append("its record does not say what went in: give it again")
    return [given for _, given in found if given is not None]


def _given(state: State, one: InputTaken) -> InputGiven | None:
    digest = one.checksum.removeprefix("sha256:")
    if sample := samples.by_sha256().get(digest):
        return InputGiven(url=sample.url)
    if upload := state.uploads.known(digest):
        return InputGiven(upload=upload.upload)
    return InputGiven(url=one.url) if one.url.startswith(FETCHED) else None
