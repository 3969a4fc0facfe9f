"""When a run stops: minima, maxima, and an interval that has become narrow enough."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from predictor_node.worker.convergence import Stop, query_times, relative_width, warming
from predictor_node.worker.scenario import NS, Options, settle
from predictor_node.worker.trace import Times


def stop_of(**options: Any) -> Stop:
    load = settle(Options.of({"name": "single_stream", **options}), 1, 100, 0)
    return Stop(load, values_ns=query_times(load))


# (options, queries, seconds) -> why it ends
CASES = [
    ({"min_duration_s": 1, "min_queries": 10}, 9, 5.0, ""),
    ({"min_duration_s": 1, "min_queries": 10}, 50, 0.99, ""),
    ({"min_duration_s": 1, "min_queries": 10}, 10, 1.0, "minima"),
    ({"min_duration_s": 9, "min_queries": 1, "max_duration_s": 9}, 1, 9.0, "minima"),
    ({"min_duration_s": 0, "min_queries": 99, "max_duration_s": 2}, 9, 2.0, "max_duration"),
    ({"min_duration_s": 9, "max_queries": 150}, 150, 0.1, "max_queries"),
    ({"until_ci": 0.01, "max_duration_s": 2}, 9, 2.0, "not converged by max_duration"),
    ({"until_ci": 0.01, "max_queries": 9}, 9, 0.1, "not converged by max_queries"),
]


@pytest.mark.parametrize(("options", "queries", "seconds", "why"), CASES)
def test_why_it_ends(options: dict[str, Any], queries: int, seconds: float, why: str) -> None:
    assert stop_of(**options)(queries, round(seconds * NS), Times(0)) == why


@pytest.mark.parametrize(("spread", "least"), [(0.0001, 90), (0.05, 300)])
def test_it_goes_on_until_the_interval_is_narrow(spread: float, least: int) -> None:
    """Steady values need no more than the first look, spread ones as many as their spread takes."""
    draw = np.random.default_rng(5)
    stop = stop_of(until_ci=0.005, min_duration_s=0, min_queries=100)
    times, why, queries = Times(0), "", 0
    times.grow(100_000)
    while not why:
        times.starts_ns[queries] = queries
        times.durations_ns[queries] = round(1e6 * (1 + spread * draw.standard_normal()))
        queries += 1
        times.done = queries
        why = stop(queries, queries * 1_000_000, times)
    assert why == "converged"
    assert queries >= least
    assert (stop.looks == 1) is (spread == 0.0001)
    values = np.array(times.durations_ns[:queries], float)
    assert relative_width(values[warming(values) :], 0.9) <= 0.005


def test_the_width_agrees_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(1e6, 1000)
    found = bootstrap((values,), np.median, method="percentile", rng=2, n_resamples=2000)
    low, high = found.confidence_interval
    assert relative_width(values, 0.5) == pytest.approx((high - low) / np.median(values), rel=0.25)


def test_neighbours_that_are_alike_widen_it() -> None:
    draw = np.random.default_rng(3)
    steps, state = [], 0.0
    for noise in draw.standard_normal(4000):
        state = 0.95 * state + noise
        steps.append(100 + state)
    alike = np.array(steps)
    assert relative_width(alike, 0.5) > 2 * relative_width(draw.permutation(alike), 0.5)


WARMING = {
    "steady": (lambda draw: draw.normal(100, 1, 500), range(0, 30)),
    "sixty slow ones": (
        lambda draw: np.concatenate([draw.normal(300, 1, 60), draw.normal(100, 1, 500)]),
        range(60, 70),
    ),
    "never steady": (lambda draw: np.linspace(900, 100, 500), range(0, 1)),
    "too few": (lambda draw: np.array([9.0, 1, 1, 1]), range(0, 1)),
}


@pytest.mark.parametrize("case", WARMING)
def test_warming_up_is_seen(case: str) -> None:
    make, expected = WARMING[case]
    assert warming(make(np.random.default_rng(0))) in expected


def test_the_latency_of_a_query_is_of_all_its_calls() -> None:
    load = settle(Options(name="multi_stream"), 4, 100, 0)
    times = Times(4)
    times.starts_ns, times.durations_ns = array("q", [0, 5, 20, 30]), array("q", [4, 6, 8, 9])
    times.done = 4
    assert query_times(load)(times).tolist() == [11, 19]
