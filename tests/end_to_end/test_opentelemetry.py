"""A real OpenTelemetry application asks for an evaluation: one trace holds its spans and ours."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")

APPLICATION = Path(__file__).parents[2] / "examples" / "opentelemetry_application.py"


async def test_our_spans_are_within_the_applications(
    fleet, otlp_receiver, eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLMS_OTLP_ALLOW", "127.0.0.1")
    collector = fleet.start("collector")
    for process in (collector, fleet.start("coordinator"), fleet.start("node", "--id", "node-1")):
        process.wait_until_ready()
    done = await asyncio.create_subprocess_exec(
        sys.executable,
        str(APPLICATION),
        "EfficientNet-Lite0",
        env=os.environ
        | {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp_receiver.url, "MLMS_BUS_URL": fleet.bus_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await done.communicate()
    assert done.returncode == 0, complained.decode()
    assert said.startswith(b"EfficientNet-Lite0 ")

    def status() -> dict[str, int]:
        return json.loads(collector.get("/status"))["counters"]

    async def sent() -> int:
        return (await asyncio.to_thread(status)).get("otlp_sent", 0)

    await eventually(sent, 20.0, "the collector has pushed the timeline")
    services = otlp_receiver.services
    (theirs,) = [s for s in otlp_receiver.spans if s.name == "choose model"]
    assert services[theirs.span_id] == "my-application"
    ours = [s for s in otlp_receiver.spans if s is not theirs]
    assert {s.trace_id for s in ours} == {theirs.trace_id}
    (root,) = [s for s in ours if s.parent_span_id == theirs.span_id]
    assert (root.name, services[root.span_id]) == ("evaluate", "mlmodelscope-client")

    # Every one of ours leads up to the application's span, the layers too.
    parents = {s.span_id: s.parent_span_id for s in ours}
    for span_id in parents:
        while span_id in parents:
            span_id = parents[span_id]
        assert span_id == theirs.span_id
    levels = [
        pair.value.string_value
        for s in ours
        for pair in s.attributes
        if pair.key == "mlmodelscope.level"
    ]
    assert levels.count("model") == 20 and levels.count("framework") >= 10 * 50
    named = {services[s.span_id] for s in ours}
    assert {"mlmodelscope-coordinator", "mlmodelscope-node", "mlmodelscope-worker"} < named
    assert (await asyncio.to_thread(status))["otlp_spans_sent"] == len(ours)
