"""Where a viewer draws each span: its process, and a lane of its thread on which spans nest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collector.timeline import Timeline


def lanes(timeline: Timeline) -> list[int]:
    """For each span the first lane of its thread in which it nests: 0 unless some overlap.

    Spans come earliest first, and of those that start together the longest first.
    """
    processes = processes_of(timeline.sources)
    of_source = np.array([processes.index(name) for name in processes] or [0])
    groups = of_source[timeline.source_index].tolist() if len(timeline) else []
    open_ends: dict[tuple[int, int], list[list[int]]] = {}
    found = []
    starts, durations = timeline.start_ns.tolist(), timeline.duration_ns.tolist()
    for group, thread, start, duration in zip(
        groups, timeline.thread.tolist(), starts, durations, strict=True
    ):
        stacks = open_ends.setdefault((group, thread), [[]])
        end = start + duration
        found.append(_nest(stacks, start, end))
    return found


def _nest(stacks: list[list[int]], start: int, end: int) -> int:
    """Put a span on the first lane where it fits; each lane is a stack of open spans' ends."""
    for lane, stack in enumerate(stacks):
        while stack and stack[-1] <= start:
            stack.pop()
        if not stack or end <= stack[-1]:
            stack.append(end)
            return lane
    stacks.append([end])
    return len(stacks) - 1


def launched_by(timeline: Timeline) -> dict[int, list[int]]:
    """The rows of asynchronous work, by the row of the call that launched it.

    Of the spans of one machine with one correlation id the launch is the first on a host's thread:
    a device's clock may be microseconds ahead.
    """
    rows = np.flatnonzero(timeline.correlation_id).tolist()
    machines = [source.rsplit("/", 2)[0] for source in timeline.sources]
    by_id: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        machine = machines[timeline.source_index[row]]
        by_id.setdefault((machine, int(timeline.correlation_id[row])), []).append(row)
    found = {}
    for together in by_id.values():
        launch = min(together, key=lambda row: (timeline.thread[row] <= 0, row))
        if work := [row for row in together if row != launch]:
            found[launch] = work
    return found


def processes_of(sources: Sequence[str]) -> list[str]:
    """What to call each source's process: `node-1 worker`, `client` …"""
    named = []
    for source in sources:
        machine, role, _ = source.rsplit("/", 2)
        named.append(machine if machine == role else f"{machine} {role}")
    return named


def thread_label(thread: int, lane: int) -> str:
    """What to call a lane: `thread 71`, `thread 71 (2)`; below zero are a device's queues."""
    label = f"thread {thread}" if thread else "thread unknown"
    label = f"device queue {-thread}" if thread < 0 else label
    return f"{label} ({lane + 1})" if lane else label
