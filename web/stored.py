"""What is stored of an evaluation, computed for whoever shows it; and its timeline as a file."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import formats
from analysis.layers import LayerRow
from analysis.recording import recording_of
from analysis.summary import Result, summarize
from bus.messages import LEVELS, Message, MetricsRecorded
from collector.timeline import Timeline
from mlmodelscope.client import Client
from mlmodelscope.evaluating import slowest
from web.bodies import SpanChunk, SpanRow

ALL_LAYERS = 100_000
PIECE_BYTES = 1 << 18
MOST_FOUND = 32
"""Evaluations whose layers are kept."""


@dataclass(frozen=True)
class Known:
    """The facts of an evaluation, and what they come to."""

    evaluation_id: str
    facts: Sequence[Message]
    metrics: Sequence[MetricsRecorded]
    result: Result


async def known(client: Client, evaluation_id: str) -> Known:
    """Everything but the timeline; a prefix of the id, or `last`, will do."""
    whole_id, facts, metrics = await client.stored(evaluation_id)
    return Known(whole_id, facts, metrics, await asyncio.to_thread(summarize, facts))


async def layers(client: Client, evaluation_id: str, k: int = ALL_LAYERS) -> list[LayerRow]:
    """The k slowest layers, of the shallowest run of the best batch size that has some.

    They are found once: whoever may see the timeline may see what was found in it.
    """
    head = await client.timeline_head(evaluation_id)
    seen = (head.evaluation_id, head.total, head.chunks, head.complete)
    if seen not in _FOUND:
        _FOUND[seen] = await _layers(client, head.evaluation_id)
    _FOUND.move_to_end(seen)
    while len(_FOUND) > MOST_FOUND:
        _FOUND.popitem(last=False)
    return _FOUND[seen][:k]


_FOUND: OrderedDict[tuple[str, int, int, bool], list[LayerRow]] = OrderedDict()


async def _layers(client: Client, evaluation_id: str) -> list[LayerRow]:
    found = await known(client, evaluation_id)
    model = LEVELS.index("model")
    if not any(LEVELS.index(level) > model for level in found.result.spans):
        return []
    timeline = await client.timeline(evaluation_id)
    return await asyncio.to_thread(slowest, found.facts, found.result, timeline, ALL_LAYERS)


async def chunk(client: Client, evaluation_id: str, number: int) -> SpanChunk:
    """The spans of one chunk."""
    told = await client.timeline_chunk(evaluation_id, number)
    alone = Timeline.from_chunks([told])
    rows = [
        SpanRow(
            span_id=f"{span.span_id:016x}",
            parent_id=f"{span.parent_id:016x}" if span.parent_id else "",
            level=LEVELS[span.level],
            name=span.name,
            start_ns=str(span.start_ns),
            duration_ns=span.duration_ns,
            thread=span.thread,
            source=span.source,
            tags=span.tags,
        )
        for span in alone
    ]
    return SpanChunk(chunk=told.chunk, chunks=told.chunks, total=told.total, spans=rows)


@dataclass(frozen=True)
class TimelineFile:
    """A timeline as a file that is made while it is sent."""

    name: str
    pieces: AsyncIterator[bytes]


async def timeline_file(client: Client, evaluation_id: str, format: str) -> TimelineFile:
    """The timeline as a file of this format; UnknownNameError, InputError before any work."""
    chosen = formats.choose(Path("timeline.json"), format)
    found = await known(client, evaluation_id)
    timeline = await client.timeline(found.evaluation_id)
    content = formats.pieces(recording_of(timeline, found.facts, found.metrics), chosen)
    return TimelineFile(f"timeline-{found.evaluation_id[:8]}{chosen.ending}", _in_turn(content))


async def _in_turn(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Pieces of some size, each made in a thread while nobody waits for the loop."""

    def some() -> bytes:
        gathered = bytearray()
        for piece in content:
            gathered += piece
            if len(gathered) >= PIECE_BYTES:
                break
        return bytes(gathered)

    while piece := await asyncio.to_thread(some):
        yield piece
