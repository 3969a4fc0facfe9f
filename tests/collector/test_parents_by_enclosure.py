"""Against a second opinion: every pair of spans compared, on trees without a single id."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bus import codec
from bus.messages import LEVELS, Span, SpansRecorded
from collector.timeline import assemble

DEEPEST = len(LEVELS) - 1


def parent_by_all_pairs(spans: list[Span]) -> dict[int, int]:
    """For each span, of all that enclose it and are not of a deeper level, the shortest.

    Of equal intervals the higher level encloses the deeper one, and within a level the earlier
    arrival the later: so a chain of equals is a chain of parents.
    """
    found = {}
    for me, span in enumerate(spans):
        end = span.start_ns + span.duration_ns
        around = []
        for other, outer in enumerate(spans):
            outer_end = outer.start_ns + outer.duration_ns
            if other == me or outer.level > span.level or outer.thread != span.thread:
                continue
            if outer.start_ns > span.start_ns or outer_end < end:
                continue
            equal = (outer.start_ns, outer_end) == (span.start_ns, end)
            if equal and (outer.level, other) > (span.level, me):
                continue
            around.append((outer.duration_ns, -outer.level, -other))
        found[span.span_id] = spans[-min(around)[2]].span_id if around else 0
    return found


@st.composite
def forests(draw: st.DrawFn) -> list[Span]:
    """Nested spans on up to three threads; children tile their parents, mostly without gaps."""
    spans: list[Span] = []

    def grow(thread: int, level: int, start: int, end: int, depth: int) -> None:
        at = start
        for _ in range(draw(st.integers(0, 4))):
            at += draw(st.sampled_from([0, 0, 0, 1, 3]))
            if at >= end:
                return
            stop = draw(st.integers(at + 1, end))
            deeper = min(level + draw(st.integers(0, 2)), DEEPEST)
            # Wide ids in no order: nothing may be learned from them.
            number = draw(st.integers(1, 2**63 - 1).filter(lambda n: n not in taken))
            taken.add(number)
            spans.append(Span(number, 0, deeper, "s", at, stop - at, thread))
            if depth:
                grow(thread, deeper, at, stop, depth - 1)
            at = stop

    taken: set[int] = set()
    for thread in range(1, draw(st.integers(1, 3)) + 1):
        grow(thread, 1, 0, draw(st.integers(4, 60)), 3)
    return draw(st.permutations(spans)) if draw(st.booleans()) else spans


@given(forests())
@settings(max_examples=200, deadline=None)
def test_every_pair_compared_says_the_same(spans: list[Span]) -> None:
    expected = parent_by_all_pairs(spans)
    # What has no parent on its own thread is then looked for on others: not of interest here.
    roots = {number for number, parent in expected.items() if not parent}
    batch = SpansRecorded(
        evaluation_id="e",
        source="worker",
        batch=0,
        levels={},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(spans),
    )
    placed = {s.span_id: s for s in assemble([batch], [])}
    assert placed.keys() == expected.keys()
    for number, parent in expected.items():
        if number not in roots:
            assert (placed[number].parent_id, placed[number].ambiguous) == (parent, False)
