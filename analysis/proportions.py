"""How sure a share of right answers is, and whether two models' shares really differ."""

from __future__ import annotations

import math

import msgspec

Z = 1.959963984540054
"""The normal distribution's 97.5 % point: 95 % lie between -Z and Z."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """`right` of `of`, and the 95 % interval of the share; None where there is nothing to count."""

    right: int
    of: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


def share(right: int, of: int) -> Share:
    """A share with its Wilson score interval.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n): E. B. Wilson, Probable Inference, the Law
    of Succession, and Statistical Inference, JASA 22 (1927). Unlike p ± z √(p(1-p)/n) it never
    leaves 0–1, and it holds for few items and for shares near 0 and 1.
    """
    if of == 0:
        return Share(right=right, of=of)
    p = right / of
    middle = p + Z * Z / (2 * of)
    reach = Z * math.sqrt(p * (1 - p) / of + Z * Z / (4 * of * of))
    whole = 1 + Z * Z / of
    low = 0.0 if right == 0 else (middle - reach) / whole
    high = 1.0 if right == of else (middle + reach) / whole
    return Share(right=right, of=of, share=p, low=low, high=high)


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact p-value that two models are equally often right, of the items where one alone was.

    Under that hypothesis each such item is a coin's toss: twice the smaller tail of the binomial
    distribution with p = 1/2, at most 1 (McNemar, Psychometrika 12, 1947; its exact form).
    """
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    ways = tail = 1
    for k in range(fewer):
        ways = ways * (tosses - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**tosses) if tosses <= 1000 else _large(tail, tosses)


def _large(tail: int, tosses: int) -> float:
    """The quotient of whole numbers beyond a float's range, by its logarithm."""
    bits = max(0, tail.bit_length() - 64)
    logarithm = math.log(tail >> bits) + (bits + 1 - tosses) * math.log(2)
    return min(1.0, math.exp(logarithm))
