"""Sampled quantities as OTLP metrics: a gauge each, JSON or protobuf.

https://opentelemetry.io/docs/specs/otel/metrics/data-model/#gauge. A point's attributes say the
level, the run and the trace that it was taken beside; times are those of the reference clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bus.caller_trace import read_traceparent
from bus.messages import MetricsRecorded
from collector.otlp import attributes, service_of, trace_id

POINTS = 5_000
"""In one piece: about 1 MB."""
UNITS = {"bytes": "By", "percent": "%", "watts": "W", "joules": "J", "seconds": "s", "ns": "ns"}
"""As UCUM writes them, which OTLP wants; a thing that is counted stands in braces."""

Plain = dict[str, Any]
_encode = msgspec.json.Encoder().encode


def otlp_metrics_json(metrics: Sequence[MetricsRecorded], traceparent: str = "") -> Iterator[bytes]:
    """One MetricsData object on one line, as OTLP's file format wants it."""
    yield b'{"resourceMetrics":['
    separator = b""
    for piece in resource_metrics(metrics, traceparent):
        yield separator + _encode(piece)
        separator = b","
    yield b"]}\n"


def otlp_metrics_protobuf(
    metrics: Sequence[MetricsRecorded], traceparent: str = ""
) -> Iterator[bytes]:
    """Messages of type MetricsData, which are requests too; one after the other they are one."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

    for piece in resource_metrics(metrics, traceparent):
        yield ParseDict({"resourceMetrics": [piece]}, MetricsData()).SerializeToString()


def resource_metrics(metrics: Sequence[MetricsRecorded], traceparent: str = "") -> Iterator[Plain]:
    """ResourceMetrics in OTLP's JSON form, at most POINTS points each."""
    caller = read_traceparent(traceparent)
    for metric in metrics:
        trace = caller.trace_id if caller else trace_id(metric.evaluation_id)
        about = attributes(
            {
                "mlmodelscope.evaluation_id": metric.evaluation_id,
                "mlmodelscope.level": metric.level,
                "mlmodelscope.run": metric.run,
                "trace_id": trace,
            }
        )
        service = service_of(metric.node_id or metric.source, metric.source)
        for first in range(0, len(metric.values), POINTS):
            part = slice(first, first + POINTS)
            shift_ns = metric.clock.offset_ns
            points = [
                {
                    "timeUnixNano": str(max(at_ns + shift_ns, 0)),
                    "asDouble": float(value),
                    "attributes": about,
                }
                for at_ns, value in zip(metric.times_ns[part], metric.values[part], strict=True)
                if value - value == 0  # a value that is no number is none
            ]
            gauge = {
                "name": metric.name,
                "unit": UNITS.get(metric.unit, f"{{{metric.unit}}}"),
                "gauge": {"dataPoints": points},
            }
            yield {
                "resource": {"attributes": attributes(service)},
                "scopeMetrics": [{"scope": {"name": "mlmodelscope"}, "metrics": [gauge]}],
            }
