"""How far off a figure might be had we measured again: the bootstrap, in blocks if need be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
CONFIDENCE = 0.95
DRAWS = 1_000
FEWEST = 6
"""Below so many values no interval is given."""
FEWEST_NEIGHBOURS = 20
"""Below so many values nothing is said of how neighbours depend on each other."""
SHORT_BLOCKS = 1
MANY = 2_000


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A value and where 95 % of the resampled ones lie."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high


def ranks(values: Values) -> Values:
    """1 for the smallest … n; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)


def autocorrelation(values: Sequence[float] | Values) -> float:
    """How alike a value is to the one before it: the lag-1 correlation of the ranks, -1 to 1.

    Of ranks, so that a single slow query does not hide the others (Bartels, The Rank Version of
    von Neumann's Ratio Test for Randomness, JASA 77, 1982). 0 where all values are equal.
    """
    order = ranks(np.asarray(values, np.float64))
    order -= order.mean()
    spread = float(order @ order)
    return float(order[1:] @ order[:-1]) / spread if spread else 0.0


def is_correlated(values: Sequence[float] | Values) -> bool:
    """Whether neighbours are more alike than chance makes them: beyond Bartlett's 1.96 / √n."""
    n = len(values)
    return n >= FEWEST_NEIGHBOURS and autocorrelation(values) > 1.96 / math.sqrt(n)


def block_length(values: Sequence[float] | Values) -> int:
    """How many neighbours are drawn together: 1 where they do not depend on each other.

    (√6 ρ / (1 - ρ²))^⅔ n^⅓, the best length for a first-order autoregression with the lag-1
    correlation ρ (Carlstein, The Use of Subseries Values …, Annals of Statistics 14, 1986); at
    most a quarter of the series.
    """
    n = len(values)
    if not is_correlated(values):
        return SHORT_BLOCKS
    rho = min(autocorrelation(values), 0.99)
    length = (math.sqrt(6) * rho / (1 - rho * rho)) ** (2 / 3) * n ** (1 / 3)
    return int(min(max(2, math.ceil(length)), max(2, n // 4)))


def drawn_medians(values: Sequence[float] | Values, draws: int = DRAWS, seed: int = 0) -> Values:
    """The medians (nearest rank) of resampled series."""
    return drawn_quantiles(values, 0.5, draws, seed)


def drawn_quantiles(
    values: Sequence[float] | Values, part: float, draws: int = DRAWS, seed: int = 0
) -> Values:
    """A quantile (nearest rank) of each resampled series; in blocks where neighbours are alike.

    Of independent values the k-th of n drawn ones is the ⌈nU⌉-th of the sorted, with U from the
    Beta(k, n + 1 - k) distribution: exactly what drawing them all would give (Efron, Bootstrap
    Methods, Annals of Statistics 7, 1979), without drawing them. In blocks: by how much the share
    of values up to the quantile differs in a resampled series, so far the other way its quantile
    lies among the sorted values (Sun and Lahiri, Bootstrapping the Sample Quantile of a Weakly
    Dependent Sequence, Sankhyā 68, 2006).
    """
    found, n = np.asarray(values, np.float64), len(values)
    rng, length, ordered = np.random.default_rng(seed), block_length(found), np.sort(found)
    rank = max(math.ceil(n * part), 1)
    if length == SHORT_BLOCKS:
        shares = rng.beta(rank, n + 1 - rank, draws)
    else:
        below = (found <= ordered[rank - 1]).astype(np.float64)
        shares = 2 * below.mean() - _block_means(below, length, draws, rng)
    places = np.ceil(shares * n).astype(np.intp) - 1
    return np.asarray(ordered[np.clip(places, 0, n - 1)])


def drawn_means(values: Sequence[float] | Values, draws: int = DRAWS, seed: int = 0) -> Values:
    """The means of resampled series; in blocks where neighbours are alike.

    Of more than 2,000 independent values they are drawn from the normal distribution that they
    have by then.
    """
    found, n = np.asarray(values, np.float64), len(values)
    rng, length = np.random.default_rng(seed), block_length(found)
    if length == SHORT_BLOCKS and n > MANY:
        return rng.normal(found.mean(), found.std(ddof=1) / math.sqrt(n), draws)
    return _block_means(found, length, draws, rng)


def _block_means(values: Values, length: int, draws: int, rng: np.random.Generator) -> Values:
    """Means of series made of random blocks, the end of the series joined to its beginning.

    The circular block bootstrap (Politis and Romano, 1992); a block's sum is the difference of two
    running sums, so that a series costs as much as it has blocks.
    """
    n = len(values)
    blocks = -(-n // length)
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
    sums = running[length : length + n] - running[:n]
    return np.asarray(sums[rng.integers(0, n, (draws, blocks))].sum(axis=1) / (blocks * length))


def interval(value: float, drawn: Values, confidence: float = CONFIDENCE) -> Interval:
    """The percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))
