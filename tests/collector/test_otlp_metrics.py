"""Samples as OTLP, read again by OpenTelemetry's protobuf classes and protobuf's JSON reader."""

from __future__ import annotations

import json

import pytest

from bus.messages import Clock, MetricsRecorded
from collector.otlp_metrics import POINTS, otlp_metrics_json, otlp_metrics_protobuf

metrics_pb2 = pytest.importorskip("opentelemetry.proto.metrics.v1.metrics_pb2")

EVALUATION = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def batch(**changes: object) -> MetricsRecorded:
    given = {
        "evaluation_id": EVALUATION,
        "node_id": "n1",
        "source": "worker",
        "batch": 0,
        "run": 2,
        "name": "power.package-0",
        "unit": "watts",
        "level": "hardware",
        "times_ns": [1_000, 2_000, 3_000],
        "values": [31.5, float("nan"), -0.25],
        "clock": Clock(offset_ns=7, error_ns=1, reference="c"),
    }
    return MetricsRecorded(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("traceparent", ["", CALLER])
def test_a_quantity_is_a_gauge(traceparent: str) -> None:
    data = b"".join(otlp_metrics_protobuf([batch()], traceparent))
    read = metrics_pb2.MetricsData.FromString(data)
    (resource,) = read.resource_metrics
    about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert about["service.name"] == "mlmodelscope-worker" and about["service.instance.id"] == "n1"
    (metric,) = resource.scope_metrics[0].metrics
    assert (metric.name, metric.unit) == ("power.package-0", "W")
    points = metric.gauge.data_points
    assert [(p.time_unix_nano, p.as_double) for p in points] == [(1_007, 31.5), (3_007, -0.25)]
    tags = {pair.key: pair.value for pair in points[0].attributes}
    assert tags["mlmodelscope.run"].int_value == 2
    assert tags["mlmodelscope.level"].string_value == "hardware"
    expected = CALLER.split("-")[1] if traceparent else EVALUATION
    assert tags["trace_id"].string_value == expected


def test_the_json_is_the_same_metrics() -> None:
    from google.protobuf.json_format import Parse

    metrics = [batch(), batch(name="resident", unit="pages", batch=1)]
    text = b"".join(otlp_metrics_json(metrics))
    assert text.count(b"\n") == 1
    read = Parse(text, metrics_pb2.MetricsData())
    assert read == metrics_pb2.MetricsData.FromString(b"".join(otlp_metrics_protobuf(metrics)))
    assert read.resource_metrics[1].scope_metrics[0].metrics[0].unit == "{pages}"


def test_many_go_in_pieces_and_none_is_still_otlp() -> None:
    count = POINTS + 1
    large = batch(times_ns=list(range(count)), values=[1.0] * count)
    pieces = [metrics_pb2.MetricsData.FromString(p) for p in otlp_metrics_protobuf([large])]
    points = [p.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points for p in pieces]
    assert [len(each) for each in points] == [POINTS, 1]
    assert json.loads(b"".join(otlp_metrics_json([]))) == {"resourceMetrics": []}
