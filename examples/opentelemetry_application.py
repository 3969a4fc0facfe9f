"""An application of yours that uses OpenTelemetry, and has a model evaluated within its own trace.

    pip install mlmodelscope opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    MLMS_OTLP_ALLOW=localhost mlmodelscope collector …      # the collector may send there
    OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 MLMS_BUS_URL=nats://… \
        python opentelemetry_application.py EfficientNet-Lite0

Its own spans go to the endpoint by OpenTelemetry's exporter, the evaluation's by the collector:
one trace, from this program's request down to the layers.
"""

import asyncio
import os
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import mlmodelscope

tracer = trace.get_tracer("examples")


async def choose_model(name: str) -> None:
    """What the application does: the client finds the active span by itself."""
    with tracer.start_as_current_span("choose model"):
        async with mlmodelscope.Client() as scope:
            evaluation = await scope.evaluate(
                name,
                runs=10,
                trace="framework",
                threads=1,
                otlp_endpoint=os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"],
            )
            result = await evaluation.result()
    print(result.model, result.latency[0].p50_ns, "ns")


provider = TracerProvider(resource=Resource.create({"service.name": "my-application"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
asyncio.run(choose_model(sys.argv[1]))
provider.shutdown()
