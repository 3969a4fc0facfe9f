"""When queries are issued, what the loop stores, and the spans that come of it."""

import gc
import threading
import time
from array import array
from typing import Any

import msgpack
import numpy as np
import pytest

from predictor_node.worker.arrivals import at_once
from predictor_node.worker.errors import Cancelled
from predictor_node.worker.feeding import Bound, Fed
from predictor_node.worker.measure import measure, quiet_collector, settled
from predictor_node.worker.trace import Clock, Times, Trace


def test_the_loop_cycles_through_the_batches_one_at_a_time() -> None:
    seen: list[Any] = []
    times = Times(5)
    batches: list[Any] = ["a", "b"]
    measure(
        lambda handle, batch: seen.append((handle, batch, gc.isenabled())),
        "handle",
        batches,
        at_once(5),
        times,
        threading.Event(),
    )
    assert [batch for _, batch, _ in seen] == ["a", "b", "a", "b", "a"]
    assert times.done == 5
    ends = [s + d for s, d in zip(times.starts_ns, times.durations_ns, strict=True)]
    assert all(end <= start for end, start in zip(ends, times.starts_ns[1:], strict=False))
    assert all(duration > 0 for duration in times.durations_ns)


def test_no_query_is_issued_before_it_is_due() -> None:
    due_ns = array("q", [0, 20_000_000, 20_000_000, 50_000_000])
    times = Times(4)
    batches: list[Any] = ["a"]
    begin_ns = time.perf_counter_ns()
    measure(lambda handle, batch: None, None, batches, due_ns, times, threading.Event())
    issued_ns = [start_ns - begin_ns for start_ns in times.starts_ns]
    assert all(at_ns >= due for at_ns, due in zip(issued_ns, due_ns, strict=True))


def test_a_wait_hears_a_cancel() -> None:
    cancelled = threading.Event()
    threading.Timer(0.05, cancelled.set).start()
    batches: list[Any] = ["a"]
    begin_s = time.monotonic()
    with pytest.raises(Cancelled):
        measure(lambda h, b: None, None, batches, array("q", [10**11]), Times(1), cancelled)
    assert time.monotonic() - begin_s < 5


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_before_even_after_an_error(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ValueError, match="inside"), quiet_collector():
            assert not gc.isenabled()
            raise ValueError("inside")
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


SETTLED = {
    "steady": ([100] * 20, True),
    "one slow query": ([100] * 19 + [9000], True),
    "within five percent": ([105] * 10 + [100] * 10, True),
    "still warming up": ([150] * 10 + [100] * 10, False),
    "slowing down": ([100] * 10 + [150] * 10, False),
    "too few to tell": ([100] * 9, False),
}


@pytest.mark.parametrize("case", SETTLED)
def test_settled(case: str) -> None:
    durations, answer = SETTLED[case]
    assert settled(array("q", durations)) is answer


# (items, batch size, queries) -> the items in each batch, by hand
BATCHES = [
    (1, 1, 9, [[0]]),
    (3, 1, 9, [[0], [1], [2]]),
    (3, 2, 9, [[0, 1], [2, 0], [1, 2]]),
    (2, 4, 9, [[0, 1, 0, 1]]),
    (4, 6, 9, [[0, 1, 2, 3, 0, 1], [2, 3, 0, 1, 2, 3]]),
    (3, 2, 2, [[0, 1], [2, 0]]),
]


@pytest.mark.parametrize(("items", "size", "queries", "wanted"), BATCHES)
def test_batches_cycle_through_the_items(
    items: int, size: int, queries: int, wanted: list[list[int]]
) -> None:
    fed = [Fed(str(index), (np.full((1, 1, 2), index, np.float32),)) for index in range(items)]
    bound = Bound(("x",), ["y"], (), (), [], 0)
    batches = bound.batches(fed, size, queries)
    assert [batch["x"][:, 0, 0].astype(int).tolist() for batch in batches] == wanted
    assert all(batch["x"].flags.c_contiguous for batch in batches)


def test_spans_leave_in_blocks_of_a_thousand() -> None:
    frames: list[dict[str, Any]] = []
    trace = Trace(span_base=50, parent_id=7, clock=Clock(), say=frames.append)
    trace.begin_run(3, level=2)
    with trace.span("run", run=3) as run:
        pass
    for query in range(1200):
        trace.add(2, "predict", 1000 * query, 10, {"query": query}, parent_id=run)
    trace.add(3, "a layer", 0, 1, {})
    trace.lose(5)
    trace.flush()
    trace.flush()
    assert [(f["batch"], f["run"], f["count"], f["lost"]) for f in frames] == [
        (0, 3, 1000, 0),
        (1, 3, 201, 5),
    ]
    assert frames[0]["levels"] == {"application": 1, "model": 999}
    assert dict(trace.emitted) == {"application": 1, "model": 1200}
    rows = [row for frame in frames for row in msgpack.unpackb(frame["block"])]
    assert [row[0] for row in rows] == list(range(51, 51 + 1201))
    assert rows[0][:4] == [51, 7, 1, "run"]
    offset_ns = trace.clock.offset_ns
    assert rows[1][1:6] == [51, 2, "predict", offset_ns, 10]
    assert frames[1]["first_start_ns"] == offset_ns + 999_000
    assert frames[1]["last_end_ns"] == offset_ns + 1_199_010
    assert trace.lost == 5
