"""A profile's columns -> the messages that a node would have sent: batches of spans and samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from bus.codec import pack_rows
from bus.messages import LEVELS, MetricsRecorded, SpansRecorded
from mlmodelscope.importing.events import arguments
from mlmodelscope.importing.profile import NOBODY, Profile, Spans

NODE, SOURCE = "imported", "import"
ROWS = 2_000
BATCH_BYTES = 4 * 1024**2
"""What a batch's rows may take unpacked; a message carries 8 MB."""
ARGUMENT_BYTES = 1024**2
SAMPLES = 50_000

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Names:
    """What an imported evaluation and its one job are called: by what the file holds."""

    evaluation_id: str

    @property
    def job_id(self) -> str:
        return f"{self.evaluation_id}-0"

    def span_id(self, row: int) -> int:
        """Of one row; 0 for none. The upper half keeps evaluations apart."""
        upper = int(self.evaluation_id[:8], 16) & 0x3FFFFFFF
        return 0 if row == NOBODY else (upper << 32) + row + 1


def span_batches(profile: Profile, names: Names) -> Iterator[SpansRecorded]:
    """The spans, in the file's order. Their tags are read only here, a batch at a time."""
    spans, rows, size, number, first = profile.spans, list[bytes](), 0, 0, 0
    for row in range(len(spans)):
        encoded = _encode(_row(spans, names, row))
        if rows and (len(rows) == ROWS or size + len(encoded) > BATCH_BYTES):
            yield _batch(spans, names, number, first, rows)
            rows, size, number, first = [], 0, number + 1, row
        rows.append(encoded)
        size += len(encoded)
    if rows:
        yield _batch(spans, names, number, first, rows)


def _row(spans: Spans, names: Names, row: int) -> tuple[Any, ...]:
    return (
        names.span_id(row),
        names.span_id(spans.parent[row]),
        spans.level[row],
        spans.name[row],
        spans.start_ns[row],
        spans.duration_ns[row],
        spans.thread[row],
        spans.correlation_id[row],
        _tags(spans, row),
    )


def _tags(spans: Spans, row: int) -> dict[str, Any]:
    """The category, what the reader found out, and the event's own arguments."""
    tags = {"category": spans.category[row], **spans.more.get(row, {})}
    size = len(memoryview(spans.args[row]))
    if size > ARGUMENT_BYTES:
        return {**tags, "args": f"{size:,} bytes of arguments are not kept: more than 1 MiB"}
    return {**arguments(spans.args[row]), **tags}


def _batch(spans: Spans, names: Names, number: int, first: int, rows: list[bytes]) -> SpansRecorded:
    piece = range(first, first + len(rows))
    levels = Counter(spans.level[row] for row in piece)
    return SpansRecorded(
        evaluation_id=names.evaluation_id,
        job_id=names.job_id,
        attempt=1,
        node_id=NODE,
        source=SOURCE,
        batch=number,
        run=0,
        levels={LEVELS[level]: count for level, count in sorted(levels.items())},
        count=len(rows),
        first_start_ns=min(spans.start_ns[row] for row in piece),
        last_end_ns=max(spans.end_ns(row) for row in piece),
        origin="imported",
        block=pack_rows(_array_of(rows)),
    )


def _array_of(rows: list[bytes]) -> bytes:
    """MessagePack's array of values that are encoded already."""
    return b"\xdd" + len(rows).to_bytes(4, "big") + b"".join(rows)


def sample_batches(profile: Profile, names: Names) -> Iterator[MetricsRecorded]:
    """The samples of every quantity."""
    number = 0
    for samples in profile.samples.values():
        for first in range(0, len(samples.times_ns), SAMPLES):
            piece = slice(first, first + SAMPLES)
            yield MetricsRecorded(
                evaluation_id=names.evaluation_id,
                job_id=names.job_id,
                attempt=1,
                node_id=NODE,
                source=SOURCE,
                batch=number,
                name=samples.name,
                unit=samples.unit,
                level="framework",
                times_ns=samples.times_ns[piece],
                values=samples.values[piece],
            )
            number += 1
