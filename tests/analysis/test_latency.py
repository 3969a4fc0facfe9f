"""Latency, throughput and overhead with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.latency import (
    LatencyRow,
    best_batch,
    latency,
    mean_interval,
    median_interval,
    percentile,
)
from analysis.latency import trimmed_mean as trimmed
from analysis.overhead import tracing_overhead
from bus.messages import Level, RunMeasured


def run(
    index: int,
    durations_ns: list[int],
    batch: int = 1,
    level: Level = "model",
    first: int = 0,
    job: str = "j1",
) -> RunMeasured:
    return RunMeasured(
        evaluation_id="e1",
        job_id=job,
        attempt=1,
        node_id="n1",
        sequence=index,
        at_ns=0,
        run=index,
        batch_size=batch,
        level=level,
        scenario="online",
        start_ns=0,
        first_query=first,
        starts_ns=[0] * len(durations_ns),
        durations_ns=durations_ns,
    )


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [(1, 50, 1), (2, 50, 1), (3, 50, 2), (10, 90, 9), (11, 90, 10), (100, 99, 99), (101, 99, 100)],
)
def test_percentile_is_the_nearest_rank(count: int, percent: int, expected: int) -> None:
    assert percentile(range(1, count + 1), percent) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0.0),
        ([4], 4.0),
        ([4, 8], 6.0),
        ([1, 2, 100], 2.0),
        ([1, 2, 3, 100], 2.0),  # the original's quirk: REFERENCE, "Shared conventions"
        ([1, 2, 3, 4, 100], 3.0),
    ],
)
def test_trimmed_mean(values: list[float], expected: float) -> None:
    assert trimmed(values) == expected


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (6, 1, 6),  # 2 / 2**6 = 0.031
        (10, 2, 9),  # 2 * 11 / 2**10 = 0.021; one rank further in: 2 * 56 / 2**10 = 0.109
        (100, 40, 61),  # the ranks that tables give
    ],
)
def test_the_interval_of_the_median(count: int, low: int, high: int) -> None:
    assert median_interval(range(1, count + 1)) == (low, high)


def test_few_values_have_no_interval() -> None:
    assert median_interval(range(5)) is None


def test_many_values_have_a_narrow_interval() -> None:
    """The normal approximation of the binomial: 500,000 -+ 1.96 * sqrt(1,000,000) / 2."""
    low, high = median_interval(range(1, 1_000_001)) or (0, 0)
    assert (low, high) == (pytest.approx(499_020, abs=2), pytest.approx(500_981, abs=2))


@pytest.mark.parametrize("count", [6, 100, 5_000, 30_000])
def test_the_interval_of_the_mean_is_scipys(count: int) -> None:
    values = np.random.default_rng(7).gamma(2.0, 1e6, count).astype(int)
    sem = values.std(ddof=1) / count**0.5
    if count > 20_000:
        expected = stats.norm.interval(0.95, values.mean(), sem)
    else:
        found = stats.bootstrap((values,), np.mean, method="percentile", rng=1)
        expected = tuple(found.confidence_interval)
    assert mean_interval(values.tolist()) == pytest.approx(expected, abs=0.25 * sem)


def test_a_row() -> None:
    (row,) = latency([run(3, list(range(1_000, 11_000, 1_000)), batch=4)])
    assert (row.run, row.batch_size, row.level, row.queries) == (3, 4, "model", 10)
    assert (row.p50_ns, row.p90_ns, row.p99_ns) == (5_000, 9_000, None)
    assert row.needs == {"p99": "needs 100 queries"}
    assert (row.mean_ns, row.trimmed_mean_ns) == (5_500.0, 5_500.0)
    assert (row.median_low_ns, row.median_high_ns) == (2_000, 9_000)
    assert row.throughput == pytest.approx(40 * 1e9 / 55_000)
    low, high = mean_interval(range(1_000, 11_000, 1_000)) or (0, 0)
    assert (row.throughput_low, row.throughput_high) == (4 * 1e9 / high, 4 * 1e9 / low)
    assert row.throughput_low < row.throughput < row.throughput_high


def test_each_number_is_from_the_shallowest_run_that_has_it() -> None:
    deep = [run(1, [900], level="framework"), run(3, [700], batch=2, level="framework")]
    shallow = [run(0, [100]), run(2, [150], batch=2)]
    rows = latency(deep + shallow)
    assert [(r.batch_size, r.run, r.p50_ns) for r in rows] == [(1, 0, 100), (2, 2, 150)]
    slower = [run(1, [9_000], level="framework"), run(3, [7_000], batch=2, level="framework")]
    assert latency(slower + shallow) == rows
    assert [r.run for r in latency(deep)] == [1, 3]


def test_a_run_in_several_messages_is_one() -> None:
    parts = [run(0, [30, 40], first=2), run(0, [10, 20])]
    (row,) = latency(parts)
    assert (row.queries, row.p50_ns, row.mean_ns) == (4, 20, 25.0)
    assert latency([run(0, [])]) == []


def rows_of(throughputs: dict[int, float]) -> list[LatencyRow]:
    return [latency([run(0, [round(1e9 * b / t)], batch=b)])[0] for b, t in throughputs.items()]


@pytest.mark.parametrize(
    ("throughputs", "best", "rule"),
    [
        ({1: 100, 2: 190, 4: 300, 8: 310}, 4, "doubling gains 5 %"),  # REFERENCE (a), 9
        ({1: 100, 2: 190, 4: 300}, 4, "each doubling gained"),
        ({1: 100, 2: 90}, 1, "5 %"),
        ({1: 100, 3: 300, 4: 290}, 3, "do not double"),
        ({1: 100}, 1, "highest"),
    ],
)
def test_the_best_batch(throughputs: dict[int, float], best: int, rule: str) -> None:
    """The smallest whose doubling gains 5 % or less."""
    found = best_batch(rows_of(throughputs))
    assert found is not None
    assert found.batch_size == best and rule in found.rule


def test_no_rows_have_no_best_batch() -> None:
    assert best_batch([]) is None


def test_overhead_is_against_the_model_level() -> None:
    runs = [
        run(0, [100, 100, 100]),
        run(1, [150, 120, 900], level="framework"),
        run(2, [300], level="library"),
        run(3, [10], level="application", batch=2),
        run(4, [15], level="framework", batch=2),
    ]
    rows = tracing_overhead(runs)
    found = [(r.batch_size, r.level, r.run, r.base_run, r.ratio, r.added_ns) for r in rows]
    assert found == [
        (1, "framework", 1, 0, 1.5, 50),
        (1, "library", 2, 0, 3.0, 200),
        (2, "framework", 4, 3, 1.5, 5),
    ]
    assert tracing_overhead(runs[:1]) == []
