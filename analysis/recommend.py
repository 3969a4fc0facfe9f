"""Which place is best for a model, from what was measured: pure, over any number of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from bus.messages import LEVELS, Message, RunMeasured

MODEL = LEVELS.index("model")


def by_speed(measured: Mapping[str, float]) -> list[tuple[str, float]]:
    """(place, time) pairs, the fastest first; those alike by name, so that an answer is one."""
    return sorted(measured.items(), key=lambda pair: (pair[1], pair[0]))


def typical(times: Iterable[float], otherwise: float) -> float:
    """What to expect of a place that nobody has measured: the median of those that were."""
    known = list(times)
    return median(known) if known else otherwise


def ns_per_input(facts: Iterable[Message]) -> dict[str, float]:
    """Of each node in some facts: the median predict call at its smallest batch, an input.

    Only of runs that were looked at no deeper than the model: a profile slows what it looks at.
    """
    calls: dict[str, dict[int, list[int]]] = {}
    for fact in facts:
        if not isinstance(fact, RunMeasured) or LEVELS.index(fact.level) > MODEL:
            continue
        if fact.durations_ns and fact.batch_size > 0:
            sizes = calls.setdefault(fact.node_id, {})
            sizes.setdefault(fact.batch_size, []).extend(fact.durations_ns)
    return {node: median(sizes[least := min(sizes)]) / least for node, sizes in calls.items()}
