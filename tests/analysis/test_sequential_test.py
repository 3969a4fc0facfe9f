"""The sequential test: its formula against scipy, and its error however often one looks."""

from __future__ import annotations

import math
import random

import pytest
from scipy.special import betaln

from analysis.sequential import Tosses, Watch


@pytest.mark.parametrize(("heads", "tails"), [(0, 0), (5, 0), (3, 4), (40, 12)])
def test_the_likelihood_is_the_beta_mixtures(heads: int, tails: int) -> None:
    told = Tosses(heads, tails).log_odds()
    assert told == pytest.approx(betaln(heads + 1, tails + 1) + (heads + tails) * math.log(2))


def test_a_fair_coin_is_called_unfair_as_rarely_as_said() -> None:
    chance, wrong = random.Random(5), 0
    for _ in range(300):
        tosses = Tosses()
        for _ in range(300):
            tosses.add(chance.random() < 0.5)  # one looks after each
        wrong += bool(tosses.verdict(0.05))
    assert wrong <= 27  # 15 at most are expected; more than 27 has a probability below 0.002


def test_six_of_six_are_not_enough_and_eight_are() -> None:
    # n heads of n: the mixture is 1 / (n + 1), the odds 2^n / (n + 1): 9.1 for 6, 28.4 for 8.
    for count, verdict in ((6, ""), (8, "heads")):
        tosses = Tosses()
        for _ in range(count):
            tosses.add(True)
        assert tosses.p_value == pytest.approx((count + 1) / 2**count)
        assert tosses.verdict(0.05) == verdict


def watched(ratio: float, count: int = 400) -> Watch:
    chance, watch = random.Random(1), Watch(tolerance=0.02)
    for _ in range(count):
        watch.took(100.0, 100.0 * ratio * chance.lognormvariate(0, 0.03))
    return watch


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.1, "B slower"), (0.9, "B faster"), (1.0, "same"), (1.02, "")]
)
def test_latency(ratio: float, verdict: str) -> None:
    state = watched(ratio).state()
    assert state.latency == verdict
    assert state.median_ratio == pytest.approx(ratio, rel=0.01)


def test_accuracy_looks_at_the_items_that_one_alone_gets_right() -> None:
    watch = Watch()
    for number in range(100):
        watch.answered(True, number % 5 != 0, number % 5 == 0)
    state = watch.state()
    assert (state.right_a, state.right_b, state.only_a, state.only_b) == (100, 80, 20, 0)
    assert state.accuracy == "B less right"
    assert state.accuracy_p == pytest.approx(21 / 2**20)
    unlabelled = Watch()
    unlabelled.answered(None, None, True)
    assert (unlabelled.state().labelled, unlabelled.state().differing) == (0, 1)
