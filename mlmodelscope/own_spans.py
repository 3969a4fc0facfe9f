"""Spans and samples of a person's own program, on the evaluation that they belong to."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from bus import subjects
from bus.clock_watch import ClockWatch
from bus.codec import pack_rows
from bus.connection import Bus
from bus.errors import BusError, InputError
from bus.messages import LEVELS, Clock, Evaluate, Level, MetricsRecorded, Span, SpansRecorded

SOURCE = "user"
MACHINE = "client"
"""Whose clock it is: the same as the request's span."""
BATCH = 1_000
LIMIT = 100_000
"""Spans, and samples of one quantity, that may wait; beyond it they are lost, and counted."""

_around: ContextVar[tuple[str, int]] = ContextVar("span around", default=("", 0))
"""The evaluation and the id of the span that this task or thread is in."""


class Metric:
    """One quantity over time."""

    def __init__(self, name: str, unit: str, level: Level, told: Callable[[], None]) -> None:
        self.name, self.unit, self.level = name, unit, level
        self.lost = 0
        self._told = told
        self._samples: list[tuple[int, float]] = []

    def record(self, value: float, *, at_ns: int | None = None) -> None:
        """A value now, or at a time of its own (epoch nanoseconds)."""
        if len(self._samples) >= LIMIT:
            self.lost += 1
            return
        at_ns = time.time_ns() if at_ns is None else at_ns
        try:
            self._samples.append((int(at_ns), float(value)))
        except (TypeError, ValueError) as exc:
            raise InputError(f"metric {self.name}: expected a number, got {value!r}") from exc
        self._told()

    def take(self) -> tuple[list[int], list[float], int]:
        """What waits: times, values, and how many were lost; it waits no longer."""
        samples, self._samples = self._samples, []
        lost, self.lost = self.lost, 0
        return [at_ns for at_ns, _ in samples], [value for _, value in samples], lost


