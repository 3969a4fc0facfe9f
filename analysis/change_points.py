"""Where a series of figures changed for good: what is the same since then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 199
SIGNIFICANCE = 0.05
LEAST = 3
"""A stretch has at least so many values: fewer are outliers, and not a change."""
Values = NDArray[np.float64]


def change_points(values: Sequence[float], significance: float = SIGNIFICANCE) -> list[int]:
    """The positions at which a new stretch begins, in order; none where nothing changed.

    E-divisive (Matteson and James, A Nonparametric Approach for Multiple Change Point Analysis of
    Multivariate Data, JASA 109, 2014) with exponent 1 and single splits of each stretch: cut where
    the two sides' energy distance is largest, if a larger one comes up in fewer than `significance`
    of 199 permutations of the stretch, and go on in both parts. Seeded: the same series has the
    same changes.
    """
    found = np.asarray(values, np.float64)
    points: list[int] = []
    rng = np.random.default_rng(0)
    waiting = [(0, len(found))]
    while waiting:
        first, last = waiting.pop()
        distances = np.abs(found[first:last, None] - found[None, first:last])
        cut, strength = _best_cut(distances)
        if not cut or not _is_significant(distances, strength, significance, rng):
            continue
        points.append(first + cut)
        waiting += [(first, first + cut), (first + cut, last)]
    return sorted(points)


def _best_cut(distances: Values) -> tuple[int, float]:
    """Where the sides differ most, and by how much; (0, 0) where the stretch is too short."""
    n = len(distances)
    cuts = np.arange(LEAST, n - LEAST + 1)
    if not len(cuts):
        return 0, 0.0
    sums = np.pad(distances.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    left = sums[cuts, cuts]
    right = sums[n, n] - sums[cuts, n] - sums[n, cuts] + left
    between = sums[cuts, n] - left
    m, k = cuts, n - cuts
    # Each pair counts twice in `left` and `right`, as the means of all pairs want it.
    energy = 2 * between / (m * k) - left / (m * (m - 1)) - right / (k * (k - 1))
    strengths = m * k / n * energy
    best = int(np.argmax(strengths))
    return int(cuts[best]), float(strengths[best])


def _is_significant(
    distances: Values, strength: float, significance: float, rng: np.random.Generator
) -> bool:
    """Whether chance alone makes so strong a cut rarely: (more + 1) / (permutations + 1)."""
    more, most = 0, significance * (PERMUTATIONS + 1) - 1
    for _ in range(PERMUTATIONS):
        order = rng.permutation(len(distances))
        more += _best_cut(distances[np.ix_(order, order)])[1] >= strength
        if more > most:
            return False
    return True
