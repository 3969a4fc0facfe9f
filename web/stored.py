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
from bus.messages import LEVELS, Message, MetricsRecorded, TimelineChunk
from collector.timeline import Timeline
from mlmodelscope.client import Client
from mlmodelscope.evaluating import slowest
from web.bodies import SpanChunk, SpanRow

ALL_LAYERS = 100_000
PIECE_BYTES = 1 << 18
MOST_FOUND = 32
"""Evaluations whose layers are kept."""
MOST_KEPT, KEPT_S = 2_000_000, 120.0
"""Spans of the timelines that are kept (about 114 bytes each), and for how long."""
Seen = tuple[str, int, int, bool]

_FOUND: OrderedDict[Seen, list[LayerRow]] = OrderedDict()
_LAST: OrderedDict[Seen, Timeline] = OrderedDict()


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
    seen = _seen(await client.timeline_head(evaluation_id))
    if seen not in _FOUND:
        _FOUND[seen] = await _layers(client, seen)
    _FOUND.move_to_end(seen)
    while len(_FOUND) > MOST_FOUND:
        _FOUND.popitem(last=False)
    return _FOUND[seen][:k]


async def _layers(client: Client, seen: Seen) -> list[LayerRow]:
    found = await known(client, seen[0])
    model = LEVELS.index("model")
    if not any(LEVELS.index(level) > model for level in found.result.spans):
        return []
    timeline = await _timeline(client, seen)
    return await asyncio.to_thread(slowest, found.facts, found.result, timeline, ALL_LAYERS)


async def timeline(client: Client, evaluation_id: str) -> Timeline:
    """The whole timeline; those that were asked for last are kept for a moment."""
    return await _timeline(client, _seen(await client.timeline_head(evaluation_id)))


async def _timeline(client: Client, seen: Seen) -> Timeline:
    """Of an evaluation that this client may see: that its head was told to it says so."""
    if seen in _LAST:
        _LAST.move_to_end(seen)
        return _LAST[seen]
    read = await client.timeline(seen[0])
    _LAST[seen] = read
    while _LAST and sum(map(len, _LAST.values())) > MOST_KEPT:
        _LAST.popitem(last=False)
    asyncio.get_running_loop().call_later(KEPT_S, _LAST.pop, seen, None)
    return read


def _seen(head: TimelineChunk) -> Seen:
    """What tells one assembly of a timeline from another."""
    return head.evaluation_id, head.total, head.chunks, head.complete


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
    whole = await timeline(client, found.evaluation_id)
    content = formats.pieces(recording_of(whole, found.facts, found.metrics), chosen)
    return TimelineFile(f"timeline-{found.evaluation_id[:8]}{chosen.ending}", _in_turn(content))


async def _in_turn(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each made in a thread, while the loop serves others: the first, then some together."""

    def some(least: int) -> bytes:
        gathered = bytearray()
        for piece in content:
            gathered += piece
            if len(gathered) >= least:
                break
        return bytes(gathered)

    least = 1
    while piece := await asyncio.to_thread(some, least):
        yield piece
        least = PIECE_BYTES
