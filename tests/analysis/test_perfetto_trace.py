"""A Perfetto trace, read again by Perfetto's own protobuf classes."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.perfetto_trace import PIECE, perfetto_trace
from analysis.recording import Recording, recording_of
from bus.messages import Clock, JobFinished, MetricsRecorded, Span

pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")

EPOCH_NS = 1_700_000_000_000_000_000
BEGIN, END, INSTANT, COUNTER = (
    pb2.TrackEvent.TYPE_SLICE_BEGIN,
    pb2.TrackEvent.TYPE_SLICE_END,
    pb2.TrackEvent.TYPE_INSTANT,
    pb2.TrackEvent.TYPE_COUNTER,
)


class Read:
    """A trace as a viewer reads it: interned texts put back, slices closed by their ends."""

    def __init__(self, recording: Recording) -> None:
        self.packets = pb2.Trace.FromString(b"".join(perfetto_trace(recording))).packet
        self.tracks: dict[int, Any] = {}
        self.slices: list[dict[str, Any]] = []
        self.samples: list[tuple[str, int, float]] = []
        texts: dict[tuple[str, int], str] = {}
        stacks: dict[int, list[dict[str, Any]]] = {}
        for packet in self.packets:
            for table in ("event_names", "event_categories", "debug_annotation_names"):
                for told in getattr(packet.interned_data, table):
                    assert texts.setdefault((table, told.iid), told.name) == told.name
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            if not packet.HasField("track_event"):
                continue
            event, at_ns = packet.track_event, packet.timestamp
            assert event.track_uuid in self.tracks, "a track is described before it is used"
            args = {texts["debug_annotation_names", a.name_iid]: a for a in event.debug_annotations}
            name = texts.get(("event_names", event.name_iid), event.name)
            if event.type == BEGIN:
                made = {
                    "name": name,
                    "start": at_ns,
                    "track": event.track_uuid,
                    "category": [texts["event_categories", i] for i in event.category_iids],
                    "args": args,
                    "flows": list(event.flow_ids),
                }
                stacks.setdefault(event.track_uuid, []).append(made)
                self.slices.append(made)
            elif event.type == END:
                made = stacks[event.track_uuid].pop()
                made["dur"] = at_ns - made["start"]
            elif event.type == COUNTER:
                track = self.tracks[event.track_uuid]
                self.samples.append((track.name, at_ns, event.double_counter_value))
        assert not any(stacks.values()), "every slice ends"

    def process(self, one: dict[str, Any]) -> str:
        track = self.tracks[one["track"]]
        return str(self.tracks[track.parent_uuid].process.process_name)


def test_spans_levels_tags_and_ids(timeline_of) -> None:
    tags = {"query": 3, "shape": [1, 3], "cost": 0.5, "cached": True, "why": {"it": "is"}}
    timeline = timeline_of(
        {
            ("", "client", -1): [Span(1, 0, 1, "evaluate", EPOCH_NS, 9_000, thread=1)],
            ("n1", "worker", 0): [
                Span(2**63 + 5, 1, 2, "predict", EPOCH_NS + 1_001, 2_003, 7, tags=tags),
                Span(3, 0, 3, "conv", EPOCH_NS + 1_001, 1_000, 7),
                Span(4, 0, 3, "conv", EPOCH_NS + 2_001, 1_003, 7),
            ],
        }
    )
    read = Read(Recording(timeline))
    found = [(s["name"], s["category"], s["start"] - EPOCH_NS, s["dur"]) for s in read.slices]
    assert found == [
        ("evaluate", ["application"], 0, 9_000),
        ("predict", ["model"], 1_001, 2_003),
        ("conv", ["framework"], 1_001, 1_000),
        ("conv", ["framework"], 2_001, 1_003),
    ]
    evaluate, predict, conv, _ = read.slices
    assert (read.process(evaluate), read.process(predict)) == ("client", "n1 worker")
    assert predict["track"] == conv["track"]
    assert conv["args"]["parent_id"].string_value == "8000000000000005"
    args = predict["args"]
    assert args["query"].int_value == 3 and args["cached"].bool_value
    assert args["cost"].double_value == 0.5
    assert [one.int_value for one in args["shape"].array_values] == [1, 3]
    (entry,) = args["why"].dict_entries
    assert (entry.name, entry.string_value) == ("it", "is")


def test_work_points_back_at_what_launched_it(timeline_of) -> None:
    """The same correlation id on another machine is other work."""
    spans = [
        Span(1, 0, 4, "cudaLaunchKernel", EPOCH_NS, 10, 7, correlation_id=5),
        Span(2, 0, 4, "gemm", EPOCH_NS + 50, 10, 70, correlation_id=5),
        Span(3, 0, 4, "cudaLaunchKernel", EPOCH_NS + 20, 10, 7, correlation_id=6),
    ]
    other = [Span(9, 0, 4, "elsewhere", EPOCH_NS, 10, 7, correlation_id=5)]
    read = Read(Recording(timeline_of({("n1", "worker", 0): spans, ("n2", "worker", 0): other})))
    flows = {s["args"]["span_id"].string_value[-1]: s["flows"] for s in read.slices}
    assert flows["1"] == flows["2"] and len(flows["1"]) == 1
    assert len({flows[i][0] for i in "139"}) == 3


def test_samples_are_counter_tracks_on_the_reference_clock(timeline_of) -> None:
    metric = MetricsRecorded(
        evaluation_id="e1",
        source="node",
        node_id="n1",
        batch=0,
        name="power",
        unit="watts",
        level="hardware",
        times_ns=[EPOCH_NS + 100, EPOCH_NS + 200],
        values=[41.5, 42.0],
        clock=Clock(reference="r", offset_ns=7, error_ns=1),
    )
    timeline = timeline_of({("n1", "worker", 0): [Span(1, 0, 2, "predict", EPOCH_NS, 500, 7)]})
    read = Read(Recording(timeline, [metric]))
    assert read.samples == [
        ("power (watts)", EPOCH_NS + 107, 41.5),
        ("power (watts)", EPOCH_NS + 207, 42.0),
    ]
    (track,) = [t for t in read.tracks.values() if t.HasField("counter")]
    assert track.counter.unit_name == "watts"


def test_what_overlaps_gets_a_lane_and_what_touches_does_not(timeline_of) -> None:
    """Slices of one track nest: what ends where the next begins is beside it, not around it."""
    spans = [
        Span(1, 0, 2, "a", EPOCH_NS, 100, 7),
        Span(2, 0, 2, "b", EPOCH_NS + 100, 100, 7),
        Span(3, 0, 3, "across", EPOCH_NS + 50, 100, 7),
        Span(4, 0, 3, "instant", EPOCH_NS + 150, 0, 7),
    ]
    read = Read(Recording(timeline_of({("n1", "worker", 0): spans})))
    by_name = {s["name"]: s for s in read.slices}
    assert {name: s["dur"] for name, s in by_name.items()} == {
        "a": 100,
        "b": 100,
        "across": 100,
        "instant": 0,
    }
    assert by_name["a"]["track"] == by_name["b"]["track"] != by_name["across"]["track"]


def test_it_comes_in_pieces_each_of_them_a_trace(timeline_of) -> None:
    count = 2 * PIECE
    spans = [Span(i, 0, 2, "predict", EPOCH_NS + 10 * i, 5, 7) for i in range(1, count + 1)]
    pieces = list(perfetto_trace(Recording(timeline_of({("n1", "worker", 0): spans}))))
    assert len(pieces) > 3 and max(map(len, pieces)) < 200_000
    assert sum(len(pb2.Trace.FromString(piece).packet) for piece in pieces) >= 2 * count


def test_it_says_whether_all_of_it_is_there(timeline_of) -> None:
    read = Read(Recording(timeline_of({})))
    (mark,) = [p.track_event for p in read.packets if p.track_event.type == INSTANT]
    assert mark.name == "complete" and not read.slices


def test_runs_say_which_they_are_and_counts_of_a_predict_are_counters(timeline_of) -> None:
    run = {"run": 4, "level": "full", "batch_size": 2, "queries": 1}
    counts = {"involuntary_switches": 3, "run_delay_ns": 5_000, "read_bytes": 7}
    spans = [
        Span(1, 0, 1, "run", EPOCH_NS, 900, 7, tags=run),
        Span(2, 1, 2, "predict", EPOCH_NS + 100, 500, 7),
        Span(3, 0, 5, "system", EPOCH_NS + 100, 500, 7, tags=counts),
    ]
    read = Read(Recording(timeline_of({("n1", "worker", 4): spans})))
    assert [s["name"] for s in read.slices] == ["run 4: full, batch 2", "predict", "system"]
    assert read.samples == [
        ("involuntary switches (per predict)", EPOCH_NS + 100, 3.0),
        ("run delay ns (per predict)", EPOCH_NS + 100, 5_000.0),
    ]


def test_what_was_not_measured_stands_beside_all_that_was(timeline_of) -> None:
    spans = [Span(1, 0, 2, "predict", EPOCH_NS, 500, 7), Span(2, 0, 2, "p", EPOCH_NS + 600, 50, 7)]
    why = {"power": "no RAPL interface", "gpu": "NVML: no driver"}
    timeline = timeline_of({("n1", "worker", 0): spans})
    read = Read(Recording(timeline, unavailable=why))
    told = [s for s in read.slices if ":" in s["name"]]
    assert [(s["name"], s["start"], s["dur"]) for s in told] == [
        ("power: no RAPL interface", EPOCH_NS, 650),
        ("gpu: NVML: no driver", EPOCH_NS, 650),
    ]
    finished = JobFinished(
        evaluation_id="e",
        job_id="j",
        attempt=1,
        node_id="n1",
        sequence=0,
        at_ns=0,
        unavailable=why,
    )
    assert recording_of(timeline, [finished]).unavailable == why
