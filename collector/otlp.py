"""A timeline as OTLP: JSON or protobuf, piece by piece, inside the trace of whoever asked.

https://opentelemetry.io/docs/specs/otlp. An OTLP span's id is our span's; its trace is the
caller's, where the request carried a traceparent, else the evaluation itself.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from bus.caller_trace import CallersSpan, read_traceparent
from bus.errors import InputError
from bus.messages import LEVELS
from collector.timeline import PlacedSpan, Timeline

PIECE = 1000
"""Spans in one piece: about 500 KB."""
INTERNAL = 1
HAS_IS_REMOTE, IS_REMOTE, SAMPLED = 0x100, 0x200, 0x01

Plain = dict[str, Any]
_encode = msgspec.json.Encoder().encode


def otlp_json(timeline: Timeline, traceparent: str = "") -> Iterator[bytes]:
    """One TracesData object on one line, as OTLP's file format wants it."""
    yield b'{"resourceSpans":['
    separator = b""
    for piece in resource_spans(timeline, traceparent):
        yield separator + b",".join(map(_encode, piece))
        separator = b","
    yield b"]}\n"


def otlp_protobuf(timeline: Timeline, traceparent: str = "") -> Iterator[bytes]:
    """Messages of type TracesData; one after the other they are one TracesData too."""
    for _, piece in otlp_requests(timeline, traceparent):
        yield piece


def otlp_requests(timeline: Timeline, traceparent: str = "") -> Iterator[tuple[int, bytes]]:
    """The bodies of requests that send a timeline, each with how many spans it holds."""
    for piece in resource_spans(timeline, traceparent):
        spans = sum(len(group["spans"]) for one in piece for group in one["scopeSpans"])
        yield spans, to_protobuf(piece)


def rejected_spans(answer: bytes) -> int:
    """How many spans the receiver says it did not take; 0 where it says nothing readable."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        found = ExportTraceServiceResponse.FromString(answer)
    except DecodeError:
        return 0
    return int(found.partial_success.rejected_spans)


def resource_spans(timeline: Timeline, traceparent: str = "") -> Iterator[list[Plain]]:
    """ResourceSpans in OTLP's JSON form: one a machine and role, about 1,000 spans at a time."""
    trace = _Trace(timeline, read_traceparent(traceparent))
    grouped: dict[str, list[Plain]] = {}
    for number, span in enumerate(timeline.spans(), 1):
        grouped.setdefault(span.source.rsplit("/", 1)[0], []).append(trace.span(span))
        if number % PIECE == 0:
            yield trace.resources(grouped)
            grouped = {}
    if grouped:
        yield trace.resources(grouped)


class _Trace:
    """What all spans of one export share, and what launched which work."""

    def __init__(self, timeline: Timeline, caller: CallersSpan | None) -> None:
        self._timeline, self._caller = timeline, caller
        self.trace_id = caller.trace_id if caller else trace_id(timeline.evaluation_id)
        self._sampled = SAMPLED if caller is None or caller.sampled else 0
        self._launches: dict[tuple[str, int], str] = {}

    def span(self, span: PlacedSpan) -> Plain:
        """One span in OTLP's JSON form."""
        span_id, start_ns = f"{span.span_id:016x}", max(span.start_ns, 0)
        plain: Plain = {
            "traceId": self.trace_id,
            "spanId": span_id,
            "flags": self._sampled | HAS_IS_REMOTE,
            "name": span.name,
            "kind": INTERNAL,
            "startTimeUnixNano": str(start_ns),
            "endTimeUnixNano": str(start_ns + span.duration_ns),
            "attributes": attributes({**span.tags, **_own_tags(span)}),
        }
        if span.parent_id:
            plain["parentSpanId"] = f"{span.parent_id:016x}"
        elif self._caller:
            plain["parentSpanId"] = self._caller.span_id
            plain["flags"] |= IS_REMOTE
        if span.correlation_id:
            machine = span.source.rsplit("/", 2)[0]
            launch = self._launches.setdefault((machine, span.correlation_id), span_id)
            if launch != span_id:
                plain["links"] = [{"traceId": self.trace_id, "spanId": launch}]
        return plain

    def resources(self, grouped: dict[str, list[Plain]]) -> list[Plain]:
        """Spans by "<machine>/<role>", each group below the service that recorded it."""
        made = []
        for place, spans in grouped.items():
            machine, role = place.rsplit("/", 1)
            service = service_of(machine, role)
            scope_spans = {"scope": self._scope(), "spans": spans}
            made.append(
                {"resource": {"attributes": attributes(service)}, "scopeSpans": [scope_spans]}
            )
        return made

    def _scope(self) -> Plain:
        timeline = self._timeline
        record = {
            "mlmodelscope.evaluation_id": timeline.evaluation_id,
            "mlmodelscope.complete": timeline.complete,
            "mlmodelscope.missing": timeline.missing,
            "mlmodelscope.lost": timeline.lost,
            "mlmodelscope.clock_reference": timeline.reference,
            "mlmodelscope.clock_error_ns": timeline.error_ns,
        }
        return {"name": "mlmodelscope", "attributes": attributes(record)}


