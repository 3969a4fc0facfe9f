"""Local times -> the reference's: a line through each machine's measured offsets, and its error.

A machine measures its offset now and then; between two of its measurements the offset moves on a
straight line, so that a drift in a long run is followed. Both ends of a span are moved: what one
clock has nested stays nested. A clock that is nobody's offset from the reference (simulated time,
another machine's profiler) is foreign: its spans lie on a track of their own, never among others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bus.messages import Clock, SpansRecorded
from collector.clean import LATEST_NS
from collector.rows import Columns

LIMIT_NS = 2**60
"""No two clocks that mean the same epoch are further apart: 36 years."""
UTMOST_DRIFT = 1e-4
"""Seconds a second, which no working computer's clock exceeds. A measurement that is vaguer than
its neighbours' would be at that drift says nothing; beyond the last one, the error grows so."""
EPOCH = "collector@"
"""How a reference that keeps the epoch is named: see the collector's answer to ReadClock."""
Rows = NDArray[np.intp] | slice
ALL = slice(None)
MARK = "\0"
"""Between a source and the reference of its clock, until it is known which references count."""


class Sample(NamedTuple):
    """One measured offset; at_ns is local time, 0: not said."""

    at_ns: int
    offset_ns: int
    error_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """What to add to a machine's times: `offset_ns` at `at_ns`, straight between, level beyond."""

    at_ns: NDArray[np.int64]
    offset_ns: NDArray[np.int64]
    error_ns: int = -1
    """The utmost of the measurements; -1: nothing was measured."""
    edges_ns: tuple[int, int] = (0, 0)
    """The first and the last measurement's: beyond them it grows, by `drift`."""
    drift: float = 0.0

    def shift(self, local_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The offsets at these times, in whole nanoseconds."""
        # Floats hold the differences exactly enough; epoch nanoseconds they do not.
        since = (local_ns - self.at_ns[0]).astype(np.float64)
        at, moved = self.at_ns - self.at_ns[0], self.offset_ns - self.offset_ns[0]
        return np.rint(np.interp(since, at, moved)).astype(np.int64) + self.offset_ns[0]

    def error_within(self, first_ns: int, last_ns: int) -> int:
        """The utmost error between two local times; -1: not known."""
        if self.error_ns < 0 or not self.at_ns[0]:
            return self.error_ns
        beyond_ns = int(self.at_ns[0]) - first_ns, last_ns - int(self.at_ns[-1])
        grown = [
            error_ns + int(np.ceil(self.drift * max(0, more_ns)))
            for error_ns, more_ns in zip(self.edges_ns, beyond_ns, strict=True)
        ]
        return max(self.error_ns, *grown)


UNMEASURED = Line(np.zeros(1, np.int64), np.zeros(1, np.int64))


def line_through(samples: Sequence[Sample]) -> Line:
    """The line of a machine's samples; of those that do not say when, the best one alone."""
    known = sorted({s for s in samples if s.error_ns >= 0})
    timed = [s for s in known if s.at_ns]
    if not known:
        return UNMEASURED
    if not timed:
        best = min(known, key=lambda s: s.error_ns)
        return Line(np.zeros(1, np.int64), np.array([best.offset_ns]), best.error_ns)
    at, offset, error = (np.array(column, np.int64) for column in zip(*timed, strict=True))
    apart = np.abs(at[:, None] - at[None, :]) * UTMOST_DRIFT
    says = error <= (error[None, :] + apart).min(axis=1)
    says[1:] &= at[1:] != at[:-1]
    says[np.argmin(error)] = True
    at, offset, error = at[says], offset[says], error[says]
    drift = UTMOST_DRIFT
    if len(at) > 1:
        moved = abs(int(offset[-1]) - int(offset[0])) + int(error[-1]) + int(error[0])
        drift = min(drift, moved / int(at[-1] - at[0]))
    return Line(at, offset, int(error.max()), (int(error[0]), int(error[-1])), drift)


class Clocks:
    """Every machine's samples; which reference is the timeline's; who is foreign to it."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        self._measured: Counter[str] = Counter()
        self._named: Counter[str] = Counter()

    def source_of(self, batch: SpansRecorded) -> str:
        """Note the batch's clock; machine, role, run and reference as one text."""
        machine, reference = batch.node_id or batch.source, batch.clock.reference
        for clock in (*batch.clocks, batch.clock):
            if clock.error_ns >= 0:
                self._samples[machine, clock.reference].append(_sample(clock))
        self._named[reference] += 1
        self._measured[reference] += batch.clock.error_ns >= 0
        name = f"{machine}/{batch.source.replace('/', '-')}/{batch.run}"
        return f"{name}{MARK}{reference}" if reference else name

    def reference(self) -> str:
        """The clock that the timeline is on: what most batches were measured against."""
        if self._measured.total():
            return self._measured.most_common(1)[0][0]
        return "" if self._named[""] or not self._named else self._named.most_common(1)[0][0]

    def align(self, columns: Columns, marked: Sequence[str]) -> tuple[list[str], Aligned]:
        """Move the columns to the reference; the sources' names, and how far all may be trusted."""
        reference = self.reference()
        tracks = [Track(*source.partition(MARK)[::2], reference) for source in marked]
        names: dict[str, int] = {}
        number = np.array([names.setdefault(t.name, len(names)) for t in tracks], np.int32)
        errors_ns, spread = [-1] * len(tracks), dict[str, int]()
        foreign = np.array([track.foreign for track in tracks], bool)
        for line, which in self._lines(tracks):
            rows: Rows = ALL
            if len(which) < len(tracks):
                rows = np.flatnonzero(np.isin(columns.source, which))
            if tracks[which[0]].foreign or not len(columns.start_ns[rows]):
                continue
            first_ns, last_ns = _range(columns, rows)
            error_ns = line.error_within(first_ns, last_ns)
            for one in which:
                errors_ns[one] = error_ns
            spread[tracks[which[0]].machine] = error_ns
            _move(columns, rows, line)
        _set_apart(columns, foreign)
        columns.source = number[columns.source] if len(number) else columns.source
        epochs = {t.reference for t in tracks if t.reference.startswith(EPOCH)} - {reference}
        known = not epochs and all(error >= 0 for error in spread.values())
        return list(names), Aligned(
            reference=", ".join([reference, *sorted(epochs)]) if epochs else reference,
            error_ns=sum(sorted(spread.values())[-2:]) if spread and known else -1,
            errors_ns=_by_name(tracks, errors_ns, names),
        )

    def _lines(self, tracks: Sequence[Track]) -> list[tuple[Line, list[int]]]:
        """Each machine's line, and the sources that it is for."""
        of_machine: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for index, track in enumerate(tracks):
            of_machine[track.machine, track.foreign].append(index)
        found = []
        for (machine, _), which in of_machine.items():
            own = {tracks[index].reference for index in which} | {tracks[which[0]].main}
            ranked = sorted(own, key=lambda name: (name != tracks[which[0]].main, name))
            samples = next((s for n in ranked if (s := self._samples.get((machine, n)))), [])
            found.append((line_through(samples), which))
        return found


class Aligned(NamedTuple):
    """How far a timeline's times may be trusted: over all machines, and source by source."""

    reference: str
    error_ns: int
    errors_ns: list[int]


class Track(NamedTuple):
    """A source and the reference that its clock names."""

    source: str
    reference: str
    main: str

    @property
    def foreign(self) -> bool:
        """Whether nothing ties its clock to the timeline's."""
        if self.reference in ("", self.main):
            return False
        return not (self.reference.startswith(EPOCH) and self.main.startswith(EPOCH))

    @property
    def machine(self) -> str:
        """Whose clock it is."""
        return self.name.rsplit("/", 2)[0]

    @property
    def name(self) -> str:
        """The source as people see it: a foreign clock's is named after it."""
        if not self.foreign:
            return self.source
        machine, role, run = self.source.rsplit("/", 2)
        return f"{machine}@{self.reference.replace('/', '-')}/{role}/{run}"


def _sample(clock: Clock) -> Sample:
    offset_ns = min(max(clock.offset_ns, -LIMIT_NS), LIMIT_NS)
    return Sample(min(max(clock.at_ns, 0), LATEST_NS), offset_ns, min(clock.error_ns, LIMIT_NS))


def _range(columns: Columns, rows: Rows) -> tuple[int, int]:
    start_ns = columns.start_ns[rows]
    return int(start_ns.min()), int((start_ns + columns.duration_ns[rows]).max())


def _move(columns: Columns, rows: Rows, line: Line) -> None:
    if (line.offset_ns == line.offset_ns[0]).all():
        columns.start_ns[rows] += line.offset_ns[0]
        return
    start_ns = columns.start_ns[rows]
    end_ns = start_ns + columns.duration_ns[rows]
    end_ns += line.shift(end_ns)
    columns.start_ns[rows] = start_ns + line.shift(start_ns)
    columns.duration_ns[rows] = np.maximum(end_ns - columns.start_ns[rows], 0)


def _set_apart(columns: Columns, foreign: NDArray[np.bool_]) -> None:
    """Foreign tracks begin where the others do: only their distances mean anything."""
    if not foreign.any() or not len(columns):
        return
    apart = foreign[columns.source]
    begin_ns = int(columns.start_ns[~apart].min()) if not apart.all() else 0
    for index in np.flatnonzero(foreign):
        rows = np.flatnonzero(columns.source == index)
        if len(rows) and begin_ns:
            columns.start_ns[rows] += begin_ns - int(columns.start_ns[rows].min())


def _by_name(tracks: Sequence[Track], errors_ns: Sequence[int], names: dict[str, int]) -> list[int]:
    found = [-1] * len(names)
    for track, error_ns in zip(tracks, errors_ns, strict=True):
        found[names[track.name]] = max(found[names[track.name]], error_ns)
    return found
