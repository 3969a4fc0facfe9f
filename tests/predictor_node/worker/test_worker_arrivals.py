"""When queries are due, and what they are fed: pure functions of the load and its seed."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor_node.worker.arrivals import bursts, due_of, poisson, sample_order
from predictor_node.worker.errors import WorkerError
from predictor_node.worker.scenario import (
    NS,
    SCENARIOS,
    Load,
    Options,
    offline_samples,
    settle,
)


def load_of(batch_size: int = 1, queries: int = 100, seed: int = 7, **options: Any) -> Load:
    return settle(Options.of(options), batch_size, queries, seed)


@pytest.mark.parametrize("rate", [5.0, 300.0, 20_000.0])
def test_poisson_has_its_rate_and_its_spread(rate: float) -> None:
    """Of 10,000 gaps the mean is within 5 % and the variation from 0.95 to 1.05."""
    due = np.array([*islice(poisson(rate, "a seed"), 10_001)], float)
    gaps = np.diff(due) / NS
    assert 1 / gaps.mean() == pytest.approx(rate, rel=0.05)
    assert 0.95 <= gaps.std() / gaps.mean() <= 1.05
    assert due[0] == 0


@given(seed=st.integers(0, 2**63), rate=st.floats(1, 5000), batches=st.integers(1, 9))
def test_a_plan_depends_on_its_seed_alone(seed: int, rate: float, batches: int) -> None:
    """The same seed gives the same instants and inputs, another one others."""
    given = {"name": "server", "target_qps": rate, "min_duration_s": 0.2, "min_queries": 20}
    load, again = load_of(seed=seed, **given), load_of(seed=seed, **given)
    assert due_of(load) == due_of(again)
    assert sample_order(load, batches, 50) == sample_order(again, batches, 50)
    assert list(due_of(load)) == sorted(due_of(load))
    assert due_of(load) != due_of(load_of(seed=seed + 1, **given))


# (options, how many queries, when the last is due at least) by hand
UNTIL = {
    "both minima: the time decides": ({"min_duration_s": 10, "min_queries": 5}, None, 10.0),
    "both minima: the count decides": ({"min_duration_s": 0.001, "min_queries": 500}, 500, 0.0),
    "a maximum of queries": ({"min_duration_s": 10, "max_queries": 50}, 50, 0.0),
}


@pytest.mark.parametrize("case", UNTIL)
def test_as_many_as_the_minima_take(case: str) -> None:
    options, count, last_s = UNTIL[case]
    due = due_of(load_of(name="server", target_qps=100.0, **options))
    assert len(due) == (count or len(due))
    assert due[-1] >= last_s * NS
    assert due[-2] < 10 * NS


def test_a_maximum_of_time_ends_the_plan() -> None:
    load = load_of(name="server", target_qps=100.0, min_duration_s=10, max_duration_s=1)
    assert 0.9 * NS < due_of(load)[-1] <= NS


def test_bursts_keep_the_mean_rate() -> None:
    assert [*islice(bursts(100.0, 3), 7)] == [0, 0, 0, *[30_000_000] * 3, 60_000_000]


def test_a_replay_is_what_was_recorded() -> None:
    load = load_of(name="replay", replay_ns=[0, 5, 5, 90], max_queries=3)
    assert list(due_of(load, [0, 5, 5, 90])) == [0, 5, 5]


def test_samples_are_drawn_with_replacement_and_contiguous_in_a_query() -> None:
    load = load_of(name="multi_stream")
    order = [*sample_order(load, 5, 8000)]
    for first in range(0, 8000, 8):
        query = order[first : first + 8]
        assert all((b - a) % 5 == 1 for a, b in pairwise(query))
    counts = np.bincount(order[::8], minlength=5)
    assert counts.min() > 150  # of 1,000 queries, 200 expected each


def test_accuracy_issues_each_sample_once_shuffled() -> None:
    order = [*sample_order(load_of(name="server", target_qps=1.0, accuracy=True), 40, 40)]
    assert sorted(order) == [*range(40)] != order


def test_offline_repeats_the_samples_in_order() -> None:
    assert [*sample_order(load_of(name="offline"), 3, 100)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "batch_size", "rate", "samples"),
    [
        ({"min_queries": 100, "min_duration_s": 0}, 16, 0.0, 112),
        ({"min_queries": 10, "min_duration_s": 2}, 1, 50.0, 110),  # 1.1 x 2 s x 50/s
        ({"min_queries": 10, "min_duration_s": 2, "max_queries": 60}, 4, 50.0, 60),
    ],
)
def test_how_many_samples_offline_has(
    options: dict[str, Any], batch_size: int, rate: float, samples: int
) -> None:
    load = load_of(batch_size, name="offline", **options)
    assert offline_samples(load, rate) == samples


# What LoadGen's settings have by default (loadgen/test_settings.h), and ours.
DEFAULTS = {
    "online": (0.0, 100, 0.5, 1),
    "single_stream": (10.0, 100, 0.9, 1),
    "multi_stream": (10.0, 100, 0.99, 8),
    "server": (10.0, 100, 0.99, 1),
    "offline": (10.0, 100, 0.99, 1),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_is_left_open_is_settled(name: str) -> None:
    told = load_of(name=name).told()
    fields = ("min_duration_s", "min_queries", "percentile", "samples_per_query")
    assert tuple(told[field] for field in fields) == DEFAULTS[name]


def test_wrong_loads_are_named() -> None:
    with pytest.raises(WorkerError, match="did you mean server"):
        Options.of({"name": "sever"})
    with pytest.raises(WorkerError, match="a query of 8 samples cannot be made of batches of 3"):
        load_of(3, name="multi_stream")
    assert set(DEFAULTS) < set(SCENARIOS)
