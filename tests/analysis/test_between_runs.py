"""What earlier runs say of how runs vary: against scipy, and in the rate of false verdicts."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scipy import stats

from analysis.between_runs import Spread, _student, spread_of, spreads, widened, wider
from analysis.resampling import Interval
from bus.messages import HistoryRow, JobStarted, Run, RunSummary


@pytest.mark.parametrize("freedom", [4, 5, 9, 30])
def test_students_point_as_scipy_has_it(freedom: int) -> None:
    assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.004)


def test_two_runs_of_the_same_lie_within_the_reach_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        times = np.exp(rng.normal(16, 0.1, 12))
        found = spread_of(times[:10].tolist())
        assert found is not None
        held += abs(math.log(times[10] / times[11])) <= found.reach
    assert held >= 364  # 380 expected; fewer than 364 has a probability below 0.001


def test_few_runs_say_nothing() -> None:
    assert spread_of([1.0, 2.0, 3.0, 4.0]) is None
    alike = spread_of([7.0] * 5)
    assert alike is not None and (alike.runs, alike.reach) == (5, pytest.approx(0.0, abs=1e-12))


def test_a_wider_interval() -> None:
    ratio = Interval(value=1.1, low=1.09, high=1.11)
    found = widened(ratio, math.log(1.2))
    assert found.value == 1.1 and found.low < 1.1 / 1.2 < 1.0 < 1.1 * 1.2 < found.high
    assert widened(ratio, 0.0).low == pytest.approx(1.09)
    one, two = (
        {1: Spread(runs=5, reach=0.1)},
        {1: Spread(runs=9, reach=0.3), 4: Spread(runs=5, reach=0.2)},
    )
    assert wider(one, two) == {1: two[1], 4: two[4]}


def row(number: int, median_ns: int, scenario: str = "online", **more: str) -> HistoryRow:
    shown = {"batch_size": 1, "queries": 9, "scenario": scenario}
    runs = [
        RunSummary(run=0, level="model", median_ns=median_ns, **shown),
        RunSummary(run=1, level="framework", median_ns=9 * median_ns, **shown),
    ]
    about = {"model_version": "1.0.0", "framework": "f", "framework_version": "2", "node_id": "n"}
    return HistoryRow(evaluation_id=f"e{number}", at_ns=0, runs=runs, **{**about, **more})


def test_only_runs_like_it_count() -> None:
    common = {"evaluation_id": "x", "job_id": "j", "attempt": 1, "node_id": "n", "at_ns": 0}
    words = ("incarnation", "model", "model_digest", "environment")
    started = JobStarted(
        **common,
        sequence=0,
        model_version="1.0.0",
        framework="f",
        framework_version="2",
        **dict.fromkeys(words, "x"),
    )
    like = [row(n, 100 + n) for n in range(6)]
    other = [
        row(10, 900, scenario="server"),
        row(9, 900, node_id="m"),
        row(8, 900, framework_version="3"),
        row(7, 1, dataset="D"),
    ]
    found = spreads(started, [*like, *other], ["e5"])
    assert found == {1: spread_of([100, 101, 102, 103, 104])}
    server = Run(index=0, batch_size=1, level="model", queries=9, warmup=5, scenario="server")
    assert spreads(msgspec.structs.replace(started, runs=[server]), like) == {}
