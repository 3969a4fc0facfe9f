"""Whose turn it is: priorities, shares, age; and which node has it done first. Worked by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from analysis.recommend import by_speed, ns_per_input
from bus.errors import InputError
from bus.messages import FrameworkSeen, Job, JobRecord, ModelRan, NodeAnnounced, RunMeasured
from coordinator.constraints import Fit, Fitting
from coordinator.placement import Outlook, choose, choose_several, in_order
from coordinator.turns import HALF_LIFE_S, Used, in_queue_order, in_turn, read_shares

S = 10**9


@pytest.fixture
def waiting(model: Callable[..., Any]) -> Callable[..., JobRecord]:
    manifest = model()

    def make(name: str, user: str, **fields: Any) -> JobRecord:
        job = Job(
            job_id=name,
            evaluation_id=name,
            user=user,
            node_id="n1",
            manifest=manifest,
            framework="onnxruntime",
            framework_version="1",
            runs=[],
            submitted_ns=fields.pop("at", 0),
        )
        return JobRecord(job=job, node_id="n1", **{"held": True, **fields})

    return make


def names(records: list[JobRecord]) -> list[str]:
    return [record.job.job_id for record in records]


def test_users_take_turns_and_the_younger_waits(waiting: Callable[..., JobRecord]) -> None:
    jobs = [waiting(f"a{n}", "ann", at=n) for n in range(3)]
    jobs += [waiting(f"b{n}", "ben", at=10 + n) for n in range(2)]
    assert names(in_turn(jobs, {}, {})) == ["a0", "b0", "a1", "b1", "a2"]
    # Ann had ten seconds lately: both of Ben's go first.
    assert names(in_turn(jobs, {"ann": 10.0}, {}))[:2] == ["b0", "b1"]
    # Ann may have twice as much: her jobs begin at 0, 1/2, 1; Ben's at 0, 1.
    assert names(in_turn(jobs, {}, {"ann": 2.0})) == ["a0", "b0", "a1", "a2", "b1"]


def test_what_a_job_takes_counts_not_how_many_there_are(
    waiting: Callable[..., JobRecord],
) -> None:
    jobs = [waiting(f"long{n}", "ann", at=n, expected_s=60.0) for n in range(2)]
    jobs += [waiting(f"short{n}", "ben", at=10 + n, expected_s=20.0) for n in range(3)]
    # Ann's begin at 0 and 60, Ben's at 0, 20 and 40.
    assert names(in_turn(jobs, {}, {})) == ["long0", "short0", "short1", "short2", "long1"]


def test_a_higher_priority_goes_first_whoever_asks(waiting: Callable[..., JobRecord]) -> None:
    jobs = [waiting("old", "ann"), waiting("urgent", "ann", at=5, priority=3)]
    jobs += [waiting("whenever", "ben", priority=-1), waiting("too", "ben", at=6, priority=3)]
    assert names(in_turn(jobs, {"ben": 100.0}, {})) == ["urgent", "too", "old", "whenever"]


def test_a_node_has_what_runs_then_its_own_queue_then_what_is_held(
    waiting: Callable[..., JobRecord],
) -> None:
    runs = waiting("runs", "ann", held=False, state="running", changed_ns=5)
    queued = waiting("queued", "ann", held=False, changed_ns=1)
    assert names(in_queue_order([waiting("held", "ben"), queued, runs], {}, {})) == [
        "runs",
        "queued",
        "held",
    ]


def test_three_users_on_one_node_get_a_third_each(waiting: Callable[..., JobRecord]) -> None:
    """Nobody is passed over for ever, however many jobs the others have."""
    jobs = [waiting(f"{user}{n}", user, at=n) for user in ("ann", "ben", "cat") for n in range(40)]
    used, served, now_ns = Used(), list[str](), 0
    while len(served) < 30:
        first = in_turn(jobs, used.at(now_ns), {})[0]
        jobs.remove(first)
        now_ns += S
        used.add(first.job.user, 1.0, now_ns)
        served.append(first.job.user)
    assert Counter(served) == {"ann": 10, "ben": 10, "cat": 10}


def test_what_a_user_had_is_forgotten_by_halves() -> None:
    used = Used()
    used.add("ann", 8.0, 0)
    assert used.at(0) == {"ann": 8.0}
    assert used.at(round(HALF_LIFE_S * S)) == {"ann": 4.0}
    used.add("ann", 1.0, round(2 * HALF_LIFE_S * S))
    assert used.at(round(2 * HALF_LIFE_S * S)) == {"ann": 3.0}
    assert used.at(round(60 * HALF_LIFE_S * S)) == {}


def test_shares() -> None:
    assert read_shares("ann=2, ben=0.5") == {"ann": 2.0, "ben": 0.5}
    for text in ("ann", "ann=0", "=2", "ann=-1", "ann=much"):
        with pytest.raises(InputError, match="USER=SHARE"):
            read_shares(text)


# ---------------------------------------------------------------- which node


def ran(ms: float, fetch_s: float = 0.0) -> ModelRan:
    return ModelRan(
        model_digest="d",
        framework="onnxruntime",
        ns_per_input=round(ms * 1e6),
        fetch_ns=round(fetch_s * S),
    )


@pytest.fixture
def three(node: Callable[..., NodeAnnounced]) -> list[Fitting]:
    """slow has 4 cores at 1 an hour, fast 64 at 5, other 8 and no price."""
    build = FrameworkSeen(name="onnxruntime", version="1", devices=["cpu"])
    made = {
        "slow": node("slow", cores=4, labels={"price": "1"}),
        "fast": node("fast", cores=64, labels={"price": "5"}),
        "other": node("other", cores=8, labels={"price": "cheap"}),
    }
    return [Fitting(Fit(build, (), (build,)), each, (name,)) for name, each in made.items()]


@pytest.mark.parametrize(
    ("outlook", "order"),
    [
        pytest.param(Outlook(), ["fast", "other", "slow"], id="nothing known: the largest"),
        pytest.param(
            # 1,000 inputs: 10.1 s on slow; 2.1 s + 9 s before it on fast; 1.0 s to fetch and the
            # median of both, 6 ms, on other: 7.1 s.
            Outlook({"fast": 9.0}, {"slow": ran(10), "fast": ran(2)}, 1000),
            ["other", "slow", "fast"],
            id="what waits, weighted by speed",
        ),
        pytest.param(
            Outlook({}, {"slow": ran(10, 30.0)}, 1000),
            ["slow", "fast", "other"],
            id="where the files are: 10.1 s against 40.1 s",
        ),
        pytest.param(
            Outlook({"fast": 99.0}, {"slow": ran(10), "fast": ran(2)}, 10, "fastest"),
            ["fast", "slow", "other"],
            id="the fastest, whatever waits for it",
        ),
        pytest.param(
            # An hour costs 1 and 5; 10.1 s x 1 is less than 2.1 s x 5 = 10.5.
            Outlook({}, {"slow": ran(10), "fast": ran(2)}, 1000, "cheapest"),
            ["slow", "fast", "other"],
            id="the cheapest for this work; no price comes last",
        ),
        pytest.param(
            # 10.1 s x 1 against 1.1 s x 5 = 5.5.
            Outlook({}, {"slow": ran(10), "fast": ran(1)}, 1000, "cheapest"),
            ["fast", "slow", "other"],
            id="the dearer hour may be cheaper",
        ),
        pytest.param(
            Outlook({"fast": 2.0, "other": 1.0, "slow": 0.5}, {}, 1, "least_loaded"),
            ["slow", "other", "fast"],
            id="the least loaded",
        ),
    ],
)
def test_which_node(three: list[Fitting], outlook: Outlook, order: list[str]) -> None:
    assert in_order(three, outlook) == order
    chosen = choose(three, outlook)
    assert chosen is not None and chosen.node_id == order[0]
    assert [one.node_id for one in choose_several(three, 0, outlook)] == order
    assert [one.node_id for one in choose_several(three, 2, outlook)] == order[:2]
    assert chosen.expected_s == outlook.expected_s(order[0])


def test_alike_nodes_are_told_apart_by_what_they_ran(node: Callable[..., NodeAnnounced]) -> None:
    build = FrameworkSeen(name="onnxruntime", version="1", devices=["cpu"])
    alike = [Fitting(Fit(build), node("a"), ("a", "b", "c", "d"))]
    assert choose(alike, Outlook({"a": 1.0})).node_id == "b"  # type: ignore[union-attr]
    there = Outlook({"a": 0.1}, {"a": ran(1, 20.0)}, 10)
    assert choose(alike, there).node_id == "a"  # type: ignore[union-attr]
    assert choose(alike, there, ["a"]).node_id == "b"  # type: ignore[union-attr]


def test_speeds_from_facts() -> None:
    def run(node: str, batch: int, level: Any, durations_ns: list[int]) -> RunMeasured:
        return RunMeasured(
            evaluation_id="e",
            job_id="j",
            attempt=1,
            node_id=node,
            sequence=0,
            at_ns=0,
            run=0,
            batch_size=batch,
            level=level,
            scenario="online",
            start_ns=0,
            starts_ns=[0] * len(durations_ns),
            durations_ns=durations_ns,
        )

    facts = [
        run("b", 2, "model", [20, 40, 60]),
        run("b", 8, "model", [1]),
        run("a", 1, "model", [30, 10]),
        run("a", 1, "model", [50]),
        run("a", 1, "framework", [9999]),
    ]
    assert ns_per_input(facts) == {"b": 20.0, "a": 30.0}
    assert by_speed({"b": 2.0, "a": 3.0, "c": 2.0}) == [("b", 2.0), ("c", 2.0), ("a", 3.0)]
