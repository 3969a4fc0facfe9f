"""Spans as CSV and Parquet, read back by Python's csv and by pyarrow."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from analysis.recording import Recording
from analysis.span_csv import span_csv
from analysis.span_parquet import span_parquet
from analysis.span_rows import COLUMNS, PIECE
from bus.messages import Span

EPOCH_NS = 1_700_000_000_000_000_000


@pytest.fixture
def recording(timeline_of) -> Recording:
    tags = {"operator": 'Conv, "quick"\nand dirty', "shape": [1, 3]}
    spans = [
        Span(2**63 + 5, 0, 2, "predict", EPOCH_NS + 1, 2_001, 7),
        Span(7, 0, 3, "größer", EPOCH_NS + 1_001, 1_000, 7, correlation_id=9, tags=tags),
    ]
    return Recording(timeline_of({("n1", "worker", 4): spans}))


def test_csv(recording: Recording) -> None:
    text = b"".join(span_csv(recording)).decode()
    predict, conv = csv.DictReader(io.StringIO(text, newline=""))
    assert list(predict) == list(COLUMNS)
    assert (predict["start_ns"], predict["duration_ns"]) == (str(EPOCH_NS + 1), "2001")
    assert conv["parent_id"] == predict["span_id"] == "8000000000000005"
    assert (conv["level"], conv["name"], conv["run"]) == ("framework", "größer", "4")
    assert (conv["machine"], conv["role"], conv["correlation_id"]) == ("n1", "worker", "9")
    assert json.loads(conv["tags"])["operator"] == 'Conv, "quick"\nand dirty'


def read_parquet(recording: Recording) -> list[dict[str, Any]]:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    return parquet.read_table(pa.BufferReader(b"".join(span_parquet(recording)))).to_pylist()


def test_parquet(recording: Recording) -> None:
    predict, conv = read_parquet(recording)
    assert predict["start_ns"] == EPOCH_NS + 1 and predict["ambiguous"] is False
    assert conv["parent_id"] == predict["span_id"] and json.loads(conv["tags"])["shape"] == [1, 3]
    assert (conv["thread"], conv["run"], conv["level"]) == (7, 4, "framework")


def test_large_ones_come_in_row_groups(timeline_of) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    spans = [Span(i, 0, 2, "p", EPOCH_NS + 10 * i, 5, 7) for i in range(1, PIECE + 2)]
    recording = Recording(timeline_of({("n1", "worker", 0): spans}))
    file = parquet.ParquetFile(pa.BufferReader(b"".join(span_parquet(recording))))
    assert (file.metadata.num_row_groups, file.metadata.num_rows) == (2, PIECE + 1)
    rows = b"".join(span_csv(recording)).splitlines()
    assert len(rows) == PIECE + 2


def test_nothing_is_a_table_without_rows(timeline_of) -> None:
    nothing = Recording(timeline_of({}))
    assert b"".join(span_csv(nothing)).decode().strip() == ",".join(COLUMNS)
    assert read_parquet(nothing) == []
