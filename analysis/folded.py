"""A timeline as folded stacks: what flame graphs are drawn from, one stack and its time a line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.recording import Recording
from collector.timeline import Timeline

NOBODY = -1
PIECE = 2000
_HARMLESS = str.maketrans({";": ":", "\n": " ", "\r": " "})


def folded(recording: Recording) -> Iterator[bytes]:
    """`frame;frame;frame µs`: self time in whole microseconds along the chain of parents.

    The first frame is the model, the second the run; a chain ends where its run does, so the
    lines of a run add up to the time of the spans that it begins with. What goes on beside its
    parent (other threads, a GPU) counts with all of its own time. Rounding loses no microsecond.
    """
    timeline, model = recording.timeline, _frame(recording.model or "model")
    parents = parent_rows(timeline)
    stacks = _stacks(timeline, parents, model)
    self_ns = self_times(timeline, parents)
    totals: dict[int, int] = {}
    for stack, time_ns in zip(stacks.of_row, self_ns, strict=True):
        totals[stack] = totals.get(stack, 0) + time_ns
    lines, shown_us, sum_ns = [], 0, 0
    for stack, time_ns in totals.items():
        sum_ns += time_ns
        time_us = (sum_ns + 500) // 1000 - shown_us
        shown_us += time_us
        if time_us:
            lines.append(f"{stacks.text(stack)} {time_us}\n")
        if len(lines) == PIECE:
            yield "".join(lines).encode()
            lines = []
    if lines:
        yield "".join(lines).encode()


def parent_rows(timeline: Timeline) -> list[int]:
    """For each span the row of its parent; -1 where it has none here."""
    if not len(timeline):
        return []
    order = np.argsort(timeline.span_id, kind="stable")
    at = np.searchsorted(timeline.span_id, timeline.parent_id, sorter=order)
    candidate = order[np.minimum(at, len(order) - 1)]
    there = (timeline.span_id[candidate] == timeline.parent_id) & (timeline.parent_id != 0)
    rows: list[int] = np.where(there, candidate, NOBODY).tolist()
    return rows


def self_times(timeline: Timeline, parents: list[int]) -> list[int]:
    """For each span its time in ns that none of its children covers."""
    starts, durations = timeline.start_ns.tolist(), timeline.duration_ns.tolist()
    covered = list(starts)
    own: list[int] = list(durations)
    # Earliest first, so what the children of one parent cover grows to the right.
    for start, duration, parent in zip(starts, durations, parents, strict=True):
        if parent == NOBODY:
            continue
        begin = max(start, covered[parent])
        end = min(start + duration, starts[parent] + durations[parent])
        if end > begin:
            own[parent] -= end - begin
            covered[parent] = end
    return own


class _Stacks:
    """Every distinct chain of names, kept as one link each: (the chain above, the last name)."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self._links: list[tuple[int, str]] = []
        self.of_row: list[int] = []

    def number(self, above: int, name: str) -> int:
        """The number of a chain, which may be new."""
        link = (above, name)
        if link not in self._numbers:
            self._numbers[link] = len(self._links)
            self._links.append(link)
        return self._numbers[link]

    def text(self, number: int) -> str:
        """A chain from its root on."""
        frames = []
        while number != NOBODY:
            number, name = self._links[number]
            frames.append(name)
        return ";".join(reversed(frames))


def _stacks(timeline: Timeline, parents: list[int], model: str) -> _Stacks:
    """The stack of each span; a parent in another run is not on it."""
    stacks, names = _Stacks(), [_frame(name) for name in timeline.names]
    runs, name_of = timeline.run.tolist(), timeline.name_index.tolist()
    root = stacks.number(NOBODY, model)
    stacks.of_row = found = [NOBODY] * len(parents)
    for row in range(len(parents)):
        waiting, at = [], row
        while at != NOBODY and found[at] == NOBODY:
            waiting.append(at)
            parent = parents[at]
            at = parent if parent != NOBODY and runs[parent] == runs[at] else NOBODY
        if at != NOBODY:
            above = found[at]
        else:
            run = runs[waiting[-1]]
            above = stacks.number(root, f"run {run}") if run >= 0 else root
        for one in reversed(waiting):
            above = found[one] = stacks.number(above, names[name_of[one]])
    return stacks


def _frame(name: str) -> str:
    return name.translate(_HARMLESS).strip() or "(no name)"
