"""Which place is best for a model, from what was measured: pure, over any number of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from statistics import median

from bus.messages import LEVELS, Message, RunMeasured

MODEL = LEVELS.index("model")


NEVER = float("inf")
HOUR_NS = 3.6e12


def speed(time_ns: float | None) -> float:
    """By what the faster of two is told, the least first; what nobody measured comes last."""
    return NEVER if time_ns is None else float(time_ns)


def by_speed(measured: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """(place, time) pairs, the fastest first; those alike by name, so that an answer is one."""
    return sorted(((place, speed(time)) for place, time in measured.items()), key=_time_and_name)


def _time_and_name(pair: tuple[str, float]) -> tuple[float, str]:
    return pair[1], pair[0]


def price_per_hour(labels: Mapping[str, str]) -> float | None:
    """What an hour of a node costs, by its label `price`; None where it has none that is one."""
    try:
        price = float(labels["price"])
    except (KeyError, ValueError):
        return None
    return max(0.0, price) if isfinite(price) else None


def cost_per_1000(price: float, ns_per_input: float) -> float:
    """What 1,000 inputs cost on a node that does nothing else meanwhile."""
    return price * 1000 * ns_per_input / HOUR_NS


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
