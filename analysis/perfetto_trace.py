"""A timeline as Perfetto's own trace (protobuf), packet by packet. The home of perfetto.

Beyond what Chrome's JSON holds: nanoseconds as they are, counter tracks with their units, and
arrows from a launch to the work that it launched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import Any

from analysis.recording import Recording
from analysis.tracks import lanes, processes_of, thread_label
from bus.messages import LEVELS
from collector.timeline import PlacedSpan, Timeline

PIECE = 1000
"""Packets serialized at once."""
MOST_TAGS = 10_000
REALTIME, BOOTTIME = 1, 6
"""Perfetto's numbers of two clocks (perfetto/trace/clock_snapshot.proto)."""
COUNTED = {
    "system": ("voluntary_switches", "involuntary_switches", "minor_faults", "run_delay_ns"),
    "counters": ("cycles", "instructions", "cache_misses", "branch_misses"),
}
"""Of spans of these names, what is drawn as counters too: the others show at a click."""
FLOW = 0x9E3779B97F4A7C15
"""Odd, so that different correlation ids of a machine stay different flows."""


def perfetto_trace(recording: Recording) -> Iterator[bytes]:
    """Messages of type Trace; one after the other they are one Trace too.

    One process a machine and role, its threads below it, a lane of its own for what overlaps
    without nesting. Categories are levels; tags are debug annotations; timestamps are ns since the
    epoch on the reference clock.
    """
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto

    trace = proto.Trace()
    packets = _Packets(proto, lambda: trace.packet.add())
    for _ in _written(recording, packets):
        if len(trace.packet) >= PIECE:
            yield trace.SerializeToString()
            trace.Clear()
    yield trace.SerializeToString()


def _written(recording: Recording, packets: _Packets) -> Iterator[None]:
    """Adds every packet, the earliest first on each track; stops after each to be emptied."""
    timeline = recording.timeline
    first_ns = max(int(timeline.start_ns.min()), 0) if len(timeline) else 0
    packets.clock(first_ns)
    packets.about(timeline, first_ns)
    yield
    tracks = _Tracks(timeline.sources, packets)
    if len(timeline) and recording.unavailable:
        last_ns = max(int((timeline.start_ns + timeline.duration_ns).max()), first_ns)
        yield from _lacking(recording.unavailable, tracks, packets, (first_ns, last_ns))
    ends: list[tuple[int, int, int]] = []
    for number, (span, lane) in enumerate(zip(timeline.spans(), lanes(timeline), strict=True)):
        while ends and ends[0][0] <= span.start_ns:
            packets.end(*heappop(ends)[::2])
            yield
        track = tracks.of(span, lane)
        packets.begin(track, span)
        # Of those that end together the last to begin ends first.
        heappush(ends, (span.end_ns, -number, track))
        yield
        for quantity in COUNTED.get(span.name, ()):
            if isinstance(value := span.tags.get(quantity), int | float):
                machine, name = span.source.rsplit("/", 2)[0], quantity.replace("_", " ")
                packets.count(tracks.counter(machine, name, "per predict"), span.start_ns, value)
        yield
    while ends:
        packets.end(*heappop(ends)[::2])
        yield
    for metric in recording.metrics:
        track = tracks.counter(metric.node_id or metric.source, metric.name, metric.unit)
        for at_ns, value in zip(metric.times_ns, metric.values, strict=True):
            packets.count(track, at_ns + metric.clock.offset_ns, value)
            yield


def _lacking(
    unavailable: Mapping[str, str], tracks: _Tracks, packets: _Packets, all_ns: tuple[int, int]
) -> Iterator[None]:
    """What was not measured, as long as all that was: in sight wherever one looks."""
    for what, why in unavailable.items():
        track = tracks.plain(f"not measured: {what}")
        packets.note(track, all_ns[0], f"{what}: {why}")
        packets.end(all_ns[1], track)
        yield


