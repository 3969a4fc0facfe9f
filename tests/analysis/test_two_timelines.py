"""Two timelines in one picture: B's first predict begins with A's, and nothing is lost."""

from __future__ import annotations

import json

from analysis.chrome_trace import chrome_trace
from analysis.recording import Recording
from analysis.two_timelines import both, first_predict_ns
from bus.messages import Clock, MetricsRecorded, Span

MODEL, LAYER = 2, 3


def recorded(timeline_of, start: int, client: bool = False) -> Recording:  # type: ignore[no-untyped-def]
    spans = [
        Span(1, 0, MODEL, "predict", start, 100, 7, tags={"query": 0}),
        Span(2, 0, LAYER, "conv", start + 10, 50, 7),
    ]
    sources = {("n1", "worker", 0): spans}
    if client:
        sources[("", "client", -1)] = [Span(3, 0, 1, "request", start - 500, 900)]
    metric = MetricsRecorded(
        evaluation_id="e", node_id="n1", source="node", batch=0, name="memory", unit="bytes",
        level="system", times_ns=[start], values=[1.0], clock=Clock(offset_ns=5),
    )  # fmt: skip
    return Recording(timeline=timeline_of(sources), metrics=[metric], model="M")


def test_both_begin_together(timeline_of) -> None:  # type: ignore[no-untyped-def]
    found = both(recorded(timeline_of, 1_000), recorded(timeline_of, 900_000, client=True))
    spans = {(s.source.split(" ")[0], s.name): s for s in found.timeline}
    assert len(found.timeline) == 5 and len({s.span_id for s in found.timeline}) == 5
    a, b = spans["A", "predict"], spans["B", "predict"]
    assert (a.start_ns, b.start_ns, b.duration_ns) == (1_000, 1_000, 100)
    assert spans["B", "request"].start_ns == 500
    for side, parent in (("A", a), ("B", b)):
        layer = spans[side, "conv"]
        assert layer.parent_id == parent.span_id and layer.start_ns == 1_010
    assert b.tags == {"query": 0}
    starts = found.timeline.start_ns.tolist()
    assert starts == sorted(starts)
    at_ns = [m.times_ns[0] + m.clock.offset_ns for m in found.metrics]
    assert at_ns == [1_005, 1_005] and [m.node_id for m in found.metrics] == ["A n1", "B n1"]


def test_each_has_its_own_processes(timeline_of) -> None:  # type: ignore[no-untyped-def]
    found = both(recorded(timeline_of, 1_000), recorded(timeline_of, 9_000, client=True))
    trace = json.loads(b"".join(chrome_trace(found.timeline, found.metrics)))
    named = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}
    assert named == {"A n1 worker", "B n1 worker", "B client", "metrics"}


def test_an_empty_one_is_put_beside(timeline_of) -> None:  # type: ignore[no-untyped-def]
    nothing = Recording(timeline=timeline_of({}))
    assert first_predict_ns(nothing.timeline) == 0
    assert len(both(recorded(timeline_of, 1_000), nothing).timeline) == 2
