"""A timeline as Chrome trace JSON, piece by piece: what Perfetto and chrome://tracing open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from analysis.tracks import lanes, launched_by, processes_of, thread_label
from bus.messages import LEVELS, MetricsRecorded
from collector.timeline import Timeline

PIECE = 2000
"""Events encoded at once: a large timeline is never one string in memory."""
ARROW = {"name": "launch", "cat": "launch"}
_encode = msgspec.json.Encoder().encode


def chrome_trace(timeline: Timeline, metrics: Sequence[MetricsRecorded] = ()) -> Iterator[bytes]:
    """The JSON object, in pieces.

    One process a machine and role; on each of its threads a span lies within its parent, and
    spans that overlap without nesting get lanes of their own. `ts` and `dur` are microseconds
    since the first span (three decimals: JSON numbers cannot hold epoch nanoseconds), which began
    at otherData.epoch_ns. Ids are hexadecimal text. An arrow leads from each launch to its work.
    """
    first_ns = int(timeline.start_ns.min()) if len(timeline) else 0
    about = {
        "evaluation_id": timeline.evaluation_id,
        "epoch_ns": str(first_ns),
        "reference_clock": timeline.reference,
        "clock_error_ns": timeline.error_ns,
        "clock_errors_ns": dict(zip(timeline.sources, timeline.errors_ns, strict=False)),
        "emitted": timeline.emitted,
        "stored": timeline.stored,
        "dropped": timeline.dropped,
        "lost": timeline.lost,
        "ambiguous": int(np.count_nonzero(timeline.ambiguous)),
        "repaired": timeline.repaired,
        "complete": timeline.complete,
        "missing": timeline.missing,
    }
    yield b'{"displayTimeUnit":"ms","otherData":' + _encode(about) + b',"traceEvents":[\n'
    separator = b""
    for piece in _pieces(_events(timeline, metrics, first_ns)):
        yield separator + b",\n".join(map(_encode, piece))
        separator = b",\n"
    yield b"\n]}\n"


def _pieces(events: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    piece: list[dict[str, Any]] = []
    for event in events:
        piece.append(event)
        if len(piece) == PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _events(
    timeline: Timeline, metrics: Sequence[MetricsRecorded], first_ns: int
) -> Iterator[dict[str, Any]]:
    processes = processes_of(timeline.sources)
    names = sorted(set(processes), key=processes.index)
    for pid, name in enumerate([*names, "metrics"] if metrics else names, 1):
        yield _named("process_name", pid, 0, name)
    pids = {
        source: names.index(p) + 1 for source, p in zip(timeline.sources, processes, strict=True)
    }
    tids: dict[tuple[int, int, int], int] = {}
    launches = launched_by(timeline)
    launched = {row for work in launches.values() for row in work}
    for row, (span, lane) in enumerate(zip(timeline.spans(), lanes(timeline), strict=True)):
        pid = pids[span.source]
        key = (pid, span.thread, lane)
        if key not in tids:
            tids[key] = len(tids) + 1
            yield _named("thread_name", pid, tids[key], thread_label(span.thread, lane))
        yield {
            "ph": "X",
            "name": span.name,
            "cat": LEVELS[span.level],
            "pid": pid,
            "tid": tids[key],
            "ts": round((span.start_ns - first_ns) / 1000, 3),
            "dur": round(span.duration_ns / 1000, 3),
            "args": {
                **span.tags,
                "span_id": f"{span.span_id:016x}",
                "parent_id": f"{span.parent_id:016x}" if span.parent_id else "",
                "run": span.run,
            },
        }
        place = {"pid": pid, "tid": tids[key], "ts": round((span.start_ns - first_ns) / 1000, 3)}
        for work in launches.get(row, ()):
            yield {"ph": "s", **ARROW, "id": f"{timeline.span_id[work]:016x}", **place}
        if row in launched:
            yield {"ph": "f", "bp": "e", **ARROW, "id": f"{span.span_id:016x}", **place}
    for metric in metrics:
        shift_ns = metric.clock.offset_ns - first_ns
        for at_ns, value in zip(metric.times_ns, metric.values, strict=True):
            yield {
                "ph": "C",
                "name": f"{metric.name} ({metric.unit})",
                "pid": len(names) + 1,
                "ts": round((at_ns + shift_ns) / 1000, 3),
                "args": {metric.unit: value},
            }


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}
