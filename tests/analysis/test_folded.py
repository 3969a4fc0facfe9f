"""Folded stacks: worked out by hand, and their sums against the time of their roots."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.folded import folded
from analysis.recording import Recording
from bus import codec
from bus.messages import Span, SpansRecorded
from collector.timeline import Timeline, assemble

US = 1_000


def stacks(timeline: Timeline) -> dict[str, int]:
    """As inferno and flamegraph.pl read it: what stands behind the last space is the count."""
    text = b"".join(folded(Recording(timeline, model="Net"))).decode()
    pairs = [line.rsplit(" ", 1) for line in text.splitlines()]
    assert len({stack for stack, _ in pairs}) == len(pairs)
    return {stack: int(count) for stack, count in pairs}


def test_self_time_along_the_chain_of_parents(timeline_of) -> None:
    timeline = timeline_of(
        {
            ("", "client", -1): [Span(1, 0, 1, "evaluate", 0, 100 * US)],
            ("n1", "worker", -1): [Span(2, 1, 1, "job", 10 * US, 80 * US, 7)],
            ("n1", "worker", 0): [
                Span(3, 2, 1, "run", 20 * US, 60 * US, 7),
                Span(4, 0, 2, "predict", 20 * US, 20 * US, 7),
                Span(5, 0, 2, "predict", 40 * US, 30 * US, 7),
                Span(6, 0, 3, "conv;1", 22 * US, 8 * US, 7),
                Span(7, 0, 3, "conv;1", 42 * US, 8 * US, 7),
                Span(8, 0, 3, "gemm", 50 * US, 5 * US, 7),
            ],
        }
    )
    assert stacks(timeline) == {
        "Net;evaluate": 20,
        "Net;evaluate;job": 20,
        "Net;run 0;run": 10,
        "Net;run 0;run;predict": 29,
        "Net;run 0;run;predict;conv:1": 16,
        "Net;run 0;run;predict;gemm": 5,
    }


def test_children_that_overlap_cover_their_parent_once(timeline_of) -> None:
    """Two threads at work for 60 µs each within 100 µs, 20 µs of it together."""
    timeline = timeline_of(
        {
            ("n1", "worker", 0): [
                Span(1, 0, 2, "predict", 0, 100 * US, 7),
                Span(2, 1, 3, "left", 0, 60 * US, 8),
                Span(3, 1, 3, "right", 40 * US, 60 * US, 9),
            ]
        }
    )
    assert stacks(timeline) == {"Net;run 0;predict;left": 60, "Net;run 0;predict;right": 60}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=60))
def test_the_lines_add_up_to_the_root_to_the_microsecond(cuts: list[int]) -> None:
    """Nested and zero-gap siblings of odd lengths: no rounding loses or makes a microsecond."""
    spans, at = [], 0
    for number, length in enumerate(cuts, 2):
        spans.append(Span(number, 0, 3, f"s{number % 7}", at, length, 7))
        if length > 2:
            spans.append(Span(1000 + number, number, 4, "inner", at + 1, length // 2, 7))
        at += length
    root = Span(1, 0, 2, "predict", 0, at + 333, 7)
    batch = SpansRecorded(
        evaluation_id="e1",
        source="worker",
        node_id="n1",
        batch=0,
        run=0,
        levels={},
        count=1,
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows([root, *spans]),
    )
    total = sum(stacks(assemble([batch], [])).values())
    assert total == (root.duration_ns + 500) // 1000


def test_nothing_is_no_line(timeline_of) -> None:
    assert stacks(timeline_of({})) == {}
