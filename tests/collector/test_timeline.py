"""Small timelines whose trees are known by hand, and random ones whose trees are known by birth."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import codec
from bus.errors import InputError
from bus.messages import Clock, JobFinished, Span, SpansRecorded
from collector.timeline import Timeline, assemble

APPLICATION, MODEL, LAYER, LIBRARY = 1, 2, 3, 4


def batch(
    *spans: Span,
    source: str = "worker",
    node: str = "n1",
    number: int = 0,
    run: int = 0,
    clock: Clock | None = None,
    block: bytes | None = None,
) -> SpansRecorded:
    return SpansRecorded(
        evaluation_id="e1",
        job_id="j1" if node else "",
        attempt=1 if node else 0,
        node_id=node,
        source=source,
        batch=number,
        run=run,
        levels={"model": len(spans)},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        clock=clock or Clock(),
        block=codec.pack_rows(spans) if block is None else block,
    )


def span(
    span_id: int, level: int, start: int, end: int, parent: int = 0, thread: int = 0, **more: object
) -> Span:
    return Span(span_id, parent, level, f"s{span_id}", start, end - start, thread, **more)  # type: ignore[arg-type]


def tree(timeline: Timeline) -> dict[int, int | str]:
    return {s.span_id: "?" if s.ambiguous else s.parent_id for s in timeline}


CASES = {
    "nested by level": (
        [span(1, 1, 0, 100), span(2, 2, 10, 90), span(3, 3, 10, 50), span(4, 3, 50, 90)],
        {1: 0, 2: 1, 3: 2, 4: 2},
    ),
    "operators of one level nest": (
        [span(1, 3, 0, 100), span(2, 3, 10, 90), span(3, 3, 20, 30)],
        {1: 0, 2: 1, 3: 2},
    ),
    "children arrive before their parents": (
        [span(3, 3, 10, 20), span(2, 2, 5, 50), span(1, 1, 0, 60)],
        {1: 0, 2: 1, 3: 2},
    ),
    "equal intervals: the higher level is the parent": (
        [span(3, 3, 0, 10), span(1, 1, 0, 10), span(2, 2, 0, 10)],
        {1: 0, 2: 1, 3: 2},
    ),
    "equal intervals of one level: order of arrival": (
        [span(7, 3, 0, 10), span(5, 3, 0, 10)],
        {7: 0, 5: 7},
    ),
    "a lower level is never the parent of a higher one": (
        [span(1, 1, 0, 100), span(3, 3, 10, 90), span(2, 2, 20, 30)],
        {1: 0, 3: 1, 2: 1},
    ),
    "a told parent that is there is kept": (
        [span(1, 1, 0, 100), span(2, 2, 10, 90), span(3, 3, 20, 30, parent=1)],
        {1: 0, 2: 1, 3: 1},
    ),
    "a told parent that is not there is looked for": (
        [span(1, 1, 0, 100), span(2, 2, 10, 90, parent=99)],
        {1: 0, 2: 1},
    ),
    "a span that names itself is looked for": (
        [span(1, 1, 0, 100), span(2, 2, 10, 90, parent=2)],
        {1: 0, 2: 1},
    ),
    "layers of no length between layers belong to the predict": (
        [span(1, 2, 0, 30), span(2, 3, 0, 10), span(3, 3, 10, 10), span(4, 3, 10, 20)],
        {1: 0, 2: 1, 3: 1, 4: 1},
    ),
    "a layer of no length at its predict's start and end": (
        [span(1, 2, 0, 30), span(2, 3, 0, 0), span(3, 3, 30, 30)],
        {1: 0, 2: 1, 3: 1},
    ),
    "a layer of no length where two predicts touch": (
        [span(1, 1, 0, 60), span(2, 2, 0, 30), span(3, 2, 30, 60), span(4, 3, 30, 30)],
        {1: 0, 2: 1, 3: 1, 4: "?"},
    ),
    "threads that are known are kept apart": (
        [
            span(1, 2, 0, 100, thread=1),
            span(2, 2, 10, 90, thread=2),
            span(3, 3, 20, 30, thread=1),
            span(4, 3, 20, 30, thread=2),
        ],
        {1: 0, 2: 0, 3: 1, 4: 2},
    ),
    "work of a thread pool belongs to the only predict around it": (
        [span(1, 2, 0, 100, thread=1), span(2, 3, 10, 20, thread=2), span(3, 3, 12, 30, thread=3)],
        {1: 0, 2: 1, 3: 1},
    ),
    "work of a thread pool inside two predicts is unclear": (
        [span(1, 2, 0, 100, thread=1), span(2, 2, 5, 90, thread=2), span(3, 3, 10, 20, thread=3)],
        {1: 0, 2: 0, 3: "?"},
    ),
    "an unknown thread may be any": (
        [span(1, 1, 0, 100, thread=1), span(2, 2, 5, 90), span(3, 3, 10, 20, thread=1)],
        {1: 0, 2: 1, 3: 2},
    ),
    "two candidates that overlap in part": (
        [span(1, 1, 0, 100), span(2, 3, 0, 60), span(3, 3, 40, 100), span(4, 4, 45, 50)],
        {1: 0, 2: "?", 3: "?", 4: "?"},
    ),
    "a layer that outlasts its predict is not guessed to be the run's": (
        [span(1, 1, 0, 100, parent=0), span(2, 2, 10, 50), span(3, 3, 40, 60)],
        {1: 0, 2: 1, 3: "?"},
    ),
    "after a tangle all is clear again": (
        [span(1, 2, 0, 50), span(2, 3, 0, 20), span(3, 3, 10, 30), span(4, 3, 30, 40)],
        {1: 0, 2: "?", 3: "?", 4: 1},
    ),
    "parents that contradict each other": (
        [span(1, 1, 0, 100, parent=2), span(2, 2, 10, 90)],
        {1: "?", 2: "?"},
    ),
    "a span that comes twice counts once": (
        [span(1, 1, 0, 100), span(1, 1, 0, 100), span(2, 2, 1, 2)],
        {1: 0, 2: 1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_parents(case: str) -> None:
    """By containment, siblings that touch among them; two candidates are ambiguous, not guessed."""
    spans, expected = CASES[case]
    assert tree(assemble([batch(*spans)], [])) == expected


def test_a_kernel_after_its_layer_has_its_launchs_parent() -> None:
    """By correlation id it belongs to the layer that launched it."""
    timeline = assemble(
        [
            batch(
                span(1, MODEL, 0, 100),
                span(2, LAYER, 10, 30),
                span(3, LIBRARY, 12, 14, correlation_id=5),
                span(4, LIBRARY, 40, 90, correlation_id=5),  # the device is late
                span(5, LAYER, 35, 95),  # would enclose the kernel
                span(6, LIBRARY, 41, 42),  # would lie in the kernel
            )
        ],
        [],
    )
    assert tree(timeline) == {1: 0, 2: 1, 3: 2, 4: 2, 5: 1, 6: 5}


def test_a_serialised_run_resolves_what_was_unclear() -> None:
    """Overlapping candidates of one level are ambiguous; one after the other, they are not."""
    parallel = [span(1, 2, 0, 100), span(2, 3, 0, 60), span(3, 3, 40, 90), span(4, 4, 45, 50)]
    serial = [span(1, 2, 0, 120), span(2, 3, 0, 60), span(3, 3, 60, 110), span(4, 4, 45, 50)]
    assert tree(assemble([batch(*parallel)], []))[4] == "?"
    assert tree(assemble([batch(*serial)], [])) == {1: 0, 2: 1, 3: 1, 4: 2}


def test_two_clocks_meet_on_the_references() -> None:
    fast = Clock(reference="r", offset_ns=-1_000, error_ns=7)
    ours = Clock(reference="r", error_ns=3)
    vague = Clock(reference="r", offset_ns=-5_000, error_ns=900)
    timeline = assemble(
        [
            batch(span(1, 1, 10, 500), source="client", node="", run=-1, clock=ours),
            batch(span(2, 2, 1_100, 1_200), clock=vague),
            batch(span(3, 3, 1_100, 1_150), clock=fast, number=1),
        ],
        [],
    )
    # One offset for the machine, the one known best; the request is the root of what is alone.
    assert [(s.span_id, s.start_ns, s.parent_id) for s in timeline] == [
        (1, 10, 0),
        (2, 100, 1),
        (3, 100, 2),
    ]
    assert (timeline.reference, timeline.errors_ns) == ("r", [3, 7])
    assert timeline.error_ns == 3 + 7  # one of them may be early and the other late
    assert timeline.sources == ["client/client/-1", "n1/worker/0"]


def finished(batches: int, spans: dict[str, int], lost: int = 0) -> JobFinished:
    return JobFinished(
        evaluation_id="e1",
        job_id="j1",
        attempt=1,
        node_id="n1",
        sequence=9,
        at_ns=1,
        spans=spans,
        span_batches={"worker": batches},
        lost_spans=lost,
    )


def test_what_is_missing_is_said() -> None:
    one = batch(span(1, 2, 0, 5), span(2, 3, 1, 2))
    whole = assemble([one], [finished(1, {"model": 1, "framework": 1})])
    assert (whole.complete, whole.missing, whole.emitted) == (
        True,
        "",
        {"model": 1, "framework": 1},
    )
    part = assemble([one], [finished(3, {"model": 3})])
    assert not part.complete
    assert part.missing == "2 of 3 batches of worker on n1, 2 spans of level model"
    assert (part.emitted, part.stored) == ({"model": 3}, {"model": 1, "framework": 1})
    dropped = assemble([one], [finished(1, {"model": 1, "framework": 1}, lost=4)])
    assert (dropped.complete, dropped.lost) == (False, 4)
    assert dropped.missing == "4 spans of level unknown from unknown"


@pytest.mark.parametrize(
    "block",
    [b"", b"not zstd", codec.pack_rows(b"\xc1"), codec.pack_rows(b"\x91\x93\x01\x02\x03")],
    ids=["empty", "no frame", "no MessagePack", "short row"],
)
def test_a_damaged_block_is_counted_and_skipped(block: bytes) -> None:
    good = batch(span(1, 2, 0, 5))
    timeline = assemble([good, batch(block=block, number=1)], [finished(2, {"model": 2})])
    assert tree(timeline) == {1: 0}
    assert timeline.missing == "1 unreadable batches, 1 spans of level model"


def test_nothing_at_all() -> None:
    timeline = assemble([], [])
    assert list(timeline.spans()) == []
    assert len(Timeline.from_chunks(timeline.to_chunks())) == 0


def test_selection() -> None:
    timeline = assemble(
        [
            batch(span(1, 2, 0, 50, tags={"q": 1}), span(2, 3, 0, 10), span(3, 3, 10, 30)),
            batch(span(4, 2, 60, 90), span(5, 3, 61, 62), number=1, run=1),
        ],
        [],
    )
    assert [s.span_id for s in timeline.at("model")] == [1, 4]
    assert timeline.at("framework", run=0).duration_ns.tolist() == [10, 20]
    assert [s.name for s in timeline.children(1)] == ["s2", "s3"]
    assert [s.tags for s in timeline.at("model")] == [{"q": 1}, {}]
    assert len(timeline.children(77)) == 0


def same(one: Timeline, other: Timeline) -> bool:
    heads = [(t.emitted, t.stored, t.lost, t.complete, t.missing, t.sources) for t in (one, other)]
    return list(one) == list(other) and heads[0] == heads[1]


def test_chunks_there_and_back() -> None:
    spans = [span(i, 3, 10 * i, 10 * i + 15, tags={"i": i % 3}) for i in range(1, 8)]
    timeline = assemble([batch(span(99, 1, 0, 500, tags={"a": [1]}), *spans)], [])
    assert timeline.ambiguous.sum() == 7
    for rows in (1, 3, 20_000):
        chunks = timeline.to_chunks(rows)
        assert sum(chunk.count for chunk in chunks) == 8
        assert {chunk.ambiguous for chunk in chunks} == {7}
        read = [codec.decode_as(codec.encode(c), type(c)) for c in chunks]
        assert same(Timeline.from_chunks(read), timeline)
    with pytest.raises(InputError, match="expected 8"):
        Timeline.from_chunks(timeline.to_chunks(1)[:-1])
    with pytest.raises(InputError, match="assembled again"):
        Timeline.from_chunks([timeline.to_chunks(4)[0], whole_again(timeline).to_chunks(4)[1]])


def whole_again(timeline: Timeline) -> Timeline:
    return assemble([batch(*(span(i, 2, i, i) for i in range(1, 9)))], [])


def test_a_chunk_stays_below_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [bytes((i * j * 7919) % 251 for j in range(1, 400)).hex() for i in range(64)]
    spans = [span(i, 3, i, i + 1, tags={"t": text}) for i, text in enumerate(texts, 1)]
    whole = assemble([batch(*spans)], []).to_chunks()
    assert len(whole) == 1
    monkeypatch.setattr("collector.chunks.CHUNK_LIMIT_BYTES", 4_096)
    parts = assemble([batch(*spans)], []).to_chunks()
    assert len(parts) > 1 and all(len(p.block) <= 4_096 for p in parts)
    assert same(Timeline.from_chunks(parts), Timeline.from_chunks(whole))


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Span], dict[int, int]]:
    """A random tree: children tile a part of their parent, often with no gap between them."""
    ids, spans, parents = count(1), [], {}

    def grow(parent: int, level: int, start: int, end: int, depth: int) -> None:
        at = start + draw(st.integers(0, 1))
        for _ in range(draw(st.integers(0, 3))):
            if at + 1 >= end:
                return
            stop = draw(st.integers(at + 1, end))
            deeper = min(level + draw(st.integers(0, 2)), 6)
            # The same interval and level as the parent's only tells by order of arrival.
            if (at, stop, deeper) == (start, end, level):
                deeper = min(level + 1, 6)
            me = next(ids)
            spans.append(span(me, deeper, at, stop))
            parents[me] = parent
            if depth:
                grow(me, deeper, at, stop, depth - 1)
            at = stop + draw(st.sampled_from([0, 0, 1, 5]))

    me = next(ids)
    spans.append(span(me, APPLICATION, 0, 1_000))
    parents[me] = 0
    grow(me, APPLICATION, 0, 1_000, 4)
    return spans, parents


@given(trees(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_random_tree_is_recovered(drawn: tuple[list[Span], dict[int, int]], rng) -> None:  # type: ignore[no-untyped-def]
    """Spans of a known tree without their parents give exactly that tree."""
    spans, parents = drawn
    if len({(s.start_ns, s.duration_ns, s.level) for s in spans}) == len(spans):
        rng.shuffle(spans)  # only equal intervals of one level depend on the order of arrival
    assert tree(assemble([batch(*spans)], [])) == parents


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(-5, 60),
            st.integers(-5, 30),
            st.integers(0, 3),
            st.integers(0, 9),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
@settings(max_examples=200, deadline=None)
def test_whatever_comes_the_parents_hold(rows: list[tuple[int, ...]]) -> None:
    spans = [
        Span(i, parent, level, "", start, duration, thread, correlation)
        for i, (level, start, duration, thread, parent, correlation) in enumerate(rows, 1)
    ]
    timeline = assemble([batch(*spans)], [])
    placed = {s.span_id: s for s in timeline}
    assert sorted(placed) == list(range(1, len(rows) + 1))
    for one in placed.values():
        assert one.duration_ns >= 0 and 1 <= one.level <= 7 and one.name == "(no name)"
        assert one.parent_id in placed or one.parent_id == 0
        assert not (one.ambiguous and one.parent_id)
        seen, up = set(), one
        while up.parent_id:
            assert up.span_id not in seen, "a circle"
            seen.add(up.span_id)
            up = placed[up.parent_id]


def test_what_was_mended_is_said_and_travels() -> None:
    timeline = assemble([batch(span(1, MODEL, 100, 40), span(2, MODEL, 200, 210))], [])
    assert [s.duration_ns for s in timeline] == [0, 10]
    assert timeline.repaired == 1
    assert Timeline.from_chunks(timeline.to_chunks()).repaired == 1
