"""OTLP, read again by OpenTelemetry's own protobuf classes and by protobuf's JSON reader."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bus import codec
from bus.messages import Span, SpansRecorded
from collector.otlp import (
    PIECE,
    attributes,
    otlp_json,
    otlp_protobuf,
    otlp_requests,
    rejected_spans,
    trace_id,
)
from collector.timeline import Timeline, assemble

trace_pb2 = pytest.importorskip("opentelemetry.proto.trace.v1.trace_pb2")

EVALUATION = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EPOCH_NS = 1_700_000_000_000_000_000
TAGS = {
    "query": 3,
    "shape": [1, "x"],
    "cost": 0.5,
    "cached": True,
    "raw": b"\x00\xff",
    "in": {"a": 1},
}


def batch(number: int, source: str, node: str, *spans: Span) -> SpansRecorded:
    return SpansRecorded(
        evaluation_id=EVALUATION,
        source=source,
        node_id=node,
        batch=number,
        run=-1,
        levels={},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(spans),
    )


@pytest.fixture
def timeline() -> Timeline:
    return assemble(
        [
            batch(0, "client", "", Span(1, 0, 1, "evaluate", EPOCH_NS, 9_000, 1)),
            batch(
                1,
                "worker",
                "n1",
                Span(2**63 + 5, 1, 2, "predict", EPOCH_NS + 1, 2_003, 7, tags=TAGS),
                Span(3, 0, 4, "launch", EPOCH_NS + 2, 10, 7, correlation_id=8),
                Span(4, 0, 4, "kernel", EPOCH_NS + 5_000, 10, 70, correlation_id=8),
            ),
        ],
        [],
    )


def read(timeline: Timeline, traceparent: str = "") -> dict[str, dict[str, Any]]:
    """Span name -> the span, and the service it belongs to."""
    data = trace_pb2.TracesData.FromString(b"".join(otlp_protobuf(timeline, traceparent)))
    found = {}
    for resource in data.resource_spans:
        about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        for group in resource.scope_spans:
            assert group.scope.name == "mlmodelscope"
            for span in group.spans:
                found[span.name] = {"span": span, **about}
    return found


def test_without_a_caller_the_evaluation_is_the_trace(timeline: Timeline) -> None:
    found = read(timeline)
    spans = {name: one["span"] for name, one in found.items()}
    assert {span.trace_id.hex() for span in spans.values()} == {EVALUATION}
    assert spans["evaluate"].parent_span_id == b""
    assert spans["predict"].span_id.hex() == "8000000000000005"
    assert spans["predict"].parent_span_id.hex() == "0000000000000001"
    assert spans["predict"].start_time_unix_nano == EPOCH_NS + 1
    assert spans["predict"].end_time_unix_nano == EPOCH_NS + 2_004
    assert found["predict"]["service.name"] == "mlmodelscope-worker"
    assert found["predict"]["service.instance.id"] == "n1"
    assert found["evaluate"]["service.name"] == "mlmodelscope-client"


def test_with_a_caller_it_is_within_the_callers_span(timeline: Timeline) -> None:
    spans = {name: one["span"] for name, one in read(timeline, CALLER).items()}
    assert {span.trace_id.hex() for span in spans.values()} == {"0af7651916cd43dd8448eb211c80319c"}
    root = spans["evaluate"]
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    assert root.flags & trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    assert not spans["predict"].flags & trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    assert all(span.flags & 1 for span in spans.values())
    assert spans["predict"].parent_span_id == root.span_id


def test_a_traceparent_that_is_none_is_as_good_as_none(timeline: Timeline) -> None:
    assert read(timeline, "00-what-01")["evaluate"]["span"].trace_id.hex() == EVALUATION


def test_tags_keep_their_types(timeline: Timeline) -> None:
    pairs = {pair.key: pair.value for pair in read(timeline)["predict"]["span"].attributes}
    assert pairs["query"].int_value == 3 and pairs["cached"].bool_value
    assert pairs["cost"].double_value == 0.5 and pairs["raw"].bytes_value == b"\x00\xff"
    first, second = pairs["shape"].array_value.values
    assert (first.int_value, second.string_value) == (1, "x")
    assert pairs["in"].kvlist_value.values[0].value.int_value == 1
    assert pairs["mlmodelscope.level"].string_value == "model"
    assert pairs["thread.id"].int_value == 7


def test_work_is_linked_to_what_launched_it(timeline: Timeline) -> None:
    found = read(timeline)
    (link,) = found["kernel"]["span"].links
    assert link.span_id == found["launch"]["span"].span_id and not found["launch"]["span"].links


def test_json_says_the_same_as_protobuf(timeline: Timeline) -> None:
    """OTLP's JSON is protobuf's, but for ids: hexadecimal, where protobuf's has base64."""
    from google.protobuf import json_format

    text = b"".join(otlp_json(timeline, CALLER)).decode()
    assert text.count("\n") == 1 and text.endswith("\n")  # OTLP's file format: a line a message
    plain = json.loads(text)
    for resource in plain["resourceSpans"]:
        for span in (s for group in resource["scopeSpans"] for s in group["spans"]):
            for one in (span, *span.get("links", [])):
                for key in {"traceId", "spanId", "parentSpanId"} & set(one):
                    one[key] = base64.b64encode(bytes.fromhex(one[key])).decode()
    parsed = json_format.ParseDict(plain, trace_pb2.TracesData())
    wanted = trace_pb2.TracesData.FromString(b"".join(otlp_protobuf(timeline, CALLER)))
    assert parsed == wanted


def test_strange_values_survive() -> None:
    found = {
        pair["key"]: pair["value"]
        for pair in attributes(
            {"nan": float("nan"), "inf": float("-inf"), "big": 2**63, "no": None}
        )
    }
    assert found == {
        "nan": {"doubleValue": "NaN"},
        "inf": {"doubleValue": "-Infinity"},
        "big": {"stringValue": str(2**63)},
        "no": {},
    }


def test_large_ones_go_in_several_requests() -> None:
    count = 2 * PIECE + 1
    spans = [Span(i, 0, 2, "predict", EPOCH_NS + 10 * i, 5, 7) for i in range(1, count + 1)]
    requests = list(otlp_requests(assemble([batch(0, "worker", "n1", *spans)], [])))
    assert [spans for spans, _ in requests] == [PIECE, PIECE, 1]
    whole = trace_pb2.TracesData.FromString(b"".join(body for _, body in requests))
    assert sum(len(r.scope_spans[0].spans) for r in whole.resource_spans) == count


def test_nothing_is_still_otlp() -> None:
    nothing = assemble([], [])
    assert json.loads(b"".join(otlp_json(nothing))) == {"resourceSpans": []}
    assert b"".join(otlp_protobuf(nothing)) == b""


def test_what_a_receiver_did_not_take() -> None:
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

    answer = service.ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    assert rejected_spans(answer.SerializeToString()) == 3
    assert rejected_spans(b"") == rejected_spans(b"<html>") == 0


@pytest.mark.parametrize("evaluation_id", ["", "short", "0" * 32, "g" * 32])
def test_an_id_that_is_no_trace_id_becomes_one(evaluation_id: str) -> None:
    made = trace_id(evaluation_id)
    assert len(made) == 32 and int(made, 16) and made == trace_id(evaluation_id)
