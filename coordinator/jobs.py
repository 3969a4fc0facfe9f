"""The states of a job and of an evaluation, and the moves between them: pure.

    job:         queued -> running -> finished | failed | cancelled
                 queued | running  -> queued, one attempt later (lose)
                 queued and held   -> held for another node (rebind), or queued there (release)
    evaluation:  running -> finished | failed | cancelled

The move from queued to running is the node's own: it writes its incarnation into the record by
compare-and-set before it runs anything, so no function here does it. A fact of the current
attempt also ends a job that still reads `queued`: its number and its node say whose it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from bus.errors import MLModelScopeError
from bus.messages import (
    LEVELS,
    Evaluate,
    EvaluationRecord,
    Job,
    JobFailed,
    JobFinished,
    JobOutcome,
    JobPlaced,
    JobRecord,
    Level,
    Run,
    Scenario,
)
from coordinator.placement import Choice

OPEN = frozenset({"queued", "running"})
"""The states of a job that has not ended."""

RETRIED = frozenset({"node_lost", "worker_died", "disk_full"})
"""Kinds of failure that say nothing about the model: another attempt may well succeed."""

DATASET = "dataset"
"""The scenario in which every item of a dataset is predicted once, in order."""
COLD, COLD_STARTS = "cold_start", 10
"""The scenario whose every query is a new process's first, and how many there are unless said."""
MODEL, FRAMEWORK = LEVELS.index("model"), LEVELS.index("framework")


class IllegalMoveError(MLModelScopeError):
    """A record that cannot move as it was told to."""

    kind = "illegal_move"

    def __init__(self, move: str, what: str, state: str) -> None:
        self.move, self.state = move, state
        super().__init__(f"cannot {move} {what}: it is {state}, expected queued or running")


# ------------------------------------------------------------------ a job


def concerns(record: JobRecord, fact: JobFinished | JobFailed) -> bool:
    """Whether a fact is of the attempt that counts; all others come too late."""
    return (fact.attempt, fact.node_id) == (record.attempt, record.node_id)


def finish(record: JobRecord, now_ns: int) -> JobRecord:
    """The current attempt ran to its end."""
    _need_open(record, "finish")
    return replace(record, state="finished", changed_ns=now_ns)


def fail(record: JobRecord, kind: str, text: str, now_ns: int) -> JobRecord:
    """The job ended without a result."""
    _need_open(record, "fail")
    return replace(record, state="failed", kind=kind, text=text, changed_ns=now_ns)


def cancel(record: JobRecord, text: str, now_ns: int) -> JobRecord:
    """Somebody wants it no more; the node watches the record and stops."""
    _need_open(record, "cancel")
    return replace(record, state="cancelled", kind="cancelled", text=text, changed_ns=now_ns)


def lose(record: JobRecord, choice: Choice, now_ns: int, held: bool = False) -> JobRecord:
    """The current attempt came to nothing: the next one, queued (or held) where `choice` says."""
    _need_open(record, "lose")
    again = _bound(replace(record, attempt=record.attempt + 1), choice, now_ns)
    return replace(
        again,
        state="queued",
        incarnation="",
        excluded=list(dict.fromkeys([*record.excluded, record.node_id])),
        published=False,
        held=held,
        started_ns=0,
    )


def rebind(record: JobRecord, choice: Choice, now_ns: int, held: bool) -> JobRecord:
    """A held job goes to another node: nobody has begun with it, so it is the same attempt."""
    _need_held(record, "rebind")
    return replace(_bound(record, choice, now_ns), held=held)


def release(record: JobRecord, now_ns: int) -> JobRecord:
    """A held job's turn has come: it is published next."""
    _need_held(record, "release")
    return replace(record, held=False, changed_ns=now_ns)


def _bound(record: JobRecord, choice: Choice, now_ns: int) -> JobRecord:
    job = replace(
        record.job,
        attempt=record.attempt,
        node_id=choice.node_id,
        framework=choice.framework.name,
        framework_version=choice.framework.version,
        environment=choice.framework.environment,
    )
    expected_s = choice.expected_s
    return replace(
        record, job=job, node_id=choice.node_id, expected_s=expected_s, changed_ns=now_ns
    )


def mark_published(record: JobRecord, attempt: int) -> JobRecord | None:
    """The attempt lies in its node's queue; None where there is nothing left to say."""
    if record.state != "queued" or record.attempt != attempt or record.published:
        return None
    return replace(record, published=True)