class _Tracks:
    """The number (uuid) of each track; describes a track when it is first asked for."""

    def __init__(self, sources: Iterable[str], packets: _Packets) -> None:
        self._packets = packets
        self._process_of = dict(zip(sources, processes_of(list(sources)), strict=True))
        self._numbers: dict[tuple[object, ...], int] = {}

    def of(self, span: PlacedSpan, lane: int) -> int:
        """The track of a span."""
        process = self._process_of[span.source]
        parent = self._process(process)
        label = thread_label(span.thread, lane)
        return self._number(
            (process, span.thread, lane),
            lambda number: self._packets.thread(number, parent, label),
        )

    def counter(self, machine: str, name: str, unit: str) -> int:
        """The track of a sampled quantity."""
        parent = self._process(f"{machine} metrics")
        return self._number(
            (machine, name, unit),
            lambda number: self._packets.counter(number, parent, f"{name} ({unit})", unit),
        )

    def plain(self, name: str) -> int:
        """A track of no process."""
        return self._number((name, "plain"), lambda number: self._packets.plain(number, name))

    def _process(self, name: str) -> int:
        return self._number((name,), lambda number: self._packets.process(number, name))

    def _number(self, key: tuple[object, ...], describe: Callable[[int], None]) -> int:
        if key not in self._numbers:
            self._numbers[key] = number = len(self._numbers) + 2  # 1: about the timeline
            describe(number)
        return self._numbers[key]


