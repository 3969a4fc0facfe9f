"""Two runs held against each other: verdicts with numbers worked out by hand, and their errors."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from analysis.comparability import gate
from analysis.comparison import Wanted, cliffs_delta, compare, size_of_effect
from analysis.paired import rightness
from bus.errors import InputError, UnknownNameError
from bus.messages import (
    ClassScore,
    Conditions,
    EvaluationFailed,
    EvaluationFinished,
    JobFinished,
    JobStarted,
    Message,
    ModelOpened,
    NodeAnnounced,
    Prediction,
    PredictionsMade,
    Run,
    RunMeasured,
    Truth,
)

S = 1_000_000_000
ENDED = EvaluationFinished(evaluation_id="e", at_ns=10 * S, jobs=[])


def told(
    times: dict[int, list[int]] | None = None,
    settings: dict[str, Any] | None = None,
    conditions: Conditions | None = Conditions(kernel="6.1", load_1m=0.1, stalled_us=0),  # noqa: B008
    stalled_us: int = 0,
    end: Message = ENDED,
    **about: Any,
) -> list[Message]:
    """An evaluation's facts: times by batch size, effective settings, and what else is said."""
    common = {"evaluation_id": "e" * 32, "job_id": "j", "attempt": 1, "node_id": "n1"}
    words = {
        "model": "M", "model_version": "1.0.0", "model_digest": "d1", "framework": "onnxruntime",
        "framework_version": "1.20", "environment": "default", "incarnation": "i",
    }  # fmt: skip
    node = NodeAnnounced(node_id="n1", incarnation="i", cpu="C", cores=4)
    given = {**words, "node": node, "conditions": conditions, **about}
    version = given["framework_version"]
    facts: list[Message] = [
        JobStarted(
            **common,
            sequence=0,
            at_ns=0,
            runs=[Run(index=0, batch_size=1, level="model", queries=9, warmup=5)],
            **given,
        ),
        ModelOpened(
            **common,
            sequence=1,
            at_ns=1,
            run=0,
            framework=given["framework"],
            framework_version=version,
            cached=False,
            duration_ns=1,
            settings=settings or {"intra_op_threads": 1},
        ),
    ]
    for index, (size, durations) in enumerate((times or {}).items()):
        facts.append(
            RunMeasured(
                **common,
                sequence=2 + index,
                at_ns=2,
                run=index,
                batch_size=size,
                level="model",
                scenario="online",
                start_ns=0,
                starts_ns=[0] * len(durations),
                durations_ns=durations,
            )
        )
    after = msgspec.structs.replace(conditions, stalled_us=stalled_us) if conditions else None
    facts.append(JobFinished(**common, sequence=9, at_ns=10 * S, conditions=after))
    return [*facts, end]


def times(middle_ns: float, spread: float = 0.02, count: int = 200, seed: int = 1) -> list[int]:
    drawn = np.random.default_rng(seed).normal(middle_ns, middle_ns * spread, count)
    return [int(value) for value in drawn]


def loaded(scenario: str, starts: list[int], took: list[int], **more: Any) -> list[Message]:
    """An evaluation under a load, whose every time is written down."""
    return [
        msgspec.structs.replace(
            fact, scenario=scenario, starts_ns=starts, durations_ns=took, **more
        )
        if isinstance(fact, RunMeasured)
        else fact
        for fact in told({1: took})
    ]


# ------------------------------------------------------------------ verdicts


