"""A program's own spans and samples, from `with evaluation.span(…)` to timeline and trace."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from analysis.chrome_trace import chrome_trace
from bus.errors import InputError
from collector.timeline import PlacedSpan, Timeline
from mlmodelscope import Client

MODEL = "EfficientNet-Lite0"


async def timeline_with(evaluation, names: set[str]) -> Timeline:  # type: ignore[no-untyped-def]
    """The timeline once the collector has these: what comes after the end is not waited for."""
    async with asyncio.timeout(20):
        while True:
            timeline = await evaluation.timeline()
            if names <= {span.name for span in timeline}:
                return timeline
            await asyncio.sleep(0.05)


async def test_from_the_program_to_the_timeline(home: Path) -> None:
    async with Client.local(home) as scope:
        evaluation = await scope.evaluate(MODEL, runs=3, threads=1)
        queue = evaluation.metric("queue_length", unit="requests")
        with evaluation.span("shop", cost_usd=0.1, tries=np.int64(3), where={"aisle": [1, 2]}) as t:
            queue.record(4)
            await asyncio.gather(*(step(evaluation, name) for name in ("left", "right")))
            with pytest.raises(ZeroDivisionError), evaluation.span("broken"):
                1 / 0  # noqa: B018
            t["found"] = True
            queue.record(2.5)
        with evaluation.span("too deep", level="library"):
            pass
        evaluation.add_span("stage", 1_000, 500, clock="simulator", cycle=7)
        await evaluation.result()
        timeline = await timeline_with(evaluation, {"evaluate", "shop", "stage"})
        check_spans({span.name: span for span in timeline})
        assert timeline.complete, timeline.missing
        assert timeline.error_ns >= 0  # every clock of this evaluation was measured
        own = dict(zip(timeline.sources, timeline.errors_ns, strict=True))
        assert own.pop("client@simulator/user/-1") == -1 and min(own.values()) >= 0

        _, _, metrics = await scope.stored(evaluation.evaluation_id)
        (samples,) = [m for m in metrics if m.name == "queue_length"]
        assert (samples.values, samples.unit, samples.source) == ([4, 2.5], "requests", "user")
        check_trace(json.loads(b"".join(chrome_trace(timeline, metrics))))

        with evaluation.span("after the end"):  # it makes the collector assemble again
            pass
        later = await timeline_with(evaluation, {"after the end"})
        assert len(later) == len(timeline) + 1


async def step(evaluation, name: str) -> None:  # type: ignore[no-untyped-def]
    with evaluation.span(name):
        await asyncio.sleep(0.005)
        with evaluation.span(f"{name} inner"):
            await asyncio.sleep(0.005)


def check_spans(spans: dict[str, PlacedSpan]) -> None:
    """Each task's spans are below its own; tags have the types that they were given with."""
    ids = {name: span.span_id for name, span in spans.items()}
    assert "too deep" not in ids  # the evaluation looks no deeper than its model
    assert spans["shop"].parent_id == ids["evaluate"]
    for name in ("left", "right", "broken"):
        assert spans[name].parent_id == ids["shop"]
    assert spans["left inner"].parent_id == ids["left"]
    assert spans["right inner"].parent_id == ids["right"]
    where = {"aisle": [1, 2]}
    assert spans["shop"].tags == {"cost_usd": 0.1, "tries": 3, "where": where, "found": True}
    assert type(spans["shop"].tags["tries"]) is int
    assert spans["broken"].tags == {"error": "ZeroDivisionError"}
    assert spans["stage"].source == "client@simulator/user/-1" and not spans["stage"].parent_id
    assert (spans["stage"].duration_ns, spans["stage"].tags) == (500, {"cycle": 7})


def check_trace(trace: dict) -> None:  # type: ignore[type-arg]
    events = {event["name"]: event for event in trace["traceEvents"] if event["ph"] == "X"}
    assert events["shop"]["args"]["cost_usd"] == 0.1
    processes = {
        e["pid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"
    }
    assert processes[events["shop"]["pid"]] == "client user"
    assert processes[events["stage"]["pid"]] == "client@simulator user"
    counters = [e for e in trace["traceEvents"] if e["ph"] == "C"]
    seen = [e["args"]["requests"] for e in counters if e["name"] == "queue_length (requests)"]
    assert seen == [4, 2.5]


async def test_what_cannot_travel_is_refused_where_it_is_given(home: Path) -> None:
    async with Client.local(home) as scope:
        evaluation = await scope.evaluate(MODEL, runs=1, threads=1)
        with pytest.raises(InputError, match="tag handle is a object"):
            evaluation.span("step", handle=object()).__enter__()
        with pytest.raises(InputError, match="level 'deep'; expected one of application"):
            evaluation.span("step", level="deep").__enter__()  # type: ignore[arg-type]
        with pytest.raises(InputError, match="metric m: expected a number, got 'x'"):
            evaluation.metric("m").record("x")  # type: ignore[arg-type]
        with evaluation.span("late") as tags:
            tags["handle"] = 1 + 2j  # put in later: shown as Python shows it, never in the way
        await evaluation.result()
        timeline = await timeline_with(evaluation, {"late"})
        (late,) = [span for span in timeline if span.name == "late"]
        assert late.tags == {"handle": "(1+2j)"}
