"""The queries of a run under a load: when each was due, issued and done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bus.messages import Level, Probe, RunMeasured

DUE = ("server", "burst", "replay")
COLD = "cold_start"
OFFLINE = "offline"


@dataclass(frozen=True, kw_only=True)
class Queries:
    """A whole run: one entry a query in each array, in ns from the run's beginning.

    fed: which batch of inputs each call got. parts_ns: of a cold start. See RunMeasured.
    """

    job_id: str
    node_id: str
    run: int
    batch_size: int
    level: Level
    scenario: str
    start_ns: int
    samples_per_query: int
    calls_per_query: int
    issued_ns: np.ndarray
    done_ns: np.ndarray
    due_ns: np.ndarray | None
    calls_ns: np.ndarray
    """When each call was done."""
    fed: Sequence[int]
    ended: str
    warming: int
    effective: dict[str, Any]
    parts_ns: dict[str, list[int]]
    probes: Sequence[Probe]

    @property
    def count(self) -> int:
        return len(self.done_ns)

    @property
    def samples(self) -> int:
        """How many inputs were predicted."""
        return self.count * self.samples_per_query

    @property
    def once(self) -> bool:
        """Whether each sample was issued once, for its answer."""
        return str(self.effective.get("samples", "")).startswith("each once")

    @property
    def latencies_ns(self) -> np.ndarray:
        """Of each query, as its scenario means it; of offline, of each sample's call."""
        if self.scenario == COLD:
            return np.asarray([*self.parts_ns.values()], np.int64).sum(axis=0)
        if self.scenario == OFFLINE:
            return self.calls_ns
        if self.due_ns is not None:
            return np.asarray(self.done_ns - self.due_ns)
        return np.asarray(self.done_ns - self.issued_ns)


def latencies_of(parts: Sequence[RunMeasured]) -> list[int]:
    """The latency of one run, query by query: the one that two runs are compared by. In ns.

    As the run's scenario means it: of server, burst and replay from the scheduled instant on, of
    cold_start with all its steps. Of offline each call's own time: its queries come all at once,
    and how long they wait says only how many there are.
    """
    (whole,) = queries_of(parts)
    if whole.scenario == OFFLINE:
        return [ns for part in parts for ns in part.durations_ns]
    found: list[int] = whole.latencies_ns.tolist()
    return found


def queries_of(facts: Sequence[RunMeasured]) -> list[Queries]:
    """Each run whole, in the order of jobs and runs; a query that is not whole is left out."""
    parts: dict[tuple[str, int], list[RunMeasured]] = {}
    for part in facts:
        parts.setdefault((part.job_id, part.run), []).append(part)
    return [_whole(sorted(parts[key], key=lambda p: p.first_query)) for key in sorted(parts)]


def _whole(parts: Sequence[RunMeasured]) -> Queries:
    first, each = parts[0], parts[0].calls_per_query
    starts = np.concatenate([np.asarray(p.starts_ns, np.int64) for p in parts])
    # Only of a cold start has each part a beginning of its own.
    offsets = [np.full(len(p.starts_ns), p.start_ns - first.start_ns) for p in parts]
    starts = starts + np.concatenate(offsets).astype(np.int64)
    took = np.concatenate([np.asarray(p.durations_ns, np.int64) for p in parts])
    due = np.concatenate([np.asarray(p.scheduled_ns, np.int64) for p in parts])
    whole = len(starts) // each * each
    ends = (starts + took)[:whole]
    cold: dict[str, list[int]] = {}
    for part in parts:
        for name, took_ns in part.parts_ns.items():
            cold.setdefault(name, []).extend(took_ns)
    return Queries(
        job_id=first.job_id,
        node_id=first.node_id,
        run=first.run,
        batch_size=first.batch_size,
        level=first.level,
        scenario=first.scenario,
        start_ns=first.start_ns,
        samples_per_query=first.samples_per_query or first.batch_size,
        calls_per_query=each,
        issued_ns=starts[:whole:each],
        done_ns=ends[each - 1 :: each],
        due_ns=due[:whole:each] if len(due) else None,
        calls_ns=ends,
        fed=[index for part in parts for index in part.samples],
        ended=parts[-1].ended,
        warming=first.warming,
        effective=next((p.effective for p in parts if p.effective), {}),
        parts_ns=cold,
        probes=[probe for part in parts for probe in part.probes],
    )
