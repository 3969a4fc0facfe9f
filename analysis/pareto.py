"""The Pareto front: of several things, those that nothing beats in every respect at once."""

from __future__ import annotations

from collections.abc import Sequence


def beaten_by(points: Sequence[Sequence[float]]) -> list[int | None]:
    """For each point another that is as good in every respect and better in one; None: none is.

    The least is best; two that are alike do not beat each other. Of several that beat a point the
    one named is on the front itself (Pareto dominance: Kung, Luccio, Preparata, J. ACM 22, 1975).
    """
    front = [
        at for at, point in enumerate(points) if not any(_beats(other, point) for other in points)
    ]
    found: list[int | None] = []
    for at, point in enumerate(points):
        better = (other for other in front if _beats(points[other], point))
        found.append(None if at in front else next(better))
    return found


def _beats(one: Sequence[float], two: Sequence[float]) -> bool:
    pairs = list(zip(one, two, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
