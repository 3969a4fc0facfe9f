"""What is stored of an evaluation, computed for whoever shows it; and its timeline as a file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    """The k slowest layers, of the shallowest run of the best batch size that has some."""
    found = await known(client, evaluation_id)
    model = LEVELS.index("model")
    if not any(LEVELS.index(level) > model for level in found.result.spans):
        return []
    timeline = await client.timeline(found.evaluation_id)
    return await asyncio.to_thread(slowest, found.facts, found.result, timeline, k)


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


@contextmanager
def passing_folder() -> Iterator[Path]:
    """A folder for a file that is sent and forgotten."""
    with tempfile.TemporaryDirectory(prefix="mlms-web-") as folder:
        yield Path(folder)


async def timeline_file(client: Client, evaluation_id: str, format: str, folder: Path) -> Path:
    """The timeline as a file of this format; UnknownNameError, InputError before any work."""
    chosen = formats.choose(Path("timeline.json"), format)
    chosen.require()
    found = await known(client, evaluation_id)
    timeline = await client.timeline(found.evaluation_id)
    recording = recording_of(timeline, found.facts, found.metrics)
    path = folder / f"timeline-{found.evaluation_id[:8]}{chosen.ending}"

    def write() -> None:
        for _ in formats.write(recording, path, chosen):
            pass

    await asyncio.to_thread(write)
    return path
