"""Clocks whose offset and drift are known by construction: aligned within the error they state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import codec
from bus.messages import Clock, Span, SpansRecorded
from collector.clocks import Line, Sample, line_through
from collector.timeline import Timeline, assemble

T0 = 1_800_000_000_000_000_000
S = 1_000_000_000
REFERENCE = "collector@host"


def batch(
    node: str,
    spans: list[Span],
    clock: Clock,
    clocks: list[Clock] | None = None,
    source: str = "worker",
) -> SpansRecorded:
    return SpansRecorded(
        evaluation_id="e1",
        job_id="",
        node_id=node,
        source=source,
        batch=0,
        run=0,
        levels={"application": len(spans)},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        clock=clock,
        clocks=clocks or [],
        block=codec.pack_rows(spans),
    )


class Machine:
    """A clock that reads local = reference − offset, the offset growing by `ppm` from T0 on."""

    def __init__(self, offset_ns: int, ppm: float) -> None:
        self.offset_ns, self.ppm = offset_ns, ppm

    def local(self, true_ns: int) -> int:
        return true_ns - self.offset_ns - round((true_ns - T0) * self.ppm / 1e6)

    def measured(self, true_ns: int, wrong_ns: int, error_ns: int) -> Clock:
        """What a measurement at that time says that is wrong by no more than it states."""
        assert abs(wrong_ns) <= error_ns
        offset_ns = true_ns - self.local(true_ns) + wrong_ns
        at_ns = self.local(true_ns)
        return Clock(reference=REFERENCE, offset_ns=offset_ns, error_ns=error_ns, at_ns=at_ns)

    def span(self, number: int, true_ns: int, took_ns: int, level: int = 2) -> Span:
        begin, end = self.local(true_ns), self.local(true_ns + took_ns)
        return Span(number, 0, level, f"s{number}", begin, end - begin)


@given(
    offsets=st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12)),
    ppms=st.tuples(st.integers(-90, 90), st.integers(-90, 90)),
    wrong=st.lists(st.integers(-50_000, 50_000), min_size=8, max_size=8),
    errors=st.lists(st.integers(50_000, 3_000_000), min_size=8, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_two_drifting_machines_meet_within_their_stated_errors(
    offsets, ppms, wrong, errors
) -> None:  # type: ignore[no-untyped-def]
    machines = [Machine(offset, ppm) for offset, ppm in zip(offsets, ppms, strict=True)]
    batches, true = [], {}
    for index, machine in enumerate(machines):
        times = [T0 + step * 20 * S for step in range(4)]
        clocks = [
            machine.measured(at, wrong[4 * index + i], errors[4 * index + i])
            for i, at in enumerate(times)
        ]
        spans = []
        for step in range(30):
            number = 100 * (index + 1) + step
            true[number] = T0 + step * 2 * S + index * 1_000
            spans.append(machine.span(number, true[number], S))
        batches.append(batch(f"n{index}", spans, clocks[-1], clocks[:-1]))
    timeline = assemble(batches, [])
    assert timeline.reference == REFERENCE
    off = {s.span_id: abs(s.start_ns - true[s.span_id]) for s in timeline}
    for index, error_ns in enumerate(timeline.errors_ns):
        # A measurement that is left out would have been vaguer than what is said without it.
        assert 0 <= error_ns <= 3_000_001
        assert max(off[100 * (index + 1) + step] for step in range(30)) <= error_ns + 1
    assert timeline.error_ns == sum(timeline.errors_ns)


def test_a_drift_between_two_measurements_is_followed() -> None:
    machine = Machine(offset_ns=5_000_000, ppm=40)
    first, last = machine.measured(T0, 0, 1_000), machine.measured(T0 + 100 * S, 0, 2_000)
    middle = machine.span(1, T0 + 50 * S, S)
    timeline = assemble([batch("n1", [middle], last, [first])], [])
    # By then the clock has moved 2 ms: one offset for all would be that much wrong.
    assert timeline.start_ns.tolist() == [T0 + 50 * S]
    assert timeline.duration_ns.tolist() == [S]
    assert timeline.errors_ns == [2_000]


def test_what_was_nested_stays_nested() -> None:
    machine = Machine(offset_ns=-7, ppm=88)
    clocks = [machine.measured(T0 + i * 10 * S, (-1) ** i * 900, 1_000) for i in range(4)]
    spans = [machine.span(1, T0, 30 * S, 2)]
    spans += [machine.span(2 + i, T0 + i * 3 * S, 3 * S, 3) for i in range(10)]
    spans = [Span(s.span_id, 0, s.level, s.name, s.start_ns, s.duration_ns, 7) for s in spans]
    timeline = assemble([batch("n1", spans, clocks[-1], clocks[:-1])], [])
    assert not timeline.ambiguous.any()
    assert [s.parent_id for s in timeline] == [0] + 10 * [1]


@pytest.mark.parametrize(
    ("samples", "kept", "error_ns"),
    [
        ([Sample(0, 5, 7), Sample(0, 9, 3)], [9], 3),
        ([Sample(S, 5, 7)], [5], 7),
        # 20 s away 2 ms may have passed: 3 ms of vagueness say nothing, 1.5 ms do.
        ([Sample(S, 10, 100), Sample(21 * S, 99, 3_000_000)], [10], 100),
        ([Sample(S, 10, 100), Sample(21 * S, 99, 1_500_000)], [10, 99], 1_500_000),
        ([Sample(S, 10, 100), Sample(S, 12, 100), Sample(2 * S, 14, 100)], [10, 14], 100),
    ],
)
def test_which_measurements_count(samples: list[Sample], kept: list[int], error_ns: int) -> None:
    line = line_through(samples)
    assert (line.offset_ns.tolist(), line.error_ns) == (kept, error_ns)


def test_beyond_the_last_measurement_the_error_grows() -> None:
    one = line_through([Sample(T0, 0, 100)])
    assert one.error_within(T0, T0) == 100
    assert one.error_within(T0, T0 + 2 * S) == 100 + 200_000  # 100 ppm, the utmost
    two = line_through([Sample(T0, 0, 100), Sample(T0 + 10 * S, 1_000, 100)])
    assert two.error_within(T0, T0 + 20 * S) == 100 + 1_200  # as much as it moved before
    assert Line(np.zeros(1, np.int64), np.zeros(1, np.int64)).error_within(0, T0) == -1


def simulated() -> Timeline:
    """A node's real spans beside those of a simulator that counts from 0."""
    real = batch(
        "n1",
        [Span(1, 0, 2, "predict", T0, 1_000, 5), Span(2, 0, 3, "layer", T0 + 100, 200, 5)],
        Clock(reference=REFERENCE, error_ns=40),
    )
    ticks = [Span(10, 0, 3, "stage", 50, 900, 5), Span(11, 0, 4, "step", 60, 20, 5)]
    return assemble([real, batch("n1", ticks, Clock(reference="simulator"), source="sim")], [])


