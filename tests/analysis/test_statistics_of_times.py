"""Intervals, outliers, drift and warm-up against scipy, known answers, and by their rates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.resampling import (
    autocorrelation,
    block_length,
    drawn_means,
    drawn_medians,
    drawn_quantiles,
    interval,
    is_correlated,
    ranks,
)
from analysis.statistics import drift, far_fence, statistics_of, warmup


def first_order(rho: float, count: int, seed: int) -> np.ndarray:
    """An autoregression of first order with mean 0 and variance 1."""
    rng = np.random.default_rng(seed)
    shocks = rng.normal(0, np.sqrt(1 - rho * rho), count)
    values, value = np.empty(count), rng.normal()
    for place, shock in enumerate(shocks):
        value = values[place] = rho * value + shock
    return values


@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0], [5.0, 5.0, 1.0, 9.0, 5.0], [7.0]])
def test_ranks_as_scipy_has_them(values: list[float]) -> None:
    assert ranks(np.asarray(values)).tolist() == stats.rankdata(values).tolist()


def test_autocorrelation_of_known_series() -> None:
    # Ranks 1 2 3 4 about their mean 2.5: (1.5·.5 - .5·.5 + .5·1.5) / (2·1.5² + 2·.5²) = 1.25 / 5.
    assert autocorrelation([10, 20, 30, 40]) == pytest.approx(0.25)
    assert autocorrelation([1, 9] * 50) == pytest.approx(-0.99)
    assert autocorrelation([4] * 30) == 0.0
    assert autocorrelation(first_order(0.6, 5000, 1)) == pytest.approx(0.6, abs=0.05)


def test_neighbours_are_called_alike_no_more_often_than_said() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(is_correlated(rng.normal(size=200)) for _ in range(300))
    assert alarms <= 18  # one-sided at 2.5 %: 7.5 expected; 18 has a probability below 0.001


def test_block_length_follows_carlsteins_rule() -> None:
    values = first_order(0.5, 1000, 5)
    rho = autocorrelation(values)
    expected = (np.sqrt(6) * rho / (1 - rho**2)) ** (2 / 3) * 1000 ** (1 / 3)
    assert block_length(values) == int(np.ceil(expected))
    assert block_length(np.random.default_rng(0).normal(size=1000)) == 1


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_drawn_quantiles_are_those_of_whole_resamples(part: float) -> None:
    """The distribution by the Beta rule against resampling in full."""
    rng = np.random.default_rng(2)
    values = rng.lognormal(size=41)
    rank = int(np.ceil(41 * part)) - 1
    whole = np.sort(values[rng.integers(0, 41, (20_000, 41))], axis=1)[:, rank]
    drawn = drawn_quantiles(values, part, draws=20_000)
    assert stats.ks_2samp(whole, drawn).pvalue > 0.001


def test_the_mean_of_independent_values_as_scipys_bootstrap() -> None:
    values = np.random.default_rng(4).exponential(size=60)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)
    ).confidence_interval
    ours = interval(values.mean(), drawn_means(values, draws=4000))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.05)


def test_blocks_keep_an_intervals_promise_where_neighbours_are_alike() -> None:
    """95 % intervals of the median of 100 series whose true median is 0."""
    held = naive = 0
    for seed in range(100):
        values = first_order(0.7, 400, seed)
        drawn = drawn_medians(values, draws=400, seed=seed)
        held += interval(float(np.median(values)), drawn).holds(0.0)
        rng = np.random.default_rng(seed)
        plain = np.median(values[rng.integers(0, 400, (200, 400))], axis=1)
        naive += interval(float(np.median(values)), plain).holds(0.0)
    assert held >= 80 and naive < held - 10


def test_warm_up_is_found_where_it_ends() -> None:
    rng = np.random.default_rng(1)
    times = np.concatenate([rng.normal(30e6, 1e5, 40), rng.normal(20e6, 1e5, 200)])
    assert 40 <= warmup(times) <= 80
    told = statistics_of(times.astype(int).tolist())
    assert told.warmup_queries == warmup(times)
    assert any("warming up" in note for note in told.notes)


def test_outliers_are_beyond_tukeys_far_fence_and_stay() -> None:
    times = [*range(100, 200), 100_000]
    quarters = np.quantile(times, [0.25, 0.75])
    fence = quarters[1] + 3 * (quarters[1] - quarters[0])
    assert far_fence(np.asarray(times, float)) == fence
    told = statistics_of(times)
    assert (told.outliers, told.slowest_ns, told.queries) == (1, 100_000, 101)
    assert any("1 of 101 queries are outliers (kept)" in note for note in told.notes)


def test_drift_is_told_with_its_amount() -> None:
    rng = np.random.default_rng(6)
    slower = np.linspace(100e6, 110e6, 300) + rng.normal(0, 1e6, 300)
    found = drift(slower)
    assert found is not None and found == pytest.approx(6.45, abs=1.0)  # 108.33 / 101.67
    assert drift(rng.normal(100e6, 1e6, 300)) is None


def test_quiet_series_raise_few_flags() -> None:
    rng = np.random.default_rng(7)
    told = [statistics_of(rng.normal(10e6, 3e5, 100).astype(int).tolist()) for _ in range(200)]
    assert sum(s.warmup_queries > 0 for s in told) <= 10
    assert sum(s.drift_percent is not None for s in told) <= 8
    assert sum(s.outliers > 0 for s in told) <= 8


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_values_say_nothing(count: int) -> None:
    told = statistics_of([7] * count)
    assert (told.queries, told.median, told.notes) == (count, None, [])
