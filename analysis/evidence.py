"""Evidence: one job's spans by layer, kernel and query, each from the shallowest run that has it.

Leveled experimentation (XSP, arXiv 1908.06869): a deeper level slows the ones above it, so layers
are taken from the first run with layers, kernels from the first with kernels, counters from the
run that counted. Times are trimmed means over a run's queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from analysis.latency import MeasuredRun, best_batch, latency, measured_runs, trimmed_mean
from analysis.reconciliation import parents_of
from bus.messages import (
    LEVELS,
    Ceiling,
    EvaluationFinished,
    GraphDescribed,
    JobStarted,
    LayerDescribed,
    Message,
    ModelOpened,
    NodeAnnounced,
    Run,
    RunMeasured,
)
from collector.timeline import Timeline

M = TypeVar("M", bound=Message)
MODEL, FRAMEWORK, LIBRARY = (LEVELS.index(level) for level in ("model", "framework", "library"))
HARDWARE = LEVELS.index("hardware")

Rows = NDArray[np.intp]
Times = NDArray[np.float64]


class Evidence:
    """What the analyses look at. job_id: the first job's, unless given.

    ceilings: of the job's machine, where its own record holds none.
    """

    def __init__(
        self,
        facts: Sequence[Message],
        timeline: Timeline | None,
        *,
        job_id: str = "",
        ceilings: Sequence[Ceiling] = (),
    ) -> None:
        started = _all(facts, JobStarted)
        chosen = [fact for fact in started if not job_id or fact.job_id == job_id][:1]
        self.started = chosen[0] if chosen else None
        own = chosen[0].job_id if chosen else job_id
        self.measured = measured_runs([f for f in _all(facts, RunMeasured) if f.job_id == own])
        self.latency = [row for row in latency(_all(facts, RunMeasured)) if row.job_id == own]
        self.best = best_batch(self.latency)
        graphs = [fact for fact in _all(facts, GraphDescribed) if fact.job_id == own]
        self.graph = graphs[0] if graphs else None
        opened = [fact for fact in _all(facts, ModelOpened) if fact.job_id == own]
        self.settings = opened[0].settings if opened else {}
        self.finished = bool(_all(facts, EvaluationFinished))
        self.tables: dict[int, Any] = {}
        """What layer_table found, by batch size: several analyses ask for the same."""
        self._timeline = timeline
        self._ceilings = list(ceilings)

    @property
    def evaluation_id(self) -> str:
        """Whose evidence this is."""
        return self.started.evaluation_id if self.started else ""

    @property
    def node(self) -> NodeAnnounced | None:
        """The machine, as it was when the job began."""
        return self.started.node if self.started else None

    @property
    def imported(self) -> bool:
        """Whether this was recorded elsewhere."""
        return bool(self.started and self.started.recording)

    @property
    def framework(self) -> str:
        """What ran the model."""
        return self.started.framework if self.started else ""

    @property
    def ceilings(self) -> list[Ceiling]:
        """What the machine can do at most: as the record says, else as is known by now."""
        recorded = list(self.node.ceilings) if self.node else []
        return recorded or self._ceilings

    @property
    def threads(self) -> int:
        """The framework's threads within one operator; 0: not told."""
        for name in ("intra_op_threads", "threads"):
            if isinstance(value := self.settings.get(name), int):
                return value
        return 0

    @property
    def batch_sizes(self) -> list[int]:
        """Every batch size that was measured or planned, ascending."""
        planned = {run.batch_size for run in self.runs}
        return sorted(planned | {run.batch_size for run in self.measured})

    @property
    def batch_size(self) -> int:
        """The one whose layers are shown: the best, by throughput."""
        if self.best is not None:
            return self.best.batch_size
        return self.batch_sizes[0] if self.batch_sizes else 0

    @property
    def runs(self) -> list[Run]:
        """The job's runs, the shallowest first."""
        runs = self.started.runs if self.started else []
        return sorted(runs, key=lambda run: (LEVELS.index(run.level), run.index))

    @cached_property
    def described(self) -> dict[int, LayerDescribed]:
        """Each layer as its framework described it, by index."""
        return {layer.index: layer for layer in self.graph.layers} if self.graph else {}

    @cached_property
    def timeline(self) -> Timeline | None:
        """The spans of this job's node alone: runs of two jobs may have the same number."""
        found = self._timeline
        if found is None or not len(found) or self.started is None:
            return found
        node = self.started.node_id
        mine = [s.split("/", 1)[0].partition("@")[0] == node for s in found.sources]
        if all(mine):
            return found
        return found.only(np.flatnonzero(np.array(mine, bool)[found.source_index]))

    @cached_property
    def spans(self) -> Spans | None:
        """The same, with what every analysis of layers needs of them."""
        return Spans(self.timeline) if self.timeline is not None and len(self.timeline) else None

    def predict_ns(self, batch_size: int) -> float | None:
        """The trimmed mean of one predict, from the shallowest run of this batch size."""
        run = self.shallowest(batch_size)
        return trimmed_mean(sorted(run.durations_ns)) if run else None

    def shallowest(self, batch_size: int) -> MeasuredRun | None:
        """The measured run of this batch size that looking slowed least."""
        runs = [run for run in self.measured if run.batch_size == batch_size and run.durations_ns]
        return runs[0] if runs else None

    def runs_of(self, batch_size: int) -> list[int]:
        """The numbers of the runs to look for spans in, the shallowest first.

        Of a recording without calls no run is known; its spans are of run 0.
        """
        return [run.index for run in self.runs if run.batch_size == batch_size] or [0]


