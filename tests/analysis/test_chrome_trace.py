"""A Chrome trace: JSON that nests on every thread, with times that keep their nanoseconds."""

from __future__ import annotations

import json
from typing import Any

from analysis.chrome_trace import chrome_trace
from bus import codec
from bus.messages import MetricsRecorded, Span, SpansRecorded
from collector.timeline import Timeline, assemble

EPOCH_NS = 1_700_000_000_000_000_000


def timeline_of(*spans: Span) -> Timeline:
    batch = SpansRecorded(
        evaluation_id="e1",
        source="worker",
        node_id="n1",
        batch=0,
        run=0,
        levels={},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(spans),
    )
    return assemble([batch], [])


def events(timeline: Timeline, phase: str, *metrics: MetricsRecorded) -> list[dict[str, Any]]:
    trace = json.loads(b"".join(chrome_trace(timeline, metrics)))
    return [event for event in trace["traceEvents"] if event["ph"] == phase]


def test_times_ids_and_tags() -> None:
    big = 2**63 + 5
    timeline = timeline_of(
        Span(big, 0, 2, "predict", EPOCH_NS, 2_001, tags={"query": 0}),
        Span(7, 0, 3, "conv", EPOCH_NS + 1_001, 1_000),
    )
    predict, conv = events(timeline, "X")
    assert (predict["ts"], predict["dur"], conv["ts"], conv["dur"]) == (0.0, 2.001, 1.001, 1.0)
    assert predict["args"]["span_id"] == conv["args"]["parent_id"] == "8000000000000005"
    assert predict["args"]["query"] == 0 and conv["cat"] == "framework"
    assert predict["tid"] == conv["tid"]


def test_what_overlaps_has_a_lane_of_its_own() -> None:
    spans = [Span(i, 0, 3, f"s{i}", 10 * i, 15) for i in range(1, 6)]
    timeline = timeline_of(Span(9, 0, 2, "predict", 0, 100), *spans)
    by_tid: dict[int, list[tuple[float, float]]] = {}
    for event in events(timeline, "X"):
        by_tid.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert len(by_tid) == 2
    for intervals in by_tid.values():
        for a, b in ((a, b) for a in intervals for b in intervals):
            assert not a[0] < b[0] < a[1] < b[1]


def test_an_arrow_leads_from_a_launch_to_each_of_its_works() -> None:
    """Even where the device's clock is ahead: its work seems to begin before the launch."""
    timeline = timeline_of(
        Span(1, 0, 2, "predict", 0, 1_000, 7),
        Span(2, 0, 4, "early", 90, 20, -1, correlation_id=5),
        Span(3, 0, 4, "launch", 100, 50, 7, correlation_id=5),
        Span(4, 0, 4, "late", 1_200, 20, -1, correlation_id=5),
        Span(6, 0, 4, "alone", 300, 20, 7, correlation_id=6),
    )
    slices = {event["args"]["span_id"]: event for event in events(timeline, "X")}
    begins = {event["id"]: event for event in events(timeline, "s")}
    ends = {event["id"]: event for event in events(timeline, "f")}
    assert set(begins) == set(ends) == {f"{number:016x}" for number in (2, 4)}
    for number, end in ends.items():
        begin, launch, work = begins[number], slices[f"{3:016x}"], slices[number]
        assert [begin[key] for key in ("ts", "tid")] == [launch[key] for key in ("ts", "tid")]
        assert [end[key] for key in ("ts", "tid")] == [work[key] for key in ("ts", "tid")]
        assert end["bp"] == "e" and begin["cat"] == end["cat"] and begin["name"] == end["name"]


def test_metrics_are_counters() -> None:
    metric = MetricsRecorded(
        evaluation_id="e1",
        source="node",
        batch=0,
        name="rss",
        unit="bytes",
        level="system",
        times_ns=[EPOCH_NS + 5_000],
        values=[3.0],
    )
    timeline = timeline_of(Span(1, 0, 2, "predict", EPOCH_NS, 10_000))
    (counter,) = events(timeline, "C", metric)
    assert counter["ts"] == 5.0 and list(counter["args"].values()) == [3.0]


def test_nothing_is_still_a_trace() -> None:
    assert events(timeline_of(), "X") == []
