"""Parts made ready ahead of their turn: in order, in bounds, and no slower than the slower half."""

from __future__ import annotations

import threading
import time

import pytest

from predictor_node.worker.ahead import Ahead

TOOK_S = 0.02


def slow(part: int) -> int:
    time.sleep(TOOK_S)
    return 10 * part


def test_decoding_and_predicting_overlap() -> None:
    """Each takes as long as the other: together little more than one of them, not both."""
    begin_s = time.monotonic()
    spans = []
    with Ahead(slow, range(15)) as parts:
        for ready in parts:
            start_ns = time.perf_counter_ns()
            time.sleep(TOOK_S)
            spans.append((ready, start_ns))
    took_s = time.monotonic() - begin_s
    assert [ready.made for ready, _ in spans] == [10 * part for part in range(15)]
    assert took_s < 0.8 * 2 * 15 * TOOK_S
    overlapping = [
        after.start_ns < start_ns + TOOK_S * 1e9 and after.start_ns + after.duration_ns > start_ns
        for (_, start_ns), (after, _) in zip(spans, spans[1:], strict=False)
    ]
    assert sum(overlapping) > 7
    assert {ready.thread for ready, _ in spans} != {threading.get_native_id()}


def test_no_more_lie_ready_than_there_is_room_for() -> None:
    begun: list[int] = []

    def prepare(part: int) -> int:
        begun.append(part)
        return part

    with Ahead(prepare, range(100), room=2) as parts:
        taken = iter(parts)
        next(taken)
        time.sleep(0.1)
        assert len(begun) <= 4  # one taken, two ready, one in hand
        assert [ready.made for ready in taken] == [*range(1, 100)]


def test_what_goes_wrong_is_raised_in_its_turn() -> None:
    def prepare(part: int) -> int:
        if part == 3:
            raise ValueError("the third")
        return part

    seen = []
    with pytest.raises(ValueError, match="the third"), Ahead(prepare, range(9)) as parts:
        for ready in parts:
            seen.append(ready.made)
    assert seen == [0, 1, 2]


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), Ahead(slow, range(10**9)) as parts:
        for _ in parts:
            raise KeyError
    assert threading.active_count() == before
