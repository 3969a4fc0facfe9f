"""The ending chooses the format, a name overrides it, and what is unknown is answered by a list."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import pytest

from analysis import formats
from analysis.recording import Recording, recording_of
from bus.errors import InputError, UnknownNameError
from bus.messages import EvaluationFinished, MetricsRecorded, Span

ENDINGS = [
    ("t.json", "chrome"),
    ("t.json.gz", "chrome"),
    ("t.otlp.json", "otlp-json"),
    ("t.otlp.json.gz", "otlp-json"),
    ("t.otlp.pb", "otlp"),
    ("t.metrics.otlp.json", "otlp-metrics-json"),
    ("t.metrics.otlp.pb", "otlp-metrics"),
    ("t.pftrace", "perfetto"),
    ("t.csv.gz", "csv"),
    ("t.parquet", "parquet"),
    ("t.folded", "folded"),
]


@pytest.mark.parametrize(("name", "format"), ENDINGS)
def test_the_ending_chooses(name: str, format: str) -> None:
    assert formats.choose(Path(name)).name == format
    assert formats.choose(Path(name), "csv").name == "csv"


@pytest.mark.parametrize("name", ["t.txt", "t", "t.gz", "json", "t.pb"])
def test_an_unknown_ending_lists_what_there_is(name: str) -> None:
    with pytest.raises(InputError) as caught:
        formats.choose(Path(name))
    assert all(one.ending in str(caught.value) for one in formats.FORMATS)


def test_an_unknown_name_and_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="did you mean perfetto"):
        formats.choose(Path("t.json"), "perfeto")
    with pytest.raises(InputError, match="compressed already"):
        formats.choose(Path("t.parquet.gz"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pyarrow.*pip install 'mlmodelscope\[export\]'"):
        formats.choose(Path("t.parquet"))
    assert formats.choose(Path("t.json")).name == "chrome"  # needs nothing


@pytest.mark.parametrize("format", formats.FORMATS, ids=lambda one: one.name)
def test_every_format_writes_a_file(timeline_of, tmp_path: Path, format: formats.Format) -> None:
    format.require()
    timeline = timeline_of({("n1", "worker", 0): [Span(1, 0, 2, "predict", 10**18, 5_000, 7)]})
    power = MetricsRecorded(
        evaluation_id="e",
        source="worker",
        batch=0,
        name="power",
        unit="watts",
        level="hardware",
        times_ns=[10**18],
        values=[3.0],
    )
    recording = Recording(timeline, [power])
    path = tmp_path / f"t{format.ending}"
    given = list(formats.write(recording, path, format))
    assert given and given[-1] == path.stat().st_size > 0
    if format.name != "parquet":
        packed = tmp_path / f"t{format.ending}.gz"
        list(formats.write(recording, packed, format))
        assert gzip.decompress(packed.read_bytes()) == path.read_bytes()


def test_a_file_that_cannot_be_written(timeline_of, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        list(formats.write(Recording(timeline_of({})), tmp_path, formats.BY_NAME["csv"]))


def test_a_file_of_samples_needs_some(timeline_of, tmp_path: Path) -> None:
    path = tmp_path / "t.metrics.otlp.json"
    with pytest.raises(InputError, match="no samples: evaluate with --trace system"):
        list(formats.write(Recording(timeline_of({})), path, formats.choose(path)))
    assert not path.exists()


def test_facts_say_whose_trace_it_joins(timeline_of) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    end = EvaluationFinished(evaluation_id="e", at_ns=0, jobs=[], traceparent=traceparent)
    assert recording_of(timeline_of({}), [end]).traceparent == traceparent
    assert recording_of(timeline_of({}), []).traceparent == ""
