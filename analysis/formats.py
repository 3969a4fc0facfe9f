"""Which format a timeline's file has: chosen by its ending, or by name."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.chrome_trace import chrome_trace
from analysis.folded import folded
from analysis.perfetto_trace import perfetto_trace
from analysis.recording import Recording
from analysis.span_csv import span_csv
from analysis.span_parquet import span_parquet
from bus.errors import InputError, UnknownNameError
from collector.otlp import otlp_json, otlp_protobuf
from collector.otlp_metrics import otlp_metrics_json, otlp_metrics_protobuf

Pieces = Iterator[bytes]
SAMPLES = "otlp-metrics"
"""How the formats begin that hold samples and no spans."""


@dataclass(frozen=True)
class Format:
    """A format: its name, the ending of its files, how it is written, who opens it, what it needs.

    Files of every format but Parquet may end in `.gz` too, and are compressed then.
    """

    name: str
    ending: str
    write: Callable[[Recording], Pieces]
    opens: str
    module: str = ""
    package: str = ""

    @property
    def installed(self) -> bool:
        """Whether the package that writes this is there."""
        return not self.module or _installed(self.module)

    def require(self) -> None:
        """Raise InputError where the package that writes this is not installed."""
        if not self.installed:
            raise InputError(
                f"a timeline as {self.ending} needs the package {self.package}: "
                "pip install 'mlmodelscope[export]'"
            )


def _chrome(recording: Recording) -> Pieces:
    return chrome_trace(recording.timeline, recording.metrics)


def _otlp_json(recording: Recording) -> Pieces:
    return otlp_json(recording.timeline, recording.traceparent)


def _otlp_protobuf(recording: Recording) -> Pieces:
    return otlp_protobuf(recording.timeline, recording.traceparent)


def _otlp_metrics_json(recording: Recording) -> Pieces:
    return otlp_metrics_json(recording.metrics, recording.traceparent)


def _otlp_metrics_protobuf(recording: Recording) -> Pieces:
    return otlp_metrics_protobuf(recording.metrics, recording.traceparent)


FORMATS = (
    # An ending that is part of another's stands after it.
    Format(
        "otlp-metrics-json", ".metrics.otlp.json", _otlp_metrics_json, "OpenTelemetry collectors"
    ),
    Format(
        "otlp-metrics",
        ".metrics.otlp.pb",
        _otlp_metrics_protobuf,
        "what reads OTLP's protobuf",
        "opentelemetry.proto.metrics.v1.metrics_pb2",
        "opentelemetry-proto",
    ),
    Format("otlp-json", ".otlp.json", _otlp_json, "Jaeger, OpenTelemetry collectors"),
    Format(
        "otlp",
        ".otlp.pb",
        _otlp_protobuf,
        "what reads OTLP's protobuf",
        "opentelemetry.proto.trace.v1.trace_pb2",
        "opentelemetry-proto",
    ),
    Format("chrome", ".json", _chrome, "Perfetto, chrome://tracing"),
    Format("perfetto", ".pftrace", perfetto_trace, "Perfetto", "perfetto", "perfetto"),
    Format("csv", ".csv", span_csv, "spreadsheets, pandas"),
    Format("parquet", ".parquet", span_parquet, "pandas, DuckDB, Spark", "pyarrow", "pyarrow"),
    Format("folded", ".folded", folded, "speedscope, flamegraph.pl, inferno"),
)
BY_NAME = {one.name: one for one in FORMATS}


def choose(path: Path, name: str = "") -> Format:
    """The format of a file: the one named, or else by the file's ending.

    Raises InputError listing the formats, and where the format needs a package that is missing.
    """
    if name and name not in BY_NAME:
        raise UnknownNameError("format", name, list(BY_NAME))
    found = BY_NAME.get(name) or _by_ending(path)
    if found.name == "parquet" and path.suffix == ".gz":
        raise InputError(f"{path}: Parquet is compressed already: expected .parquet")
    found.require()
    return found


def pieces(recording: Recording, format: Format) -> Pieces:
    """The file's bytes, one after the other; InputError where it would hold nothing."""
    if format.name.startswith(SAMPLES) and not recording.metrics:
        raise InputError(
            "this evaluation has no samples: evaluate with --trace system or deeper, "
            "or write its spans (.otlp.json)"
        )
    return format.write(recording)


def write(recording: Recording, path: Path, format: Format) -> Iterator[int]:
    """Write a file; how many bytes it has been given so far, again and again.

    Raises InputError where the file cannot be written, or would hold nothing.
    """
    opener: Any = gzip.open if path.suffix == ".gz" else open
    given, content = 0, pieces(recording, format)
    try:
        with opener(path, "wb") as file:
            for piece in content:
                file.write(piece)
                given += len(piece)
                yield given
    except OSError as exc:
        raise InputError(f"cannot write {path}: {exc.strerror}") from exc


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # not even what it is a part of


def _by_ending(path: Path) -> Format:
    name = path.name.removesuffix(".gz")
    for one in FORMATS:
        if name.endswith(one.ending):
            return one
    known = ", ".join(f"{one.ending} ({one.name})" for one in FORMATS)
    raise InputError(
        f"{path}: no format has this ending: expected one of {known}, "
        "all but Parquet also with .gz; or name one with --format"
    )
