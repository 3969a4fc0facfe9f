"""A timeline <-> TimelineChunk messages: what is stored of it and what clients are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bus import codec
from bus.errors import InputError, ProtocolError
from bus.messages import TimelineChunk
from collector.rows import NO_TAGS, Columns, Gathering, Vocabulary, pack_block, read_block
from collector.tags import Tags
from collector.timeline import Timeline, timeline_of

CHUNK_LIMIT_BYTES = 4 * 1024 * 1024
RAW_LIMIT_BYTES = 48 * 1024 * 1024
"""What one block may hold before it is packed: less than a reader opens."""
AMBIGUOUS = "ambiguous_parent"
"""The tag of a span whose parent could not be told, in the rows of a chunk."""


def to_chunks(timeline: Timeline, rows_per_chunk: int) -> list[TimelineChunk]:
    """The whole timeline as messages: first packed, because each says how many there are."""
    packed = list(_packed(timeline, max(1, rows_per_chunk))) or [(0, b"", b"")]
    return [
        TimelineChunk(
            evaluation_id=timeline.evaluation_id,
            chunk=number,
            chunks=len(packed),
            count=count,
            total=len(timeline),
            emitted=timeline.emitted,
            stored=timeline.stored,
            dropped=timeline.dropped,
            lost=timeline.lost,
            ambiguous=int(np.count_nonzero(timeline.ambiguous)),
            complete=timeline.complete,
            missing=timeline.missing,
            reference=timeline.reference,
            error_ns=timeline.error_ns,
            errors_ns=list(timeline.errors_ns),
            repaired=timeline.repaired,
            sources=list(timeline.sources),
            origins=origins,
            block=block,
        )
        for number, (count, origins, block) in enumerate(packed)
    ]


def _packed(timeline: Timeline, rows_per_chunk: int) -> Iterator[tuple[int, bytes, bytes]]:
    plain = len(timeline.tags)
    sizes = np.array([len(tag) for tag in timeline.tags], np.int64)

    def tag_of(number: int) -> bytes:
        """Those beyond the plain ones are the same again, with the flag."""
        if number < plain:
            return timeline.tags[number]
        return _with_flag(timeline.tags[number - plain])

    first = 0
    while first < len(timeline):
        count = min(rows_per_chunk, len(timeline) - first)
        while True:
            rows = np.arange(first, first + count)
            columns = _columns(timeline, rows, plain)
            too_much = int(sizes[columns.tags % plain].sum()) > RAW_LIMIT_BYTES
            block = b"" if too_much else pack_block(columns, timeline.names, tag_of)
            if count == 1 or not (too_much or len(block) > CHUNK_LIMIT_BYTES):
                break
            count //= 2
        origins = codec.pack_rows(columns.source.astype("<i4").tobytes())
        yield count, origins, block
        first += count


def _columns(timeline: Timeline, rows: NDArray[np.intp], flagged: int) -> Columns:
    tags = timeline.tags_index[rows] + np.where(timeline.ambiguous[rows], flagged, 0)
    return Columns(
        span_id=timeline.span_id[rows],
        parent_id=timeline.parent_id[rows],
        level=timeline.level[rows],
        start_ns=timeline.start_ns[rows],
        duration_ns=timeline.duration_ns[rows],
        thread=timeline.thread[rows],
        correlation_id=timeline.correlation_id[rows],
        name=timeline.name_index[rows],
        tags=tags.astype(np.int32),
        run=timeline.run[rows],
        source=timeline.source_index[rows],
    )


def from_chunks(chunks: Iterable[TimelineChunk]) -> Timeline:
    """Messages -> the timeline. They must all be there, in order, and of one assembly."""
    words, gathering, head, count = Vocabulary(), Gathering(), None, 0
    for chunk in chunks:
        head = head or chunk
        account = _account(chunk)
        if chunk.chunk != count or chunk.chunks != head.chunks or account != _account(head):
            raise InputError(
                f"chunk {chunk.chunk} of {chunk.chunks} does not follow {count} of {head.chunks}: "
                "the timeline was assembled again meanwhile; read it again from chunk 0"
            )
        count += 1
        if chunk.count:
            gathering.add(_read(chunk, words))
    if head is None or count < head.chunks:
        wanted = head.chunks if head else "at least 1"
        raise InputError(f"{count} chunks of a timeline: expected {wanted}; ask for the others")
    columns = gathering.columns()
    unclear = _take_flags(columns, words)
    return timeline_of(columns, unclear, words, head.sources, _account(head))


def _read(chunk: TimelineChunk, words: Vocabulary) -> Columns:
    columns = read_block(chunk.block, words, -1, "")
    raw = codec.open_block(chunk.origins)
    origins = np.frombuffer(raw, "<i4") if raw and len(raw) == 4 * len(columns) else np.array([-1])
    if len(columns) != chunk.count or origins.min() < 0 or origins.max() >= len(chunk.sources):
        raise ProtocolError(f"chunk {chunk.chunk}: its origins do not fit its {chunk.count} rows")
    columns.source = origins.astype(np.int32)
    columns.run = np.array([_run(source) for source in chunk.sources], np.int32)[origins]
    return columns


def _run(source: str) -> int:
    run = source.rsplit("/", 1)[-1]
    return int(run) if run.isdecimal() and len(run) < 10 else -1


def _account(chunk: TimelineChunk) -> dict[str, Any]:
    return {
        "evaluation_id": chunk.evaluation_id,
        "emitted": chunk.emitted,
        "stored": chunk.stored,
        "dropped": chunk.dropped,
        "lost": chunk.lost,
        "complete": chunk.complete,
        "missing": chunk.missing,
        "reference": chunk.reference,
        "error_ns": chunk.error_ns,
        "errors_ns": chunk.errors_ns,
        "repaired": chunk.repaired,
    }


def _with_flag(tag: bytes) -> bytes:
    """The same tags and the flag: one more entry in a MessagePack map."""
    return msgspec.msgpack.encode({**_decoded(tag), AMBIGUOUS: True})


def _decoded(tag: bytes) -> dict[Any, Any]:
    try:
        found = msgspec.msgpack.decode(tag)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"unreadable": tag.hex()}
    return found if isinstance(found, dict) else {}


def _take_flags(columns: Columns, words: Vocabulary) -> NDArray[np.bool_]:
    """Turn the flags in the tags into a column of their own."""
    flag = msgspec.msgpack.encode(AMBIGUOUS)
    flagged = [flag in tag and AMBIGUOUS in _decoded(tag) for tag in words.tags]
    if not any(flagged):
        return np.zeros(len(columns), bool)
    plain = Tags()
    became = []
    for tag, marked in zip(words.tags, flagged, strict=True):
        if marked:
            rest = {k: v for k, v in _decoded(tag).items() if k != AMBIGUOUS}
            tag = msgspec.msgpack.encode(rest) if rest else NO_TAGS
        became.append(plain.number(tag))
    unclear = np.array(flagged, bool)[columns.tags]
    columns.tags = np.array(became, np.int32)[columns.tags]
    words.tags = plain
    return unclear