def service_of(machine: str, role: str) -> Plain:
    """The attributes of the service that recorded something."""
    return {
        "service.name": f"mlmodelscope-{role}",
        "service.namespace": "mlmodelscope",
        "service.instance.id": machine,
    }


def trace_id(evaluation_id: str) -> str:
    """The trace of an evaluation that nobody's trace encloses: its id is one already."""
    try:
        if len(evaluation_id) == 32 and int(evaluation_id, 16):
            return evaluation_id.lower()
    except ValueError:
        pass
    return sha256(evaluation_id.encode()).hexdigest()[:32]


def _own_tags(span: PlacedSpan) -> Plain:
    tags: Plain = {"mlmodelscope.level": LEVELS[span.level], "mlmodelscope.run": span.run}
    if span.thread:
        tags["thread.id"] = span.thread
    if span.ambiguous:
        tags["mlmodelscope.ambiguous"] = True
    return tags


def attributes(tags: Plain) -> list[Plain]:
    """Tags as OTLP's KeyValues."""
    return [{"key": str(key), "value": _value(value)} for key, value in tags.items()]


def _value(value: Any) -> Plain:
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int() if -(2**63) <= value < 2**63:
            return {"intValue": str(value)}
        case float() if math.isfinite(value):
            return {"doubleValue": value}
        case float():  # JSON has no such numbers: these are proto3's names for them
            return {"doubleValue": {"nan": "NaN", "inf": "Infinity"}.get(str(value), "-Infinity")}
        case bytes():
            return {"bytesValue": b64encode(value).decode()}
        case list() | tuple():
            return {"arrayValue": {"values": [_value(one) for one in value]}}
        case dict():
            return {"kvlistValue": {"values": attributes(value)}}
    return {"stringValue": str(value)}


# ---------------------------------------------------------------- protobuf


def require_protobuf() -> None:
    """Raise InputError when the package that knows OTLP's protobuf is not installed."""
    try:
        import opentelemetry.proto.trace.v1.trace_pb2  # noqa: F401
    except ImportError as exc:
        raise InputError(
            "pushing OTLP (MLMS_OTLP_ENDPOINT, MLMS_OTLP_ALLOW) needs the package "
            "opentelemetry-proto: pip install 'mlmodelscope[otlp]'"
        ) from exc


def to_protobuf(resource_spans: list[Plain]) -> bytes:
    """ResourceSpans as a TracesData message, which is an ExportTraceServiceRequest too."""
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    made: list[Any] = [
        {
            "resource": {"attributes": _pairs(one["resource"]["attributes"])},
            "scope_spans": [
                {
                    "scope": {
                        "name": group["scope"]["name"],
                        "attributes": _pairs(group["scope"]["attributes"]),
                    },
                    "spans": [_fields(span) for span in group["spans"]],
                }
                for group in one["scopeSpans"]
            ],
        }
        for one in resource_spans
    ]
    return bytes(TracesData(resource_spans=made).SerializeToString())


def _fields(span: Plain) -> Plain:
    """A span as protobuf's fields."""
    fields = {
        "trace_id": bytes.fromhex(span["traceId"]),
        "span_id": bytes.fromhex(span["spanId"]),
        "parent_span_id": bytes.fromhex(span.get("parentSpanId", "")),
        "flags": span["flags"],
        "name": span["name"],
        "kind": span["kind"],
        "start_time_unix_nano": int(span["startTimeUnixNano"]),
        "end_time_unix_nano": int(span["endTimeUnixNano"]),
        "attributes": _pairs(span["attributes"]),
    }
    if "links" in span:
        fields["links"] = [
            {"trace_id": bytes.fromhex(one["traceId"]), "span_id": bytes.fromhex(one["spanId"])}
            for one in span["links"]
        ]
    return fields


def _pairs(plain: list[Plain]) -> list[Plain]:
    return [{"key": pair["key"], "value": _field(pair["value"])} for pair in plain]


def _field(plain: Plain) -> Plain:
    for kind, value in plain.items():
        match kind:
            case "stringValue":
                return {"string_value": value}
            case "intValue":
                return {"int_value": int(value)}
            case "doubleValue":
                return {"double_value": float(value)}
            case "boolValue":
                return {"bool_value": value}
            case "bytesValue":
                return {"bytes_value": b64decode(value)}
            case "arrayValue":
                return {"array_value": {"values": [_field(one) for one in value["values"]]}}
            case "kvlistValue":
                return {"kvlist_value": {"values": _pairs(value["values"])}}
    return {}
