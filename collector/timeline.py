"""Timeline: every level's spans of one evaluation on one clock, their parents found.

Spans lie in numpy columns, earliest first; names, tags and sources are kept once each. Pure:
batches in, a timeline out. How parents are found: parents.py and sweep.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from bus.errors import ProtocolError
from bus.messages import LEVELS, JobFinished, Level, SpansRecorded, TimelineChunk
from collector.account import Account
from collector.clean import clean
from collector.clocks import Clocks
from collector.parents import find_parents
from collector.rows import Columns, Gathering, Vocabulary, read_block
from collector.sweep import order_of

SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


class PlacedSpan(msgspec.Struct, frozen=True, gc=False):
    """A span in its place: what a Span says, with its parent, its run and where it came from."""

    span_id: int
    parent_id: int
    level: int
    name: str
    start_ns: int
    duration_ns: int
    thread: int
    correlation_id: int
    tags: dict[str, Any]
    run: int
    source: str
    ambiguous: bool

    @property
    def end_ns(self) -> int:
        """When it ended, on the reference clock."""
        return self.start_ns + self.duration_ns


@dataclass(frozen=True, eq=False)
class Timeline:
    """The spans of one evaluation, earliest first, on the reference clock.

    sources: "<machine>/<role>/<run>", by `source_index`; the machine is a node's id, or the
    role itself, and behind an @ the clock that it keeps where that is not the reference's.
    emitted, stored: spans by level; dropped: source -> level -> spans that are not here.
    error_ns bounds how far two machines' spans may be shifted against each other, errors_ns how
    far a source's are from the reference; -1: not measured. repaired: impossible values mended.
    """

    evaluation_id: str
    span_id: NDArray[np.uint64]
    parent_id: NDArray[np.uint64]
    level: NDArray[np.uint8]
    start_ns: NDArray[np.int64]
    duration_ns: NDArray[np.int64]
    thread: NDArray[np.int64]
    correlation_id: NDArray[np.int64]
    name_index: NDArray[np.int32]
    tags_index: NDArray[np.int32]
    run: NDArray[np.int32]
    source_index: NDArray[np.int32]
    ambiguous: NDArray[np.bool_]
    names: Sequence[str]
    tags: Sequence[bytes]
    sources: Sequence[str]
    emitted: dict[str, int] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: int = 0
    complete: bool = True
    missing: str = ""
    reference: str = ""
    error_ns: int = -1
    errors_ns: Sequence[int] = ()
    repaired: int = 0

    def __len__(self) -> int:
        return len(self.span_id)

    def __iter__(self) -> Iterator[PlacedSpan]:
        return self.spans()

    def spans(self) -> Iterator[PlacedSpan]:
        """Each span, earliest first. Equal tags are one and the same dict: do not change it."""
        tags = self.tag_maps
        for first in range(0, len(self), 16_384):
            piece = slice(first, first + 16_384)
            columns = (
                self.span_id[piece].tolist(),
                self.parent_id[piece].tolist(),
                self.level[piece].tolist(),
                [self.names[i] for i in self.name_index[piece].tolist()],
                self.start_ns[piece].tolist(),
                self.duration_ns[piece].tolist(),
                self.thread[piece].tolist(),
                self.correlation_id[piece].tolist(),
                [tags[i] for i in self.tags_index[piece].tolist()],
                self.run[piece].tolist(),
                [self.sources[i] for i in self.source_index[piece].tolist()],
                self.ambiguous[piece].tolist(),
            )
            for row in zip(*columns, strict=True):
                yield PlacedSpan(*row)

    @cached_property
    def tag_maps(self) -> list[dict[str, Any]]:
        """Each distinct tag map, decoded, by `tags_index`."""
        return [_map(raw) for raw in self.tags]

    def at(self, level: Level, run: int | None = None) -> Timeline:
        """The spans of one level, and of one run if it is given."""
        wanted = self.level == LEVELS.index(level)
        if run is not None:
            wanted &= self.run == run
        return self.only(np.flatnonzero(wanted))

    def children(self, span_id: int) -> Timeline:
        """The spans whose parent is `span_id`, earliest first."""
        order, parents = self._by_parent
        wanted = np.uint64(span_id)
        low, high = (int(np.searchsorted(parents, wanted, side)) for side in SIDES)
        return self.only(order[low:high])

    @cached_property
    def _by_parent(self) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
        order = np.argsort(self.parent_id, kind="stable")
        return order, self.parent_id[order]

    def only(self, rows: NDArray[np.intp]) -> Timeline:
        """These spans alone, with the same names, tags, sources and account."""
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(self, **columns)

    def to_chunks(self, rows_per_chunk: int = 20_000) -> list[TimelineChunk]:
        """This timeline as messages, none of them above about 4 MB."""
        from collector.chunks import to_chunks

        return to_chunks(self, rows_per_chunk)

    @classmethod
    def from_chunks(cls, chunks: Iterable[TimelineChunk]) -> Timeline:
        """The timeline that `to_chunks` made the messages of; InputError when one is missing."""
        from collector.chunks import from_chunks

        return from_chunks(chunks)


COLUMNS = (
    "span_id",
    "parent_id",
    "level",
    "start_ns",
    "duration_ns",
    "thread",
    "correlation_id",
    "name_index",
    "tags_index",
    "run",
    "source_index",
    "ambiguous",
)


def assemble(batches: Iterable[SpansRecorded], finished: Iterable[JobFinished]) -> Timeline:
    """One timeline of an evaluation's batches; `finished` says what should be there.

    The caller chooses the attempts: every batch that is given counts. Spans that come twice
    count once. A block that cannot be read is skipped, and said.
    """
    account, clocks, words, gathering = Account(finished), Clocks(), Vocabulary(), Gathering()
    for batch in batches:
        try:
            source = clocks.source_of(batch)
            gathering.add(read_block(batch.block, words, batch.run, source))
        except ProtocolError:
            account.unreadable(batch)
            continue
        account.heard(batch)
    columns = gathering.columns()
    account.repaired(clean(columns, words))
    _once_each(columns)
    sources, aligned = clocks.align(columns, list(words.sources))
    columns.take(order_of(columns.start_ns, columns.duration_ns, columns.level))
    words.tags.forget()
    unclear = find_parents(columns, sources)
    told = account.closed(columns, sources) | aligned._asdict()
    return timeline_of(columns, unclear, words, sources, told)


def timeline_of(
    columns: Columns,
    unclear: NDArray[np.bool_],
    words: Vocabulary,
    sources: Sequence[str],
    account: dict[str, Any],
) -> Timeline:
    """Columns whose parents are found, with their words and account, as a Timeline."""
    return Timeline(
        span_id=columns.span_id,
        parent_id=columns.parent_id,
        level=columns.level,
        start_ns=columns.start_ns,
        duration_ns=columns.duration_ns,
        thread=columns.thread,
        correlation_id=columns.correlation_id,
        name_index=columns.name,
        tags_index=columns.tags,
        run=columns.run,
        source_index=columns.source,
        ambiguous=unclear,
        names=list(words.names),
        tags=words.tags,
        sources=list(sources),
        **account,
    )


def _once_each(columns: Columns) -> None:
    """Drop the second coming of a span id; the first to arrive stays."""
    ordered = np.sort(columns.span_id)
    if (ordered[1:] == ordered[:-1]).any():
        _, first = np.unique(columns.span_id, return_index=True)
        columns.take(np.sort(first))


def _map(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.msgpack.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"unreadable": raw.hex()}
    return {str(key): value for key, value in found.items()} if found else {}
