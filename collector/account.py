"""What should be in a timeline and what is: spans and batches, emitted, stored, lost, missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bus.messages import LEVELS, Clock, JobFinished, SpansRecorded


class Account:
    """Counts batches against what the finished jobs said that they sent.

    Client and coordinator announce no counts: what they sent is what has come.
    """

    def __init__(self, finished: Iterable[JobFinished]) -> None:
        self._finished = list(finished)
        self.evaluation_id = self._finished[0].evaluation_id if self._finished else ""
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._unannounced: Counter[str] = Counter()
        self._lost = sum(job.lost_spans for job in self._finished)
        self._unreadable = 0
        self._repairs: Counter[str] = Counter()
        self._clocks: dict[str, Clock] = {}

    def heard(self, batch: SpansRecorded) -> None:
        """A batch that could be read."""
        self.evaluation_id = self.evaluation_id or batch.evaluation_id
        self._note_clock(batch)
        if self._announced(batch):
            self._arrived[batch.job_id, batch.source] += 1
        else:
            self._unannounced.update({k: n for k, n in batch.levels.items() if k in LEVELS})
            self._lost += batch.lost

    def unreadable(self, batch: SpansRecorded) -> None:
        """A batch whose block is damaged: it has arrived, and its spans are not there."""
        self.evaluation_id = self.evaluation_id or batch.evaluation_id
        self._unreadable += 1
        if self._announced(batch):
            self._arrived[batch.job_id, batch.source] += 1

    def repaired(self, repairs: Counter[str]) -> None:
        """What clean.py had to mend."""
        self._repairs += repairs

    def offset_ns(self, machine: str) -> int:
        """What to add to a machine's clock to have the reference's."""
        return self._clocks[machine].offset_ns if machine in self._clocks else 0

    def closed(self, level: NDArray[np.uint8]) -> dict[str, Any]:
        """The account as a Timeline's fields; `level` is the column of what is stored."""
        counts = np.bincount(level, minlength=len(LEVELS)).tolist()
        stored: dict[str, int] = {LEVELS[i]: n for i, n in enumerate(counts) if n}
        emitted = self._emitted()
        missing = self._missing(emitted, stored)
        return {
            "evaluation_id": self.evaluation_id,
            "emitted": emitted,
            "stored": stored,
            "lost": self._lost,
            "complete": not missing and not self._lost,
            "missing": missing,
            "reference": self._reference(),
            "error_ns": self._error_ns(),
            "repaired": self._repairs.total(),
        }

    def _announced(self, batch: SpansRecorded) -> bool:
        return any(
            job.job_id == batch.job_id and batch.source in job.span_batches
            for job in self._finished
        )

    def _emitted(self) -> dict[str, int]:
        total = Counter(self._unannounced)
        for job in self._finished:
            total.update({k: n for k, n in job.spans.items() if k in LEVELS})
        return {name: total[name] for name in LEVELS if total[name]}

    def _missing(self, emitted: dict[str, int], stored: dict[str, int]) -> str:
        faults = []
        for job in self._finished:
            for source, sent in sorted(job.span_batches.items()):
                here = self._arrived[job.job_id, source]
                if here < sent:
                    faults.append(f"{sent - here} of {sent} batches of {source} on {job.node_id}")
        if self._unreadable:
            faults.append(f"{self._unreadable} unreadable batches")
        if not faults:
            short = {k: n - stored.get(k, 0) for k, n in emitted.items() if n > stored.get(k, 0)}
            faults += [f"{n} spans of level {name}" for name, n in short.items()]
        return ", ".join(faults)

    def _note_clock(self, batch: SpansRecorded) -> None:
        machine, clock = batch.node_id or batch.source, batch.clock
        known = self._clocks.get(machine)
        if known is None or _vagueness(clock) < _vagueness(known):
            self._clocks[machine] = clock

    def _reference(self) -> str:
        names = sorted({clock.reference for clock in self._clocks.values() if clock.reference})
        return ", ".join(names)

    def _error_ns(self) -> int:
        errors = [clock.error_ns for clock in self._clocks.values()]
        return max(errors) if errors and min(errors) >= 0 else -1


def _vagueness(clock: Clock) -> tuple[bool, int]:
    return clock.error_ns < 0, clock.error_ns