def test_simulated_time_lies_on_a_track_of_its_own() -> None:
    timeline = simulated()
    assert list(timeline.sources) == ["n1/worker/0", "n1@simulator/sim/0"]
    placed = {s.span_id: (s.start_ns - T0, s.duration_ns, s.parent_id, s.source) for s in timeline}
    # Both begin together, for want of anything better; no one's span is another's parent.
    assert placed == {
        1: (0, 1_000, 0, "n1/worker/0"),
        2: (100, 200, 1, "n1/worker/0"),
        10: (0, 900, 0, "n1@simulator/sim/0"),
        11: (10, 20, 10, "n1@simulator/sim/0"),
    }
    assert list(timeline.errors_ns) == [40, -1]
    assert (timeline.reference, timeline.error_ns) == (REFERENCE, 40)
    read = Timeline.from_chunks(timeline.to_chunks(1))
    assert (list(read.errors_ns), list(read)) == ([40, -1], list(timeline))


def test_a_trace_that_is_on_one_clock_alone_is_not_foreign_to_itself() -> None:
    spans = [Span(1, 0, 2, "kernel", 10, 5)]
    timeline = assemble([batch("", spans, Clock(reference="device"), source="import")], [])
    assert (timeline.sources, timeline.start_ns.tolist()) == (["import/import/0"], [10])
    assert (timeline.reference, timeline.error_ns) == ("device", -1)


def test_two_collectors_clocks_are_not_said_to_agree() -> None:
    one = batch("n1", [Span(1, 0, 2, "a", T0, 5)], Clock(reference="collector@a", error_ns=9))
    two = batch("n2", [Span(2, 0, 2, "b", T0, 5)], Clock(reference="collector@b", error_ns=9))
    timeline = assemble([one, two], [])
    assert timeline.reference == "collector@a, collector@b"
    assert timeline.error_ns == -1
