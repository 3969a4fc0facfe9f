"""Blocks of span rows <-> numpy columns; names and tags are kept once, whoever repeats them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import msgspec
import numpy as np
from numpy.typing import NDArray

from bus import codec
from bus.errors import ProtocolError
from collector.tags import Tags

NO_TAGS = b"\x80"
"""An empty MessagePack map."""

LEAST_STEP = 65_536
"""Rows by which columns grow at least."""

Column = NDArray[np.generic]


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A span whose tags stay as they came: they are compared and stored, seldom read."""

    span_id: int
    parent_id: int
    level: int
    name: str
    start_ns: int
    duration_ns: int
    thread: int = 0
    correlation_id: int = 0
    tags: msgspec.Raw = msgspec.Raw(NO_TAGS)


_decoder = msgspec.msgpack.Decoder(list[Row])
_encoder = msgspec.msgpack.Encoder()


@dataclass(slots=True, eq=False)
class Columns:
    """Spans by column, in order of arrival; `name` and `tags` are indexes into a Vocabulary."""

    span_id: NDArray[np.uint64]
    parent_id: NDArray[np.uint64]
    level: NDArray[np.uint8]
    start_ns: NDArray[np.int64]
    duration_ns: NDArray[np.int64]
    thread: NDArray[np.int64]
    correlation_id: NDArray[np.int64]
    name: NDArray[np.int32]
    tags: NDArray[np.int32]
    run: NDArray[np.int32]
    source: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.span_id)

    def take(self, rows: NDArray[np.intp]) -> None:
        """Keep these rows, in this order; a column at a time, so that no second copy stands."""
        for column in fields(self):
            setattr(self, column.name, getattr(self, column.name)[rows])


@dataclass(slots=True, eq=False)
class Vocabulary:
    """Every distinct text of a timeline: names, tags (raw MessagePack maps) and sources."""

    names: dict[str, int] = field(default_factory=dict)
    tags: Tags = field(default_factory=Tags)
    sources: dict[str, int] = field(default_factory=dict)


def read_block(block: bytes, words: Vocabulary, run: int, source: str) -> Columns:
    """The spans of one block; ProtocolError when it is damaged."""
    try:
        rows = _decoder.decode(codec.open_block(block))
        return _columns(rows, words, run, source)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError) as exc:
        raise ProtocolError(f"unreadable span rows: {exc}") from exc


def _columns(rows: list[Row], words: Vocabulary, run: int, source: str) -> Columns:
    names, tags, count = words.names, words.tags, len(rows)
    level = np.array([r.level for r in rows], np.int64)
    # What is no level of ours becomes 255, which clean.py repairs and counts.
    level[(level < 0) | (level > 254)] = 255
    return Columns(
        span_id=np.array([r.span_id for r in rows], np.uint64),
        parent_id=np.array([r.parent_id for r in rows], np.uint64),
        level=level.astype(np.uint8),
        start_ns=np.array([r.start_ns for r in rows], np.int64),
        duration_ns=np.array([r.duration_ns for r in rows], np.int64),
        thread=np.array([r.thread for r in rows], np.int64),
        correlation_id=np.array([r.correlation_id for r in rows], np.int64),
        name=np.array([names.setdefault(r.name, len(names)) for r in rows], np.int32),
        tags=np.array([tags.number(r.tags) for r in rows], np.int32),
        run=np.full(count, np.int32(min(max(run, -1), 2**31 - 1))),
        source=np.full(count, np.int32(words.sources.setdefault(source, len(words.sources)))),
    )


class Gathering:
    """Columns that grow in place, piece by piece: nothing is ever there twice."""

    def __init__(self) -> None:
        self._whole = {column.name: _empty(column.name) for column in fields(Columns)}
        self._count = 0

    def add(self, piece: Columns) -> None:
        """Append a piece; it is copied, and may go."""
        end = self._count + len(piece)
        room = len(self._whole["span_id"])
        if end > room:
            room = max(end, room + max(LEAST_STEP, room // 16))
        for name, column in self._whole.items():
            if len(column) < room:
                column.resize(room, refcheck=False)
            column[self._count : end] = getattr(piece, name)
        self._count = end

    def columns(self) -> Columns:
        """All of it; nothing can be added after."""
        whole, self._whole = self._whole, {}
        for column in whole.values():
            column.resize(self._count, refcheck=False)
        return Columns(**whole)  # type: ignore[arg-type]


def _empty(column: str) -> Column:
    wide = {"span_id": np.uint64, "parent_id": np.uint64, "level": np.uint8}
    narrow = dict.fromkeys(("name", "tags", "run", "source"), np.int32)
    return np.empty(0, {**wide, **narrow}.get(column, np.int64))


def pack_block(columns: Columns, names: Sequence[str], tag_of: Callable[[int], bytes]) -> bytes:
    """Columns as a block of rows, as a worker would have sent them."""
    used, tags = np.unique(columns.tags, return_inverse=True)
    raw = [msgspec.Raw(tag_of(number)) for number in used.tolist()]
    rows = [
        Row(span, parent, level, names[name], start, duration, thread, correlation, raw[tag])
        for span, parent, level, name, start, duration, thread, correlation, tag in zip(
            columns.span_id.tolist(),
            columns.parent_id.tolist(),
            columns.level.tolist(),
            columns.name.tolist(),
            columns.start_ns.tolist(),
            columns.duration_ns.tolist(),
            columns.thread.tolist(),
            columns.correlation_id.tolist(),
            tags.tolist(),
            strict=True,
        )
    ]
    return codec.pack_rows(_encoder.encode(rows))
