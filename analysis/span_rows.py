"""Spans as rows of a table, the same for CSV and Parquet: plain columns and tags as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bus.messages import LEVELS
from collector.timeline import PlacedSpan, Timeline

PIECE = 10_000
COLUMNS: dict[str, type] = {
    "span_id": str,
    "parent_id": str,
    "level": str,
    "name": str,
    "start_ns": int,
    "duration_ns": int,
    "machine": str,
    "role": str,
    "thread": int,
    "run": int,
    "correlation_id": int,
    "ambiguous": bool,
    "tags": str,
}
"""Ids are 16 hex digits, as in every other format; parent_id is empty where there is none."""


def pieces(timeline: Timeline) -> Iterator[list[tuple[Any, ...]]]:
    """Rows with the values of COLUMNS, earliest first, 10,000 at a time."""
    piece = []
    for span in timeline.spans():
        piece.append(_row(span))
        if len(piece) == PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _row(span: PlacedSpan) -> tuple[Any, ...]:
    machine, role, _ = span.source.rsplit("/", 2)
    return (
        f"{span.span_id:016x}",
        f"{span.parent_id:016x}" if span.parent_id else "",
        LEVELS[span.level],
        span.name,
        span.start_ns,
        span.duration_ns,
        machine,
        role,
        span.thread,
        span.run,
        span.correlation_id,
        span.ambiguous,
        msgspec.json.encode(span.tags).decode(),
    )
