"""What a device does on its queues (threads below 0): its launch decides, never the clock alone."""

from __future__ import annotations

import pytest

from bus import codec
from bus.messages import Span, SpansRecorded
from collector.timeline import assemble

APPLICATION, MODEL, LAYER, LIBRARY, HARDWARE = 1, 2, 3, 4, 6
HOST, OTHER, QUEUE = 7, 8, -1


def span(
    span_id: int, level: int, start: int, end: int, thread: int, launch: int = 0, parent: int = 0
) -> Span:
    return Span(span_id, parent, level, f"s{span_id}", start, end - start, thread, launch)


MODEL_AND_LAYERS = (
    span(1, MODEL, 0, 100, HOST),
    span(2, LAYER, 10, 40, HOST),
    span(3, LAYER, 20, 30, HOST),
    span(4, LAYER, 50, 90, HOST),
)
TREE = {1: 0, 2: 1, 3: 2, 4: 1}
CASES = {
    "a kernel that runs after its layer has ended": (
        [span(5, LIBRARY, 22, 24, HOST, 9), span(6, LIBRARY, 60, 80, QUEUE, 9)],
        {5: 3, 6: 3},
    ),
    "a kernel that runs after everything": (
        [span(5, LIBRARY, 22, 24, HOST, 9), span(6, LIBRARY, 200, 220, QUEUE, 9)],
        {5: 3, 6: 3},
    ),
    "a kernel that seems to begin before its launch: the clocks differ": (
        [span(5, LIBRARY, 22, 24, HOST, 9), span(6, LIBRARY, 15, 19, QUEUE, 9)],
        {5: 3, 6: 3},
    ),
    "one launch of a whole graph": (
        [
            span(5, LIBRARY, 52, 54, HOST, 9),
            span(6, LIBRARY, 60, 65, QUEUE, 9),
            span(7, LIBRARY, 66, 70, QUEUE, 9),
            span(8, LIBRARY, 61, 64, -2, 9),
        ],
        {5: 4, 6: 4, 7: 4, 8: 4},
    ),
    "counters joined to a launch, at times that mean nothing": (
        [span(5, LIBRARY, 22, 24, HOST, 9), span(6, HARDWARE, 0, 100, QUEUE, 9)],
        {5: 3, 6: 3},
    ),
    "work without a launch is not its neighbours' in time": (
        [span(6, LIBRARY, 22, 24, QUEUE, 9), span(7, LIBRARY, 60, 61, QUEUE)],
        {6: "?", 7: "?"},
    ),
    "work without a launch whose operator was told": (
        [span(6, LIBRARY, 60, 80, QUEUE, 9, parent=3), span(7, LIBRARY, 81, 90, QUEUE, 9)],
        {6: 3, 7: 3},
    ),
    "work on a queue below what that queue says of itself": (
        [span(6, APPLICATION, 60, 80, QUEUE, parent=1), span(7, LIBRARY, 61, 64, QUEUE)],
        {6: 1, 7: 6},
    ),
    "work of another thread still belongs to the only model around it": (
        [span(6, LAYER, 60, 80, OTHER), span(7, LIBRARY, 61, 64, OTHER, 9),
         span(8, LIBRARY, 95, 99, QUEUE, 9)],
        {6: 1, 7: 6, 8: 6},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("more", "wanted"), CASES.values(), ids=CASES)
def test_where_the_work_of_a_device_belongs(more: list[Span], wanted: dict[int, object]) -> None:
    spans = [*MODEL_AND_LAYERS, *more]
    batch = SpansRecorded(
        evaluation_id="e1",
        job_id="j1",
        attempt=1,
        node_id="imported",
        source="import",
        batch=0,
        run=0,
        levels={"library": len(spans)},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(spans),
    )
    found = {s.span_id: "?" if s.ambiguous else s.parent_id for s in assemble([batch], [])}
    assert found == {**TREE, **wanted}
