"""A timeline's spans as Parquet, a row group of 10,000 at a time. The home of pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from analysis.recording import Recording
from analysis.span_rows import COLUMNS, pieces


def span_parquet(recording: Recording) -> Iterator[bytes]:
    """The file in pieces."""
    import pyarrow as pa
    from pyarrow import parquet

    arrow: dict[type, Any] = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
    schema = pa.schema([(name, arrow[kind]) for name, kind in COLUMNS.items()])
    sink = _Sink()
    with parquet.ParquetWriter(pa.PythonFile(sink, "w"), schema, compression="zstd") as writer:
        for rows in pieces(recording.timeline):
            columns = zip(*rows, strict=True)
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """A file for pyarrow that keeps only what was written since it was last emptied."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        """Keep it until it is taken."""
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        """How much has been written in all."""
        return self._size

    def flush(self) -> None:
        """Nothing lies deeper."""

    def close(self) -> None:
        """No more will be written."""
        self.closed = True

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