MS = 1_000_000
ALONE = [100 * MS * i for i in range(120)]
THREES = [100 * MS * (i // 3) for i in range(120)]
BEHIND = [due + 10 * MS * (i % 3) for i, due in enumerate(THREES)]
CALLS = [10 * MS] * 120


def test_under_a_load_waiting_counts() -> None:
    """Calls of 10 ms on both sides; A's queries come alone, B's three at one instant: they take
    10, 20 and 30 ms, whose median is 20 and whose p99 is 30."""
    a = loaded("server", ALONE, CALLS, scheduled_ns=ALONE)
    b = loaded("server", BEHIND, CALLS, scheduled_ns=THREES)
    latency, p99, throughput = compare(a, b).metrics
    assert (latency.a, latency.b, p99.b) == (10 * MS, 20 * MS, 30 * MS)
    assert latency.ratio is not None and latency.ratio.value == 2.0
    assert latency.verdict == "slower" and "due" in latency.note
    assert throughput.ratio is not None and throughput.ratio.value == 1.0  # while predicting
    assert throughput.verdict == "no evidence"


@pytest.mark.parametrize(
    ("scenario", "more", "median_ms", "queries"),
    [
        ("online", {}, 10, 120),
        ("single_stream", {}, 10, 120),
        # Queries of two calls: from a first call's begin to a second's end; 110 ms.
        ("multi_stream", {"calls_per_query": 2}, 110, 60),
        ("burst", {"scheduled_ns": [ns - 5 * MS for ns in ALONE]}, 15, 120),
        ("offline", {"calls_per_query": 120}, 10, 120),
        ("cold_start", {"parts_ns": {"process": [7 * MS] * 120, "open": [2 * MS] * 120}}, 9, 120),
    ],
)
def test_what_latency_is(scenario: str, more: dict[str, Any], median_ms: int, queries: int) -> None:
    facts = loaded(scenario, ALONE, CALLS, **more)
    latency, *_, throughput = compare(facts, facts).metrics
    assert (latency.a, latency.queries_a) == (median_ms * MS, queries)
    assert (throughput.a, throughput.queries_a) == (100.0, 120)


@pytest.mark.parametrize(
    ("one", "two", "named"),
    [
        ({"target_qps": 100.0}, {"target_qps": 200.0}, ["target_qps"]),
        ({"issue_threads": 1}, {"issue_threads": 2}, ["issue_threads"]),
        ({"target_qps": 100.0, "min_queries": 5}, {"target_qps": 100.0, "min_queries": 9}, []),
    ],
)
def test_another_load_is_named(one: dict[str, Any], two: dict[str, Any], named: list[str]) -> None:
    sides = [
        loaded("server", ALONE, CALLS, scheduled_ns=ALONE, effective=load) for load in (one, two)
    ]
    found = gate(*sides, across="framework")
    assert [each.name for each in found.differences] == named
    assert found.comparable == (not named)


def test_twice_as_slow() -> None:
    base = times(10e6)
    found = compare(told({1: base}), told({1: [2 * ns for ns in base]}))
    latency, p99, throughput = found.metrics
    assert (latency.metric, latency.verdict, latency.b) == ("latency", "slower", 2 * latency.a)
    assert latency.ratio is not None and latency.ratio.value == 2.0
    assert latency.ratio.holds(2.0) and latency.ratio.low > 1.9
    assert latency.effect == 1.0 and p99.verdict == "slower"
    assert throughput.ratio is not None and throughput.ratio.value == pytest.approx(0.5)
    assert throughput.verdict == "slower" and found.worse
    assert found.gate.comparable and "B is slower at batch 1: latency ×2.000" in found.headline


@pytest.mark.parametrize(
    ("factor", "tolerance", "verdict", "within"),
    [
        (0.5, 0.02, "faster", False),
        (1.0, 0.02, "no evidence", True),
        (1.01, 0.02, "no evidence", True),
        (1.1, 0.02, "slower", False),
        (1.1, 0.2, "no evidence", True),
        (1.02, 0.02, "no evidence", False),  # on the border: neither
    ],
)
def test_verdicts(factor: float, tolerance: float, verdict: str, within: bool) -> None:
    pair = told({4: times(10e6)}), told({4: times(10e6 * factor, seed=2)})
    found = compare(*pair, Wanted(metrics=("latency",), tolerance=tolerance))
    (row,) = found.metrics
    assert (row.verdict, row.within) == (verdict, within)


def test_runs_that_are_alike_are_called_different_as_rarely_as_said() -> None:
    """A/A: at tolerance 0, of 100 pairs of the same thing."""
    alarms = 0
    for seed in range(100):
        pair = (told({1: times(10e6, seed=2 * seed + k, count=60)}) for k in (0, 1))
        found = compare(*pair, Wanted(metrics=("latency",), tolerance=0.0))
        alarms += found.metrics[0].verdict != "no evidence"
    assert alarms <= 12  # 5 expected; more than 12 has a probability below 0.001


def test_each_shared_batch_size_has_its_verdict() -> None:
    found = compare(
        told({1: times(1e6), 8: times(5e6), 16: times(9e6)}),
        told({1: times(2e6), 8: times(4e6)}),
        Wanted(metrics=("latency",)),
    )
    assert [(r.batch_size, r.verdict) for r in found.metrics] == [(1, "slower"), (8, "faster")]
    assert "batch 1" in found.headline and "batch 8" in found.headline


def test_too_few_queries_are_no_evidence() -> None:
    found = compare(told({1: [10] * 5}), told({1: [99] * 5}))
    assert {row.verdict for row in found.metrics} == {"no evidence"}
    assert [row.note for row in found.metrics] == [
        "needs 6 queries on both sides", "needs 100 queries on both sides",
        "needs 6 queries on both sides",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_the_effect_is_mann_whitneys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 30, 40).astype(float), rng.integers(5, 35, 55).astype(float)
    u = stats.mannwhitneyu(b, a).statistic
    assert cliffs_delta(a, b) == pytest.approx(2 * u / (40 * 55) - 1)


@pytest.mark.parametrize(
    ("delta", "word"), [(0.1, "negligible"), (-0.2, "small"), (0.4, "medium"), (-1, "large")]
)
def test_an_effect_in_a_word(delta: float, word: str) -> None:
    assert size_of_effect(delta) == word


FAILED = EvaluationFailed(evaluation_id="e", at_ns=1, kind="worker_died", text="exit 139")


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (told({1: [1] * 9}), told({2: [1] * 9}), "A was measured at batch sizes 1, B at 2"),
        (told({1: [1] * 9}), told({1: [1] * 9}, end=FAILED), "worker_died: exit 139"),
        (told({1: [1] * 9})[:-1], told({1: [1] * 9}), "has not ended yet"),
        ([], told({1: [1] * 9}), "nothing ran"),
    ],
)
def test_what_cannot_be_compared_says_why(
    one: list[Message], two: list[Message], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        compare(one, two)


# ------------------------------------------------------------------ the gate

BASE = {1: [10] * 9}
OTHER = {"framework": "pytorch", "framework_version": "2.13", "model_digest": "d2"}
LIMITS = [
    # what B has that A has not, what was asked about, what is not asked about, may it be told
    ({}, "", [], True),
    ({"framework_version": "1.21"}, "", [], True),
    ({"framework_version": "1.21"}, "framework", [], True),
    ({"framework_version": "1.21"}, "system", ["framework_version"], False),
    (OTHER, "", [], True),
    (OTHER, "framework", [], True),
    (OTHER | {"settings": {"intra_op_threads": 2}}, "framework", ["intra_op_threads"], False),
    (OTHER | {"settings": {"intra_op_threads": 1, "compile": "none"}}, "framework", [], True),
    ({"settings": {"intra_op_threads": 2}}, "threads", [], True),
    ({"settings": {"intra_op_threads": 2}, "model_digest": "d2"}, "threads",
     ["model_digest"], False),
    ({"model": "N", "model_digest": "d2"}, "", [], True),
    ({"model": "N", "model_digest": "d2", "framework_version": "1.21"}, "",
     ["framework_version", "model", "model_digest"], False),
    ({"conditions": Conditions(kernel="6.2", stalled_us=0)}, "framework", ["kernel"], False),
    ({"conditions": Conditions(kernel="6.1", governor="powersave", stalled_us=0)}, "framework",
     ["governor"], False),
    ({"stalled_us": 2_000_000} | OTHER, "framework", ["cores waited for"], False),
    ({"stalled_us": 500_000} | OTHER, "framework", [], True),
    ({"dataset": "D", "dataset_version": "1.0.0"}, "model",
     ["dataset", "dataset_version"], False),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "across", "unasked", "may"), LIMITS)