class Known(msgspec.Struct, gc=False):
    """Those tags that tell what a span is."""

    index: Any = -1
    kind: Any = ""
    category: Any = ""
    library: Any = ""
    implementation: Any = ""
    counters: Any = None


_decode_known = msgspec.msgpack.Decoder(Known).decode


def _known(raw: bytes) -> Known:
    try:
        return _decode_known(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Known()


@dataclass(eq=False)
class Spans:
    """The columns of a timeline with what lies above each span, computed once."""

    timeline: Timeline

    @cached_property
    def parent(self) -> Rows:
        """For each span the row of its parent, or -1."""
        return parents_of(self.timeline)

    @cached_property
    def known(self) -> list[Known]:
        """Each distinct tag map, by `tags_index`: a recording has as many as it has spans."""
        return [_known(raw) for raw in self.timeline.tags]

    def tags(self, row: int) -> dict[str, Any]:
        """All tags of one span."""
        raw = self.timeline.tags[int(self.timeline.tags_index[row])]
        try:
            found = msgspec.msgpack.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}
        return {str(key): value for key, value in found.items()} if found else {}

    def tagged(self, test: Callable[[Known], bool]) -> NDArray[np.bool_]:
        """Which spans have tags that pass."""
        passed = np.array([test(known) for known in self.known] or [False], bool)
        return passed[self.timeline.tags_index]

    @cached_property
    def number(self) -> NDArray[np.int64]:
        """For each span its layer's index, or -1: as frameworks and readers tag layers."""
        found = [known.index for known in self.known]
        whole = [n if isinstance(n, int) and not isinstance(n, bool) else -1 for n in found]
        numbers = np.array(whole or [-1], np.int64)[self.timeline.tags_index]
        return np.where(self.timeline.level == FRAMEWORK, numbers, -1)

    @cached_property
    def is_layer(self) -> NDArray[np.bool_]:
        """The numbered layers; where a run has none, its outermost framework spans."""
        level, run = self.timeline.level, self.timeline.run
        numbered = self.number >= 0
        outer = np.where(self.parent >= 0, level[self.parent], 0)
        outermost = (level == FRAMEWORK) & (outer != FRAMEWORK)
        has_numbers = np.isin(run, np.unique(run[numbered]))
        return np.where(has_numbers, numbered, outermost)

    @cached_property
    def layer(self) -> Rows:
        """For each span the row of the layer that it is or lies in, or -1."""
        return self._nearest(self.is_layer)

    @cached_property
    def call(self) -> Rows:
        """For each span the row of the predict that it is or lies in, or -1."""
        return self._nearest(self.timeline.level == MODEL)

    def _nearest(self, wanted: NDArray[np.bool_]) -> Rows:
        at = np.arange(len(self.timeline))
        for _ in range(256):  # deeper nesting than any recording has
            on = np.flatnonzero((at >= 0) & ~wanted[np.maximum(at, 0)])
            if not len(on):
                return at
            at[on] = self.parent[at[on]]
        return np.where((at >= 0) & wanted[np.maximum(at, 0)], at, -1)

    def queries(self, rows: Rows) -> tuple[NDArray[np.int64], int]:
        """For each of these spans the number of its predict, and how many predicts there are.

        Without predicts everything counts as one.
        """
        calls = self.call[rows]
        known = np.unique(calls[calls >= 0])
        if not len(known):
            return np.zeros(len(rows), np.int64), 1
        return np.where(calls >= 0, np.searchsorted(known, calls), -1), len(known)

    def in_run(self, which: NDArray[np.bool_], runs: Sequence[int]) -> Rows:
        """The rows of these spans in the first of the runs that has any."""
        for run in runs:
            rows = np.flatnonzero(which & (self.timeline.run == run))
            if len(rows):
                return rows
        return np.zeros(0, np.intp)


def per_query(ids: NDArray[np.int64], queries: NDArray[np.int64], took: Times, size: int) -> Times:
    """Sums by (id, query): a row an id; where an id did not run in a query, NaN."""
    count = int(ids.max()) + 1 if len(ids) else 0
    inside = queries >= 0
    key = ids[inside] * size + queries[inside]
    sums = np.bincount(key, took[inside], count * size).reshape(count, size)
    there = np.bincount(key, minlength=count * size).reshape(count, size)
    return np.where(there > 0, sums, np.nan)


def trimmed(times: Times) -> Times:
    """Each row's trimmed mean (latency.trimmed_mean), of the queries in which it ran."""
    count, size = times.shape
    if not count:
        return np.zeros(0)
    if not np.isnan(times).any() and size > 3:
        ordered = np.sort(times, axis=1)
        low, high = size // 5, min(size - 1, size - size // 5)
        return np.round(ordered[:, low:high].mean(axis=1), 3)
    kept = [row[~np.isnan(row)] for row in times]
    return np.array([trimmed_mean(np.sort(row).tolist()) for row in kept])


def distinct(*columns: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
    """Combinations of columns: the first row of each, and each row's number, in order of rows."""
    key = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, number = np.unique(column, return_inverse=True)
        key = key * max(1, len(values)) + number.ravel()
        _, number = np.unique(key, return_inverse=True)  # keeps the numbers small
        key = number.ravel().astype(np.int64)
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[number.ravel()]


def _all(facts: Sequence[Message], kind: type[M]) -> list[M]:
    return [fact for fact in facts if isinstance(fact, kind)]
