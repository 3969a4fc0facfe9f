"""What a library printed in the measured loop as spans, each inside its query."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from . import Session
from .captured import Captured
from .placing import Layer, place
from .verbose_lines import OURS, Call, read_call

NO_TIMES = (
    "oneDNN gives no times (the worker was not started with ONEDNN_VERBOSE_TIMESTAMP=1, or "
    "this version is before 2.7): its calls are placed in order"
)
OWN = "neither oneDNN nor MKL was called: these operators are the framework's own code"


Said = dict[int, list[Call]]
"""The calls of each query, in their order."""


class Marking:
    """Told of each query: the lines of one are those between two marks."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured

    def before(self, query: int) -> None:
        pass

    def after(self, query: int) -> None:
        self._captured.mark()


def ahead_ns(session: Session) -> int:
    """How far the worker's clock is ahead of the system's, by which libraries go."""
    readings = []
    for _ in range(9):
        before = session.now_ns()
        system = time.time_ns()
        after = session.now_ns()
        readings.append((after - before, (before + after) // 2 - system))
    return min(readings)[1]


def layers_of(session: Session, recorder: Any) -> list[list[Layer]]:
    """The layers of each measured query, as the framework level places them."""
    found = recorder.placed(session.starts_ns, session.durations_ns)
    names = recorder.calls().names
    layers: list[list[Layer]] = [[] for _ in range(found.seen)]
    ends_ns = found.starts_ns + found.durations_ns
    columns = (found.query, found.operator, found.starts_ns, ends_ns, found.threads)
    for row in zip(*(column.tolist() for column in columns), strict=True):
        query, operator, start_ns, end_ns, thread = row
        layers[query].append(Layer(start_ns, end_ns, names[operator], thread))
    return layers


def add_calls(
    session: Session, captured: Captured, layers: list[list[Layer]], ahead: tuple[int, int]
) -> None:
    """Every call that oneDNN and MKL printed as a span; says what they did not say.

    The first mark in the file is the loop's beginning.
    """
    if not add_said(session, _by_query(captured), layers, ahead):
        session.unavailable(OWN)
    captured.path.unlink(missing_ok=True)


def add_said(
    session: Session, said: Said, layers: list[list[Layer]], ahead: tuple[int, int]
) -> int:
    """Every call of the measured queries as a span; layers: those of each query, in order.

    ahead: the worker's clock against the system's, before and after the loop. Gives their number.
    """
    starts_ns, ends_ns = session.starts_ns, session.starts_ns + session.durations_ns
    skew_ns = np.linspace(*ahead, max(1, len(starts_ns))).astype(np.int64).tolist()
    told = untimed = 0
    for query, calls in said.items():
        if query >= len(starts_ns):
            continue
        predict = Layer(int(starts_ns[query]), int(ends_ns[query]), "", session.thread)
        here = layers[query] if query < len(layers) else []
        for each in place(calls, here, predict, skew_ns[query]):
            tags: dict[str, Any] = each.call.tags
            if not each.timed:
                tags = {**tags, "placed": "by order"}
                untimed += tags["library"] == "onednn"
            took_ns = each.end_ns - each.start_ns
            where = each.thread if layers else each.call.thread
            session.add_span("library", each.call.name, each.start_ns, took_ns, where, tags)
            told += 1
    if untimed:
        session.unavailable(NO_TIMES)
    return told


def _by_query(captured: Captured) -> Said:
    found: Said = {}
    for mark, line in captured.lines(OURS):
        call = read_call(line) if mark else None  # before the first mark nothing is measured
        if call is not None:
            found.setdefault(mark - 1, []).append(call)
    return found
