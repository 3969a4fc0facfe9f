"""When each query of a run is issued: pure functions of (queries, seed).

A plan holds one number a query: the earliest nanosecond, counted from the run's first issue, at
which it may be issued. 0 waits for nothing but the completion of the query before it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from .errors import unknown


def online(queries: int, seed: int) -> array[int]:
    """One query at a time, the next on the completion of the last: leaves nothing to chance."""
    return array("q", bytes(8 * queries))


SCENARIOS: dict[str, Callable[[int, int], array[int]]] = {"online": online}


def plan(scenario: str, queries: int, seed: int) -> array[int]:
    """The due times of a scenario's queries; the same arguments always give the same plan."""
    if scenario not in SCENARIOS:
        raise unknown("scenario", scenario, SCENARIOS)
    return SCENARIOS[scenario](queries, seed)
