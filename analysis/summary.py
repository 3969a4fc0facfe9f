"""One evaluation in one value: what `result()` returns and `--output json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from analysis.accuracy import accuracy
from analysis.claims import ClaimRow, claims_against, measured_times
from analysis.latency import BestBatch, LatencyRow, best_batch, latency
from analysis.overhead import OverheadRow, tracing_overhead
from analysis.scenarios import ScenarioRow, scenarios
from bus.messages import (
    LEVELS,
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    GraphDescribed,
    JobFailed,
    JobFinished,
    JobStarted,
    Message,
    ModelOpened,
    NodeAnnounced,
    Prediction,
    PredictionsMade,
    Recording,
    RunMeasured,
    Stack,
    StackDescribed,
    TensorSpec,
)

F = TypeVar("F", bound=Message)


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that went wrong, and on which node (none: with the evaluation as a whole)."""

    kind: str
    text: str
    job_id: str = ""
    node_id: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an evaluation. requested and effective: settings; times in ns.

    opened_ns: how long opening the model took, the first time. state: running, finished,
    failed or cancelled. recording: it was not run but imported. missing says what should be here
    and is not; complete: nothing is.
    Of an evaluation with several jobs, what cannot be a row is the first job's.
    """

    evaluation_id: str
    state: str
    model: str = ""
    model_version: str = ""
    model_digest: str = ""
    framework: str = ""
    framework_version: str = ""
    node_id: str = ""
    node: NodeAnnounced | None = None
    environment: str = ""
    stack: Stack | None = None
    """The software that it ran in."""
    recording: Recording | None = None
    requested: dict[str, str | int] = {}
    effective: dict[str, Any] = {}
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    opened_ns: int = 0
    dataset: str = ""
    dataset_version: str = ""
    predictions: list[Prediction] = []
    latency: list[LatencyRow] = []
    best_batch: BestBatch | None = None
    scenarios: list[ScenarioRow] = []
    """Of each run whose load was asked for: its figure, whether it is valid, and why not."""
    overhead: list[OverheadRow] = []
    leveled: bool = True
    """Whether times are of runs at model level or above: else they contain what looking cost."""
    layers: int = 0
    spans: dict[str, int] = {}
    lost_spans: int = 0
    spilled_spans: int = 0
    """Spans that lay in a file on the node when the job ended, to be sent later."""
    peak_memory_bytes: int = 0
    clock_drift_ns: int = 0
    unavailable: dict[str, str] = {}
    complete: bool = True
    missing: list[str] = []
    failures: list[FailureRow] = []
    weights: str = "trained"
    """random or constant: what it says means nothing, and how fast it is does."""
    claims: list[ClaimRow] = []


def summarize(facts: Sequence[Message]) -> Result:
    """Facts of an evaluation, one attempt a job, in the order they were told -> its Result."""
    started = _all(facts, JobStarted)
    opened = _all(facts, ModelOpened)
    finished = _all(facts, JobFinished)
    runs = _all(facts, RunMeasured)
    rows = latency(runs)
    first = started[0].job_id if started else (rows[0].job_id if rows else "")
    graph = _all(facts, GraphDescribed)
    missing = _missing(facts)
    fields = {name: getattr(started[0], name) for name in STARTED} if started else {}
    if opened:
        fields |= {
            # What the worker itself says, which knows better than what its node announced.
            "framework_version": opened[0].framework_version,
            "effective": opened[0].settings,
            "inputs": opened[0].inputs,
            "outputs": opened[0].outputs,
            "opened_ns": opened[0].duration_ns,
        }
    if finished:
        fields |= {name: getattr(finished[0], name) for name in FINISHED}
    if stacks := _all(facts, StackDescribed):
        fields["stack"] = stacks[0].stack
    return Result(
        evaluation_id=next((e for f in facts if (e := getattr(f, "evaluation_id", ""))), ""),
        state=_state(facts),
        **fields,
        predictions=[p for made in _predictions(facts) for p in made.predictions],
        latency=rows,
        best_batch=best_batch([row for row in rows if row.job_id == first]),
        scenarios=scenarios(facts),
        overhead=tracing_overhead(runs),
        leveled=all(LEVELS.index(row.level) <= LEVELS.index("model") for row in rows),
        layers=len(graph[0].layers) if graph else 0,
        complete=not missing,
        missing=missing,
        failures=_failures(facts),
        claims=_claims(facts, started, rows),
    )


def _claims(
    facts: Sequence[Message], started: Sequence[JobStarted], rows: Sequence[LatencyRow]
) -> list[ClaimRow]:
    """The first job's claims against what that job measured."""
    if not started or not started[0].claims:
        return []
    if started[0].dataset:
        judged = {row.job_id: row.claims for row in accuracy(facts)}
        return judged[started[0].job_id]
    own = [row for row in rows if row.job_id == started[0].job_id]
    return claims_against(started[0].claims, measured_times(own))


STARTED = (
    "model",
    "model_version",
    "model_digest",
    "framework",
    "framework_version",
    "dataset",
    "dataset_version",
    "node_id",
    "node",
    "environment",
    "recording",
    "requested",
    "weights",
)
FINISHED = (
    "spans",
    "lost_spans",
    "spilled_spans",
    "peak_memory_bytes",
    "clock_drift_ns",
    "unavailable",
)


def _all(facts: Sequence[Message], kind: type[F]) -> list[F]:
    return [fact for fact in facts if isinstance(fact, kind)]


def _predictions(facts: Sequence[Message]) -> list[PredictionsMade]:
    made = _all(facts, PredictionsMade)
    return sorted(made, key=lambda fact: (fact.job_id, fact.run, fact.first))


def _state(facts: Sequence[Message]) -> str:
    failed = _all(facts, EvaluationFailed)
    if failed:
        return "cancelled" if failed[0].kind == "cancelled" else "failed"
    return "finished" if _all(facts, EvaluationFinished) else "running"


def _failures(facts: Sequence[Message]) -> list[FailureRow]:
    rows = [
        FailureRow(kind=f.kind, text=f.text, job_id=f.job_id, node_id=f.node_id)
        for f in _all(facts, JobFailed)
    ]
    told = {(row.kind, row.text) for row in rows}
    rows += [
        FailureRow(kind=f.kind, text=f.text)
        for f in _all(facts, EvaluationFailed)
        if (f.kind, f.text) not in told
    ]
    return rows


def _missing(facts: Sequence[Message]) -> list[str]:
    """What should be here and is not: facts by their gaps, runs by what was planned, spans."""
    missing = []
    jobs: dict[str, list[Fact]] = {}
    for fact in _all(facts, Fact):
        jobs.setdefault(fact.job_id, []).append(fact)
    for job_id, told in sorted(jobs.items()):
        here = {fact.sequence for fact in told}
        if gap := max(here) + 1 - len(here):
            missing.append(f"{gap} facts of job {job_id}")
        measured = {f.run for f in _all(told, RunMeasured) if f.last}
        planned = {run.index for f in _all(told, JobStarted) for run in f.runs}
        if late := sorted(planned - measured):
            missing.append(f"runs {', '.join(map(str, late))} of job {job_id}")
        ended = _all(told, JobFinished)
        if not ended:
            missing.append(f"the end of job {job_id}")
        missing += [f"{f.lost_spans} lost spans of job {job_id}" for f in ended if f.lost_spans]
    return missing