class _Packets:
    """Perfetto's packets, one call each. Names travel once, afterwards by number."""

    def __init__(self, proto: Any, add: Callable[[], Any]) -> None:
        self._proto, self._add = proto, add
        self._interned: dict[tuple[str, str], int] = {}
        self._machines: dict[str, int] = {}
        self._pids: dict[int, int] = {}
        self._tags: dict[int, list[Any]] = {}
        self._fresh = True

    def clock(self, at_ns: int) -> None:
        """The trace's clock is the epoch's, so that a viewer can say what time it was."""
        snapshot = self._packet(at_ns).clock_snapshot
        snapshot.primary_trace_clock = BOOTTIME
        for clock in (BOOTTIME, REALTIME):
            snapshot.clocks.add(clock_id=clock, timestamp=at_ns)

    def about(self, timeline: Timeline, at_ns: int) -> None:
        """A mark at the beginning that says whose timeline it is and whether all of it is here."""
        descriptor = self._packet().track_descriptor
        descriptor.uuid, descriptor.name = 1, "about this timeline"
        packet = self._packet(at_ns)
        event = packet.track_event
        event.type = self._proto.TrackEvent.TYPE_INSTANT
        event.track_uuid = 1
        event.name = "complete" if timeline.complete else f"not complete: {timeline.missing}"
        about = {
            "evaluation_id": timeline.evaluation_id,
            "reference_clock": timeline.reference,
            "clock_error_ns": timeline.error_ns,
            "emitted": timeline.emitted,
            "stored": timeline.stored,
            "lost": timeline.lost,
            "repaired": timeline.repaired,
        }
        self._annotate(packet, event, about)

    def plain(self, number: int, name: str) -> None:
        """A track of no process."""
        descriptor = self._packet().track_descriptor
        descriptor.uuid, descriptor.name = number, name

    def note(self, track: int, at_ns: int, text: str) -> None:
        """What is no span of ours begins."""
        event = self._packet(at_ns).track_event
        event.type, event.track_uuid = self._proto.TrackEvent.TYPE_SLICE_BEGIN, track
        event.name = text

    def process(self, number: int, name: str) -> None:
        """A machine and role."""
        descriptor = self._packet().track_descriptor
        self._pids[number] = len(self._pids) + 1
        descriptor.uuid = number
        descriptor.process.pid, descriptor.process.process_name = self._pids[number], name

    def thread(self, number: int, process: int, name: str) -> None:
        """A lane of a thread."""
        descriptor = self._packet().track_descriptor
        descriptor.uuid, descriptor.parent_uuid = number, process
        thread = descriptor.thread
        thread.pid, thread.tid, thread.thread_name = self._pids[process], number, name

    def counter(self, number: int, process: int, name: str, unit: str) -> None:
        """A sampled quantity."""
        descriptor = self._packet().track_descriptor
        descriptor.uuid, descriptor.parent_uuid, descriptor.name = number, process, name
        descriptor.counter.unit_name = unit

    def begin(self, track: int, span: PlacedSpan) -> None:
        """A span begins."""
        packet = self._packet(span.start_ns)
        event = packet.track_event
        event.type, event.track_uuid = self._proto.TrackEvent.TYPE_SLICE_BEGIN, track
        event.name_iid = self._iid(packet, "event_names", _label(span))
        event.category_iids.append(self._iid(packet, "event_categories", LEVELS[span.level]))
        if span.correlation_id:
            machine = span.source.rsplit("/", 2)[0]
            number = self._machines.setdefault(machine, len(self._machines))
            event.flow_ids.append((span.correlation_id * FLOW + number) % 2**64)
        event.debug_annotations.extend(self._tags_of(packet, span.tags))
        own = {
            "span_id": f"{span.span_id:016x}",
            "parent_id": f"{span.parent_id:016x}" if span.parent_id else "",
            "run": span.run,
        }
        self._annotate(packet, event, own)
        if span.ambiguous:
            self._annotate(packet, event, {"ambiguous": True})

    def end(self, at_ns: int, track: int) -> None:
        """The innermost open span of a track ends."""
        event = self._packet(at_ns).track_event
        event.type, event.track_uuid = self._proto.TrackEvent.TYPE_SLICE_END, track

    def count(self, track: int, at_ns: int, value: float) -> None:
        """A sample."""
        event = self._packet(at_ns).track_event
        event.type, event.track_uuid = self._proto.TrackEvent.TYPE_COUNTER, track
        event.double_counter_value = value

    def _packet(self, at_ns: int | None = None) -> Any:
        packet, kinds = self._add(), self._proto.TracePacket
        packet.trusted_packet_sequence_id = 1
        packet.sequence_flags = kinds.SEQ_NEEDS_INCREMENTAL_STATE
        if self._fresh:
            packet.sequence_flags = kinds.SEQ_INCREMENTAL_STATE_CLEARED
            self._fresh = False
        if at_ns is not None:
            packet.timestamp = max(at_ns, 0)
        return packet

    def _iid(self, packet: Any, table: str, text: str) -> int:
        """The number of a text, told in this packet if it is new."""
        known = self._interned.get((table, text))
        if known is None:
            known = self._interned[table, text] = len(self._interned) + 1
            told = getattr(packet.interned_data, table).add()
            told.iid, told.name = known, text
        return known

    def _tags_of(self, packet: Any, tags: dict[str, Any]) -> list[Any]:
        """Tags as annotations: a timeline holds equal tags once, so they are made once."""
        known = self._tags.get(id(tags))
        if known is None:
            scratch = self._proto.TrackEvent()
            self._annotate(packet, scratch, tags)
            if len(self._tags) == MOST_TAGS:
                self._tags.clear()
            known = self._tags[id(tags)] = list(scratch.debug_annotations)
        return known

    def _annotate(self, packet: Any, event: Any, tags: dict[str, Any]) -> None:
        for key, value in tags.items():
            annotation = event.debug_annotations.add()
            annotation.name_iid = self._iid(packet, "debug_annotation_names", key)
            _set(annotation, value)


def _label(span: PlacedSpan) -> str:
    """Runs look alike: each says which it is."""
    tags = span.tags
    if span.name == "run" and "level" in tags and "batch_size" in tags:
        return f"run {tags.get('run', span.run)}: {tags['level']}, batch {tags['batch_size']}"
    return span.name


def _set(annotation: Any, value: Any) -> None:
    match value:
        case bool():
            annotation.bool_value = value
        case int() if -(2**63) <= value < 2**63:
            annotation.int_value = value
        case float():
            annotation.double_value = value
        case list() | tuple():
            for one in value:
                _set(annotation.array_values.add(), one)
        case dict():
            for key, one in value.items():
                entry = annotation.dict_entries.add()
                entry.name = str(key)
                _set(entry, one)
        case _:
            annotation.string_value = "" if value is None else str(value)
