"""MLPerf's early stopping: LoadGen's own numbers, and scipy's binomial distribution."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from analysis.early_stopping import chance, least_queries, most_over, of_bound, of_estimate

# REFERENCE (h): recomputed from mlcommons/inference, loadgen/early_stopping.cc.
LEAST = {
    0.9: {0: 44, 1: 64, 2: 81, 10: 197},
    0.99: {0: 459, 1: 662, 2: 838, 10: 2010},
    0.999: {0: 4603, 1: 6636},
}


@pytest.mark.parametrize("percentile", LEAST)
def test_how_many_queries_it_takes(percentile: float) -> None:
    """LoadGen's table of least query counts, number by number."""
    wanted = LEAST[percentile]
    assert {over: least_queries(over, percentile) for over in wanted} == wanted


@given(
    n=st.integers(1, 5000), over=st.integers(0, 60), percentile=st.sampled_from([0.5, 0.9, 0.99])
)
def test_the_chance_is_scipys(n: int, over: int, percentile: float) -> None:
    assert chance(n, over, percentile) == pytest.approx(
        binom.cdf(over, n, 1 - percentile), rel=1e-6, abs=1e-12
    )


@given(n=st.integers(1, 20_000), percentile=st.sampled_from([0.9, 0.99, 0.999]))
def test_most_over_is_the_other_way_round(n: int, percentile: float) -> None:
    over = most_over(n, percentile)
    assert over < 0 or least_queries(over, percentile) <= n
    assert least_queries(over + 1, percentile) > n


@pytest.mark.parametrize(("queries", "met", "more"), [(838, True, 0), (837, False, 1)])
def test_two_over_the_bound(queries: int, met: bool, more: int) -> None:
    """Of 838 they pass, of 837 early stopping fails."""
    found = of_bound([1] * (queries - 2) + [9, 9], 0.99, bound_ns=5)
    assert (found.met, found.needs_more, found.over) == (met, more, 2)
    assert ("would need 1 more" in found.text) is not met


def test_an_estimate_is_sorted_n_minus_t() -> None:
    # 100 queries bear t = 3 at p90 by scipy: P[B(100, .1) <= 3] = 0.0078, <= 4: 0.0237.
    assert binom.cdf(3, 100, 0.1) <= 0.01 < binom.cdf(4, 100, 0.1)
    found = of_estimate(list(range(100)), 0.9)
    assert (found.met, found.estimate_ns, found.over) == (True, 97, 2)


def test_too_few_for_an_estimate() -> None:
    found = of_estimate([1] * 63, 0.9)
    assert (found.met, found.needs_more, found.estimate_ns) == (False, 1, None)
    assert "needs 64, would need 1 more" in found.text