def test_the_gate(changed: dict[str, Any], across: str, unasked: list[str], may: bool) -> None:
    found = gate(told(BASE), told(BASE, **changed), across)
    assert sorted(d.name for d in found.differences if not d.asked) == unasked
    assert found.comparable is may
    assert all(name in found.text for name in unasked)


def test_a_refused_comparison_has_figures_and_no_headline() -> None:
    pair = told({1: times(1e6)}), told({1: times(9e6)}, model="N", framework_version="9")
    refused, forced = compare(*pair), compare(*pair, Wanted(force=True))
    assert refused.headline == "" and refused.metrics[0].verdict == "slower"
    assert forced.forced and "slower" in forced.headline


def test_throttling_and_heat_count() -> None:
    cool = Conditions(temperature_c=40, throttled=3)
    hot = Conditions(temperature_c=80, throttled=3)
    found = gate(told(BASE, conditions=cool), told(BASE, conditions=hot), "model")
    assert [d.name for d in found.differences] == ["temperature"]


def test_an_old_evaluation_told_no_conditions() -> None:
    found = gate(told(BASE, conditions=None), told(BASE, conditions=None))
    assert found.comparable and found.unknown == ["conditions: the node told none"]


def test_an_unknown_aspect_is_named() -> None:
    with pytest.raises(UnknownNameError, match="framwork"):
        gate(told(BASE), told(BASE), "framwork")


