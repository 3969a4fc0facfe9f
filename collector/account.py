"""What a timeline should hold and does: spans and batches, emitted, stored, dropped, missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bus.messages import LEVELS, JobFinished, SpansRecorded
from collector.rows import Columns

Levels = dict[str, int]
UNKNOWN = "unknown"
"""The level of lost spans of which nobody said it."""


class Account:
    """Counts batches against what the finished jobs said that they sent.

    Client and coordinator announce no counts: what they sent is what has come.
    """

    def __init__(self, finished: Iterable[JobFinished]) -> None:
        self._finished = list(finished)
        self.evaluation_id = self._finished[0].evaluation_id if self._finished else ""
        self._announcing = {(j.job_id, source) for j in self._finished for source in j.span_batches}
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._unannounced: Counter[str] = Counter()
        self._lost = sum(job.lost_spans for job in self._finished)
        self._dropped: dict[str, Counter[str]] = defaultdict(Counter)
        for job in self._finished:
            self._told_dropped(job.dropped, job.lost_spans)
        self._unreadable = 0
        self._repairs: Counter[str] = Counter()

    def heard(self, batch: SpansRecorded) -> None:
        """A batch that could be read."""
        self.evaluation_id = self.evaluation_id or batch.evaluation_id
        if self._announced(batch):
            self._arrived[batch.job_id, batch.source] += 1
        else:
            self._unannounced.update({k: n for k, n in batch.levels.items() if k in LEVELS})
            self._lost += batch.lost
            self._told_dropped({batch.source: batch.dropped}, batch.lost)

    def unreadable(self, batch: SpansRecorded) -> None:
        """A batch whose block is damaged: it has arrived, and its spans are not there."""
        self.evaluation_id = self.evaluation_id or batch.evaluation_id
        self._unreadable += 1
        if self._announced(batch):
            self._arrived[batch.job_id, batch.source] += 1

    def repaired(self, repairs: Counter[str]) -> None:
        """What clean.py had to mend."""
        self._repairs += repairs

    def closed(self, columns: Columns, sources: Sequence[str]) -> dict[str, Any]:
        """The account as a Timeline's fields, once the columns hold all that there is."""
        here = _by_role(columns, sources)
        stored = sum(here.values(), Counter[str]())
        emitted = self._emitted()
        dropped = self._all_dropped(here)
        missing = self._missing(emitted, stored, dropped)
        return {
            "evaluation_id": self.evaluation_id,
            "emitted": emitted,
            "stored": _in_order(stored),
            "dropped": dropped,
            "lost": self._lost,
            "complete": not missing,
            "missing": missing,
            "repaired": self._repairs.total(),
        }

    def _announced(self, batch: SpansRecorded) -> bool:
        return (batch.job_id, batch.source) in self._announcing

    def _told_dropped(self, dropped: Mapping[str, Levels], lost: int) -> None:
        """Lost spans by source and level; those of which neither is said are counted too."""
        said = 0
        for source, levels in dropped.items():
            known = Counter({k: n for k, n in levels.items() if k in LEVELS and n > 0})
            self._dropped[source] += known
            said += known.total()
        if lost > said:
            self._dropped[next(iter(dropped), UNKNOWN)][UNKNOWN] += lost - said

    def _emitted(self) -> Levels:
        total = Counter(self._unannounced)
        for job in self._finished:
            total.update({k: n for k, n in job.spans.items() if k in LEVELS})
        return _in_order(total)

    def _all_dropped(self, here: Mapping[str, Counter[str]]) -> dict[str, Levels]:
        """What was lost where it was made, and what was sent from there and is not here."""
        total = {source: Counter(levels) for source, levels in self._dropped.items()}
        sent: dict[str, Counter[str]] = defaultdict(Counter)
        for job in self._finished:
            for source, levels in job.emitted.items():
                sent[source].update({k: n for k, n in levels.items() if k in LEVELS})
        for source, levels in sent.items():
            # A span that was given up after it was counted as emitted is not counted twice.
            short = levels - here.get(source, Counter[str]())
            total[source] = total.get(source, Counter[str]()) | short
        return {source: _in_order(levels) for source, levels in sorted(total.items()) if +levels}

    def _missing(
        self, emitted: Levels, stored: Mapping[str, int], dropped: Mapping[str, Levels]
    ) -> str:
        faults = []
        for job in self._finished:
            for source, sent in sorted(job.span_batches.items()):
                here = self._arrived[job.job_id, source]
                if here < sent:
                    faults.append(f"{sent - here} of {sent} batches of {source} on {job.node_id}")
        if self._unreadable:
            faults.append(f"{self._unreadable} unreadable batches")
        for source, levels in dropped.items():
            faults += [f"{n} spans of level {name} from {source}" for name, n in levels.items()]
        if not dropped:
            short = {k: n - stored.get(k, 0) for k, n in emitted.items() if n > stored.get(k, 0)}
            faults += [f"{n} spans of level {name}" for name, n in short.items()]
        return ", ".join(faults)


def _by_role(columns: Columns, sources: Sequence[str]) -> dict[str, Counter[str]]:
    """How many spans are here, by role (worker, node, client …) and level."""
    wide = len(LEVELS)
    counts = np.zeros(len(sources) * wide, np.int64)
    for first in range(0, len(columns), 65_536):  # in pieces: no column as wide as the timeline
        piece = slice(first, first + 65_536)
        key = columns.source[piece].astype(np.int64) * wide + columns.level[piece]
        counts += np.bincount(key, minlength=len(counts))
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for index, count in enumerate(counts.tolist()):
        if count:
            found[sources[index // wide].rsplit("/", 2)[1]][LEVELS[index % wide]] += count
    return found


def _in_order(levels: Mapping[str, int]) -> Levels:
    return {name: levels[name] for name in (*LEVELS, UNKNOWN) if levels.get(name, 0) > 0}
