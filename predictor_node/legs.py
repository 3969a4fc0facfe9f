"""A job's runs, split among worker processes: some need variables set before their process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bus.messages import LEVELS, Run

COLD = "cold_start"
DEEP = LEVELS.index("framework")
"""From this level on, a profiler may need a process of its own."""


@dataclass(frozen=True)
class Leg:
    """Runs that one worker process makes, in order; no variables: the environment's own worker."""

    runs: list[Run]
    variables: dict[str, str] = field(default_factory=dict)
    sample: int = -1
    """Of a run whose every query is a new process's first: which of them."""

    @property
    def fresh(self) -> bool:
        """Whether it takes a process of its own, ended after."""
        return bool(self.variables) or self.sample >= 0


def cold_legs(runs: Sequence[Run]) -> list[Leg]:
    """One leg for each query of the runs that want a new process for each."""
    return [
        Leg([run], sample=sample)
        for run in runs
        if run.scenario == COLD
        for sample in range(run.queries)
    ]


def cold_part(leg: Leg, told: Mapping[str, Any], process_ns: int, whole_ns: int) -> dict[str, Any]:
    """What a leg's one query is among its run's, and its steps from the first.

    Before the worker's own there were the process, and what lies between them: the import of the
    framework. {} of any other leg.
    """
    if leg.sample < 0:
        return {}
    parts: dict[str, list[int]] = told.get("parts_ns", {})
    between_ns = max(0, whole_ns - process_ns - sum(ns for (ns,) in parts.values()))
    return {
        "first_query": leg.sample,
        "last": leg.sample == leg.runs[0].queries - 1,
        "parts_ns": {"process": [process_ns], "import": [between_ns], **parts},
    }


def may_split(runs: Sequence[Run]) -> bool:
    """Whether it is worth asking what the profilers of these runs need."""
    return any(LEVELS.index(run.level) >= DEEP for run in runs)


def split(runs: Sequence[Run], variables: Sequence[Mapping[str, str]]) -> list[Leg]:
    """One leg for each set of variables, in the order in which they are first needed."""
    legs: list[Leg] = []
    for run, needed in zip(runs, variables, strict=True):
        leg = next((leg for leg in legs if leg.variables == needed), None)
        if leg is None:
            legs.append(leg := Leg([], dict(needed)))
        leg.runs.append(run)
    return legs


def joined(ends: Sequence[tuple[Leg, Mapping[str, Any]]]) -> dict[str, Any]:
    """The `finished` frames of all legs as one. What a level lacks is its own leg's to say."""
    whole: dict[str, Any] = {"lost": 0, "peak_memory_bytes": 0, "drift_ns": 0, "unavailable": {}}
    for leg, said in ends:
        whole["lost"] += said["lost"]
        whole["peak_memory_bytes"] = max(whole["peak_memory_bytes"], said["peak_memory_bytes"])
        whole["drift_ns"] = max(whole["drift_ns"], said["clock"]["drift_ns"], key=abs)
        own = {run.level for run in leg.runs}
        for level, why in said["unavailable"].items():
            if level in own or level not in whole["unavailable"]:
                whole["unavailable"][level] = why
    return whole
