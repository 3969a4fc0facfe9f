"""Every state and every move; what ends an evaluation; which runs a request makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bus.messages import (
    Evaluate,
    EvaluationRecord,
    FrameworkSeen,
    Job,
    JobFinished,
    JobPlaced,
    JobRecord,
    Manifest,
)
from coordinator import jobs
from coordinator.placement import Choice

OTHER = Choice("n2", FrameworkSeen(name="onnxruntime", version="1.20.0", environment="/opt/other"))
MOVES: dict[str, Callable[[JobRecord], JobRecord]] = {
    "finish": lambda record: jobs.finish(record, 7),
    "fail": lambda record: jobs.fail(record, "asset", "no such file", 7),
    "cancel": lambda record: jobs.cancel(record, "cancelled by me", 7),
    "lose": lambda record: jobs.lose(record, OTHER, 7),
}
TABLE = {
    ("queued", "finish"): "finished",
    ("queued", "fail"): "failed",
    ("queued", "cancel"): "cancelled",
    ("queued", "lose"): "queued",
    ("running", "finish"): "finished",
    ("running", "fail"): "failed",
    ("running", "cancel"): "cancelled",
    ("running", "lose"): "queued",
}


@pytest.fixture
def record(model: Callable[..., Manifest]) -> JobRecord:
    job = Job(
        job_id="e-0",
        evaluation_id="e",
        user="me",
        node_id="n1",
        manifest=model(),
        framework="onnxruntime",
        framework_version="1.31.1",
        runs=[],
    )
    return JobRecord(job=job, node_id="n1", changed_ns=1)


@pytest.mark.parametrize("state", ["queued", "running", "finished", "failed", "cancelled"])
@pytest.mark.parametrize("move", list(MOVES))
def test_every_move_from_every_state(record: JobRecord, state: Any, move: str) -> None:
    before = replace(record, state=state)
    if (state, move) not in TABLE:
        with pytest.raises(jobs.IllegalMoveError, match=f"cannot {move} job e-0: it is {state}"):
            MOVES[move](before)
        return
    after = MOVES[move](before)
    assert after.state == TABLE[state, move]
    assert after.changed_ns == 7


def test_a_lost_attempt_is_followed_by_the_next(record: JobRecord) -> None:
    running = replace(record, state="running", incarnation="i", published=True)
    lost = jobs.lose(running, OTHER, 7)
    assert (lost.attempt, lost.node_id, lost.incarnation) == (2, "n2", "")
    assert (lost.excluded, lost.published) == (["n1"], False)
    job = lost.job
    assert (job.attempt, job.node_id, job.framework_version) == (2, "n2", "1.20.0")
    assert job.environment == "/opt/other"
    assert jobs.lose(jobs.lose(lost, OTHER, 8), OTHER, 9).excluded == ["n1", "n2"]


def test_only_facts_of_the_current_attempt_count(record: JobRecord) -> None:
    fact = JobFinished(
        evaluation_id="e", job_id="e-0", attempt=1, node_id="n1", sequence=0, at_ns=0
    )
    assert jobs.concerns(record, fact)
    assert not jobs.concerns(record, replace(fact, attempt=2))
    assert not jobs.concerns(record, replace(fact, node_id="n2"))


@pytest.mark.parametrize(
    ("change", "attempt", "marked"),
    [
        ({}, 1, True),
        ({"state": "running"}, 1, False),
        ({"attempt": 2}, 1, False),
        ({"published": True}, 1, False),
    ],
)
def test_mark_published(
    record: JobRecord, change: dict[str, Any], attempt: int, marked: bool
) -> None:
    after = jobs.mark_published(replace(record, **change), attempt)
    assert (after is not None and after.published) is marked


@pytest.mark.parametrize(
    ("states", "ended"),
    [
        (["queued"], None),
        (["finished", "running"], None),
        (["finished"], None),  # the second job is not written yet
        (["finished", "finished"], "finished"),
        (["finished", "failed"], "failed"),
        (["failed", "cancelled"], "cancelled"),
    ],
)
def test_an_evaluation_ends_with_its_last_job(
    record: JobRecord,
    request_for: Callable[..., Evaluate],
    states: list[Any],
    ended: str | None,
) -> None:
    placed = [
        JobPlaced(job_id=f"e-{i}", node_id="n1", framework="f", framework_version="1")
        for i in range(2 if len(states) > 1 or states == ["finished"] else 1)
    ]
    evaluation = EvaluationRecord(
        request=request_for(), model="m", model_version="1.0.0", jobs=placed, accepted_ns=1
    )
    found = [
        replace(record, state=state, kind="" if state == "finished" else state, text=state)
        for state in states
    ]
    after = jobs.end(evaluation, found, 9)
    assert (after and after.state) == ended
    if after is not None:
        assert after.ended_ns == 9
        assert after.kind == ("" if ended == "finished" else ended)
        with pytest.raises(jobs.IllegalMoveError):
            jobs.end(after, found, 10)


DEEP = ["model", "framework", "system"]


@pytest.mark.parametrize(
    ("level", "served", "leveled", "levels"),
    [
        ("none", ["system"], True, ["none"]),
        ("application", [], True, ["application"]),
        ("model", ["system"], True, ["model"]),
        ("framework", ["system"], True, ["model", "framework"]),
        ("full", [], True, ["model", "framework"]),
        ("library", ["system"], True, ["model", "framework"]),
        ("hardware", ["system"], True, DEEP),
        ("full", ["system"], True, [*DEEP, "full"]),
        ("full", ["full", "system"], True, [*DEEP, "full"]),
        ("full", ["system", "library"], True, ["model", "framework", "library", "system", "full"]),
        ("model", [], False, ["model"]),
        ("hardware", ["system"], False, ["system"]),
        ("full", [], False, ["framework"]),
    ],
)
def test_plan_runs(
    request_for: Callable[..., Evaluate],
    level: Any,
    served: list[Any],
    leveled: bool,
    levels: list[str],
) -> None:
    request = request_for(level=level, leveled=leveled, batch_sizes=[4, 1], queries=30, warmup=2)
    runs = jobs.plan_runs(request, served)
    assert [(run.index, run.batch_size, run.level) for run in runs] == [
        (i, size, name)
        for i, (size, name) in enumerate((size, name) for size in (4, 1) for name in levels)
    ]
    assert {(run.queries, run.warmup) for run in runs} == {(30, 2)}