class OwnSpans:
    """What waits to be sent of one evaluation; `soon` is called where it should not wait longer."""

    def __init__(self, request: Evaluate, watch: ClockWatch, soon: Callable[[], None]) -> None:
        self._request, self._watch, self._soon = request, watch, soon
        self._spans: defaultdict[str, list[Span]] = defaultdict(list)
        """By the name of their clock; empty: this machine's."""
        self._metrics: dict[tuple[str, str], Metric] = {}
        self._dropped: Counter[str] = Counter()
        self._batches = self._samples = 0
        self._ended = False

    def records(self, level: Level) -> bool:
        """Whether the evaluation looks at this level."""
        return 0 < LEVELS.index(level) <= LEVELS.index(self._request.level)

    @contextmanager
    def span(self, name: str, level: Level, tags: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Record the block; what it raises is named in the tag `error`, and goes on."""
        _check(name, level, tags)
        around, inside = self._parent(), secrets.randbits(62) | 1
        token = _around.set((self._request.evaluation_id, inside))
        start_ns, began_ns = time.time_ns(), time.perf_counter_ns()
        try:
            yield tags
        except BaseException as exc:
            tags["error"] = type(exc).__name__
            raise
        finally:
            took_ns = time.perf_counter_ns() - began_ns
            _around.reset(token)
            self._keep(Span(inside, around, 0, name, start_ns, took_ns), level, "", tags)

    def add(
        self, name: str, at: tuple[int, int], level: Level, clock: str, tags: dict[str, Any]
    ) -> None:
        """A span whose start and duration are known."""
        _check(name, level, tags)
        parent = 0 if clock else self._parent()
        span = Span(secrets.randbits(62) | 1, parent, 0, name, int(at[0]), max(0, int(at[1])))
        self._keep(span, level, clock, tags)

    def metric(self, name: str, unit: str, level: Level) -> Metric:
        """The quantity of that name and unit: always the same one."""
        _check(name, level, {})
        key = (name, unit)
        if key not in self._metrics:
            self._metrics[key] = Metric(name, unit, level, self._told)
        return self._metrics[key]

    def _parent(self) -> int:
        evaluation_id, span_id = _around.get()
        same = evaluation_id == self._request.evaluation_id
        return span_id if same else self._request.parent_span

    def _keep(self, span: Span, level: Level, clock: str, tags: dict[str, Any]) -> None:
        if not self.records(level):
            return
        if sum(map(len, self._spans.values())) >= LIMIT:
            self._dropped[level] += 1
            return
        kept = msgspec.structs.replace(
            span,
            level=LEVELS.index(level),
            thread=os.getpid() if clock else threading.get_native_id(),
            tags=_plain(tags),
        )
        self._spans[clock].append(kept)
        self._told()

    def _told(self) -> None:
        if self._ended or max(map(len, self._spans.values()), default=0) >= BATCH:
            self._soon()

    async def end(self, bus: Bus) -> None:
        """Send what waits; from now on nothing waits for more."""
        self._ended = True
        await self.flush(bus)

    async def flush(self, bus: Bus) -> None:
        """Send everything. A bus that is gone costs these spans, and they are counted."""
        for clock, spans in [*self._spans.items()]:
            self._spans[clock] = []
            for first in range(0, len(spans), BATCH):
                await self._send(bus, clock, spans[first : first + BATCH])
        for metric in [*self._metrics.values()]:
            await self._send_samples(bus, metric)

    async def _send(self, bus: Bus, clock: str, spans: list[Span]) -> None:
        request = self._request
        levels: Counter[str] = Counter(LEVELS[span.level] for span in spans)
        dropped, self._dropped = self._dropped, Counter()
        number, self._batches = self._batches, self._batches + 1
        message = SpansRecorded(
            evaluation_id=request.evaluation_id,
            node_id=MACHINE,
            source=SOURCE,
            batch=number,
            levels=dict(levels),
            count=len(spans),
            first_start_ns=min(span.start_ns for span in spans),
            last_end_ns=max(span.start_ns + span.duration_ns for span in spans),
            lost=dropped.total(),
            dropped=dict(dropped),
            clock=Clock(reference=clock) if clock else self._watch.latest,
            clocks=[] if clock else self._watch.samples[:-1],
            block=pack_rows(spans),
        )
        subject = subjects.span(MACHINE, request.user, request.evaluation_id)
        dedupe = f"{request.evaluation_id}/{SOURCE}/{number}"
        try:
            await bus.record(subject, message, dedupe=dedupe)
        except BusError:
            self._dropped += dropped + levels

    async def _send_samples(self, bus: Bus, metric: Metric) -> None:
        times_ns, values, lost = metric.take()
        if not times_ns and not lost:
            return
        request = self._request
        number, self._samples = self._samples, self._samples + 1
        if not self.records(metric.level):
            return
        message = MetricsRecorded(
            evaluation_id=request.evaluation_id,
            node_id=MACHINE,
            source=SOURCE,
            batch=number,
            name=metric.name,
            unit=metric.unit,
            level=metric.level,
            times_ns=times_ns,
            values=values,
            lost=lost,
            clock=self._watch.latest,
        )
        subject = subjects.metric(MACHINE, request.user, request.evaluation_id)
        dedupe = f"{request.evaluation_id}/{SOURCE}/metric/{number}"
        try:
            await bus.record(subject, message, dedupe=dedupe)
        except BusError:
            metric.lost += lost + len(values)


def _check(name: str, level: Level, tags: Mapping[str, Any]) -> None:
    if not name:
        raise InputError("a span or metric needs a name")
    if level not in LEVELS[1:]:
        raise InputError(f"{name}: level {level!r}; expected one of {', '.join(LEVELS[1:])}")
    for key, value in tags.items():
        try:
            msgspec.msgpack.encode(_number(value))
        except (TypeError, OverflowError, ValueError) as exc:
            kind = type(value).__name__
            raise InputError(
                f"{name}: tag {key} is a {kind}, which cannot travel ({exc}); expected text, "
                "numbers, truth values, and lists and maps of them"
            ) from exc


def _plain(tags: Mapping[str, Any]) -> dict[str, Any]:
    """The tags as they travel; what was put in later and cannot is shown as Python shows it."""
    kept: dict[str, Any] = {}
    for key, value in tags.items():
        try:
            msgspec.msgpack.encode(number := _number(value))
        except (TypeError, OverflowError, ValueError):
            number = repr(value)
        # A copy: what the program changes in it afterwards was not so.
        kept[str(key)] = msgspec.msgpack.decode(msgspec.msgpack.encode(number))
    return kept


def _number(value: Any) -> Any:
    """numpy's scalars as Python's own."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
