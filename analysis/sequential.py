"""When to stop comparing two models on a stream of inputs, without deceiving oneself by looking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

ALPHA = 0.05
"""How often, at most, a verdict may be wrong, however often one looks."""


@dataclass
class Tosses:
    """Of pairs that differ, how often the one side came first; p_value holds at every moment.

    The mixture sequential probability ratio test: the likelihood of the tosses, averaged over all
    coins (a uniform prior), over that of a fair one: B(heads + 1, tails + 1) 2^n. If the coin is
    fair, that this ever exceeds 1 / α has a probability of at most α (Ville, 1939; Robbins, Annals
    of Mathematical Statistics 41, 1970; Johari et al., Peeking at A/B Tests, KDD 2017).
    """

    heads: int = 0
    tails: int = 0
    p_value: float = 1.0

    def add(self, heads: bool) -> None:
        """One more toss."""
        self.heads += heads
        self.tails += not heads
        self.p_value = min(self.p_value, math.exp(min(0.0, -self.log_odds())))

    def log_odds(self) -> float:
        """The evidence so far against a fair coin."""
        return mixture_log_odds(self.heads, self.tails)

    def verdict(self, alpha: float = ALPHA) -> str:
        """heads or tails where the coin is surely unfair; else nothing."""
        if self.p_value > alpha:
            return ""
        return "heads" if self.heads > self.tails else "tails"


def mixture_log_odds(heads: int, tails: int) -> float:
    """The logarithm of the likelihood averaged over all coins, over that of the fair one."""
    beta = math.lgamma(heads + 1) + math.lgamma(tails + 1) - math.lgamma(heads + tails + 2)
    return beta + (heads + tails) * math.log(2)


class SequentialState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known so far. pairs: inputs that both answered; p_value holds whenever one looks.

    accuracy: B more right, B less right, or empty: not decided. latency: B faster, B slower, same
    (within the tolerance), or empty. median_ratio: of the pairs, B over A.
    """

    pairs: int
    right_a: int
    right_b: int
    only_a: int
    only_b: int
    labelled: int
    differing: int
    accuracy: str = ""
    accuracy_p: float = 1.0
    latency: str = ""
    latency_p: float = 1.0
    median_ratio: float | None = None
    timed: int = 0
    """How many ratios of times the verdict on latency rests on."""
    alpha: float = ALPHA
    tolerance: float = 0.0


class Watch:
    """Two models' answers and times as they come in pairs; asked after each, or after many.

    Accuracy: of the items that one alone gets right, whose are they? (McNemar's pairs, one by one.)
    Latency: is a pair's ratio above 1 + tolerance, above 1 / (1 + tolerance)? Two coins that
    together say slower, faster or same, each at half of alpha: a statement about the median of the
    ratios, whatever their distribution.
    """

    def __init__(self, tolerance: float = 0.02, alpha: float = ALPHA) -> None:
        self.tolerance, self.alpha = tolerance, alpha
        self._right, self._above, self._below = Tosses(), Tosses(), Tosses()
        self._counts = {"pairs": 0, "right_a": 0, "right_b": 0, "labelled": 0, "differing": 0}
        self._ratios: list[float] = []

    def answered(self, a: bool | None, b: bool | None, differing: bool) -> None:
        """Whether A and B were right about an input (None: it has no label), and said the same."""
        self._counts["pairs"] += 1
        self._counts["differing"] += differing
        if a is None or b is None:
            return
        self._counts["labelled"] += 1
        self._counts["right_a"] += a
        self._counts["right_b"] += b
        if a != b:
            self._right.add(b)

    def took(self, a_ns: float, b_ns: float) -> None:
        """How long A and B took for the same input."""
        ratio = b_ns / a_ns
        self._ratios.append(ratio)
        for coin, limit in ((self._above, 1 + self.tolerance), (self._below, self._least)):
            if ratio != limit:
                coin.add(ratio > limit)

    @property
    def _least(self) -> float:
        return 1 / (1 + self.tolerance)

    def state(self) -> SequentialState:
        """What may be said now."""
        accuracy = {"heads": "B more right", "tails": "B less right"}
        return SequentialState(
            **self._counts,
            only_a=self._right.tails,
            only_b=self._right.heads,
            accuracy=accuracy.get(self._right.verdict(self.alpha), ""),
            accuracy_p=self._right.p_value,
            latency=self._latency(),
            latency_p=min(1.0, 2 * min(self._above.p_value, self._below.p_value)),
            median_ratio=_median(self._ratios),
            timed=len(self._ratios),
            alpha=self.alpha,
            tolerance=self.tolerance,
        )

    def _latency(self) -> str:
        above, below = (coin.verdict(self.alpha / 2) for coin in (self._above, self._below))
        if above == "heads":
            return "B slower"
        if below == "tails":
            return "B faster"
        return "same" if above == "tails" and below == "heads" else ""


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[(len(values) - 1) // 2] if values else None