def test_a_wrong_aspect_is_told_before_what_is_not_shared() -> None:
    with pytest.raises(UnknownNameError, match="colour"):
        compare(told({1: times(1e6)}), told({2: times(1e6)}), Wanted(across="colour"))


# ------------------------------------------------------------------ answers


def answered(right: str) -> list[Message]:
    """One letter an item: r is right, w is wrong."""
    predictions = [
        Prediction(
            input=f"i{n}",
            classes=[ClassScore(index=0 if c == "r" else 1, label="", probability=0.9)],
            truth=Truth(index=0),
        )
        for n, c in enumerate(right)
    ]
    facts = told({1: times(1e6)}, dataset="D", dataset_version="1.0.0")
    common = {"evaluation_id": "e", "job_id": "j", "attempt": 1, "node_id": "n1"}
    made = PredictionsMade(**common, sequence=8, at_ns=3, run=0, first=0, predictions=predictions)
    return [*facts[:-1], made, facts[-1]]


def test_rightness_by_hand() -> None:
    found = rightness(answered("r" * 90 + "w" * 10), answered("r" * 75 + "w" * 20 + "r" * 5))
    # A alone: 75–89, fifteen; B alone: 95–99, five; McNemar: 2 P[Binomial(20, ½) ≤ 5].
    assert (found.right_a, found.right_b, found.only_a, found.only_b) == (90, 80, 15, 5)
    assert found.p_value == pytest.approx(2 * stats.binom.cdf(5, 20, 0.5))
    assert found.difference.value == pytest.approx(-0.10)
    # The paired difference's standard error: √((b + c) - (b - c)² / n) / n.
    error = np.sqrt(20 - 100 / 100) / 100
    assert found.difference.low == pytest.approx(-0.10 - 1.96 * error, abs=0.012)
    assert found.verdict == "less right"


def test_accuracy_takes_part_in_the_verdict() -> None:
    found = compare(answered("r" * 90 + "w" * 10), answered("w" * 10 + "r" * 70 + "w" * 20))
    assert found.worse and "B is less right" in found.headline
    assert found.answers is not None and found.answers.differing == 20
    alike = compare(answered("rrww"), answered("rwrw"))
    assert alike.accuracy is not None and alike.accuracy.verdict == "no evidence"
    assert not alike.worse and "no evidence that either is more often right" in alike.headline