def _need_open(record: JobRecord, move: str) -> None:
    if record.state not in OPEN:
        raise IllegalMoveError(move, f"job {record.job.job_id}", record.state)


def _need_held(record: JobRecord, move: str) -> None:
    if not (record.held and record.state == "queued"):
        state = record.state if record.state != "queued" else "queued on its node"
        raise IllegalMoveError(move, f"job {record.job.job_id}", state)


def placed(job: Job) -> JobPlaced:
    """What the client is told of a job's place."""
    return JobPlaced(
        job_id=job.job_id,
        node_id=job.node_id,
        framework=job.framework,
        framework_version=job.framework_version,
    )


def outcome(record: JobRecord, facts: int) -> JobOutcome:
    """How a job ended; facts: how many its accepted attempt told."""
    return JobOutcome(
        job_id=record.job.job_id,
        node_id=record.node_id,
        attempt=record.attempt,
        state=record.state,
        facts=facts,
        kind=record.kind,
        text=record.text,
    )


# ------------------------------------------------------------------ an evaluation


def end(
    record: EvaluationRecord, jobs: Sequence[JobRecord], now_ns: int
) -> EvaluationRecord | None:
    """The evaluation as its jobs left it; None while one of them has not ended."""
    if record.state != "running":
        raise IllegalMoveError("end", f"evaluation {record.request.evaluation_id}", record.state)
    if any(job.state in OPEN for job in jobs) or len(jobs) < len(record.jobs):
        return None
    for state in ("cancelled", "failed"):
        for job in jobs:
            if job.state == state:
                return replace(record, state=state, kind=job.kind, text=job.text, ended_ns=now_ns)
    return replace(record, state="finished", ended_ns=now_ns)


# ------------------------------------------------------------------ the runs of a job


def plan_runs(request: Evaluate, served: Collection[Level] = ()) -> list[Run]:
    """What a job runs: for each batch size the plain run, then one for each deeper level.

    served: the levels below the framework's that the node's profilers look at; what it lacks is not
    run, and the node says why. A profile slows what it looks at, so each number is taken from the
    shallowest run that has it; not leveled, there is only the deepest run.
    """
    levels = _levels(request.level, served)
    load = request.scenario
    if load is None and (request.dataset or request.dataset_manifest is not None):
        load = Scenario(name="dataset")
    if load is not None and load.name == DATASET:
        # One pass: how many queries it takes is known when its files have been looked at.
        first = _run(request, request.batch_sizes[0], levels[0])
        return [replace(first, queries=0, scenario=DATASET, options=request.scenario)]
    if not request.leveled:
        levels = levels[-1:]
    if load is not None and load.find:
        levels = levels[:1]  # probes are no runs that could be looked into
    sizes = request.batch_sizes
    runs = [
        run
        for size in sizes
        for level in levels
        for run in _loaded(request, _run(request, size, level), load)
    ]
    return [replace(run, index=index) for index, run in enumerate(runs)]


def _run(request: Evaluate, batch_size: int, level: Level) -> Run:
    return Run(
        index=0, batch_size=batch_size, level=level, queries=request.queries, warmup=request.warmup
    )


def _loaded(request: Evaluate, run: Run, load: Scenario | None) -> list[Run]:
    """A run under its load; a cold start has the warm run beside it, which it is compared with."""
    if load is None:
        return [run]
    if load.name == COLD:
        if run.level != _levels(request.level, ())[0]:
            return [run]
        count = load.min_queries or COLD_STARTS
        return [run, replace(run, queries=count, warmup=0, scenario=COLD, options=load)]
    queries = load.min_queries if load.min_queries is not None else 0
    if load.name == "online":
        queries = queries or request.queries
    return [replace(run, queries=queries, scenario=load.name, options=load)]


def _levels(asked: Level, served: Collection[Level]) -> list[Level]:
    depth = LEVELS.index(asked)
    below = [level for level in LEVELS[FRAMEWORK + 1 : depth + 1] if level in served]
    if asked == "full" and served and asked not in below:
        below.append(asked)  # everything at once: one picture
    shallow = [LEVELS[min(depth, MODEL)]]
    return [*shallow, *([LEVELS[FRAMEWORK]] if depth >= FRAMEWORK else []), *below]
