"""The loops of a load, against servers whose time is their own, and against the real clock."""

from __future__ import annotations

import threading
import time
from array import array
from typing import Any

import pytest

from predictor_node.worker.errors import Cancelled
from predictor_node.worker.issuing import Calls, Giving, Ticks, arriving, keep_whole, one_by_one
from predictor_node.worker.scenario import Options, settle
from predictor_node.worker.scenario_run import Outcome, latencies_ns
from predictor_node.worker.trace import Times

MS = 1_000_000


class OwnTime(Ticks):
    """A clock that moves when somebody waits for it, or serves."""

    def __init__(self) -> None:
        super().__init__()
        self.at_ns = 10**9

    def now_ns(self) -> int:  # type: ignore[override]
        return self.at_ns

    def wait_until(self, at_ns: int, cancelled: threading.Event) -> None:
        self.at_ns = max(self.at_ns, at_ns)


class Server:
    """Serves one query at a time, in its own time; counts how many were outstanding."""

    def __init__(self, took_ns: int = 10 * MS, stalls_ns: int = 0) -> None:
        self.ticks, self.took_ns, self.stalls_ns = OwnTime(), took_ns, stalls_ns
        self.fed: list[Any] = []
        self.inside = self.most = 0

    def predict(self, handle: Any, batch: Any) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.fed.append(batch)
        self.ticks.at_ns += self.took_ns + (self.stalls_ns if len(self.fed) == 1 else 0)
        self.inside -= 1

    def calls(self, batches: int = 1) -> Calls:
        return Calls(
            predict=self.predict,
            handle=None,
            batches=[{"batch": number} for number in range(batches)],  # type: ignore[dict-item]
            order=array("q", range(batches)),
            cancelled=threading.Event(),
            ticks=self.ticks,
        )


def latencies(times: Times, due_ns: array[int]) -> list[int]:
    load = settle(Options(name="server", target_qps=1.0), 1, 1, 0)
    return latencies_ns(Outcome(load, times, array("q"), due_ns))


def test_one_by_one_never_has_two_outstanding() -> None:
    """SingleStream: each query is issued when the one before it is done."""
    server, times = Server(3 * MS), Times(0)
    ended = one_by_one(server.calls(2), 1, times, lambda n, ns, t: "enough" if n == 5 else "")
    assert (ended, server.most, times.done) == ("enough", 1, 5)
    assert [row["batch"] for row in server.fed] == [0, 1, 0, 1, 0]
    assert [start - times.begin_ns for start in times.starts_ns] == [3 * MS * i for i in range(5)]
    assert list(times.durations_ns) == [3 * MS] * 5


def test_a_query_of_several_calls() -> None:
    server, times, asked = Server(MS), Times(0), []

    def ended(queries: int, issued_ns: int, _: Times) -> str:
        asked.append((queries, issued_ns))
        return "enough" if queries == 2 else ""

    one_by_one(server.calls(), 8, times, ended)
    assert asked == [(1, 0), (2, 8 * MS)]
    assert times.done == len(times.starts_ns) == 16


def test_a_stalled_server_shows_the_queue() -> None:
    """Due every 20 ms, 10 ms each; the first stalls for 100 ms: those behind it waited."""
    server, times = Server(10 * MS, stalls_ns=100 * MS), Times(0)
    due = array("q", [20 * MS * i for i in range(12)])
    assert arriving(server.calls(), 1, due, 1, Giving(), times) == "every query was issued"
    keep_whole(times, 1)
    # Done at 110, then 120, 130 … until the queue is empty at 210 ms, when the 11th is due at 200.
    by_hand = [110, 100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 10]
    assert latencies(times, due) == [ms * MS for ms in by_hand]
    assert list(times.durations_ns[1:]) == [10 * MS] * 11


def test_what_cannot_hold_the_bound_any_more_is_given_up() -> None:
    server, times = Server(10 * MS), Times(0)
    due = array("q", [MS * i for i in range(100)])  # ten times too fast
    why = arriving(server.calls(), 1, due, 1, Giving(bound_ns=50 * MS, late=3), times)
    kept = keep_whole(times, 1)
    # The n-th is done at 10 (n + 1) and due at n: late from the fifth on (60 - 5 = 55 ms).
    assert (why, list(kept)) == ("the bound cannot be held any more", [*range(8)])


def test_a_maximum_of_time_leaves_the_rest() -> None:
    server, times = Server(10 * MS), Times(0)
    due = array("q", [0] * 100)
    assert arriving(server.calls(), 2, due, 1, Giving(max_ns=45 * MS), times) == "max_duration"
    # Calls begin at 0, 10, 20, 30, 40 ms; the third query's second call would begin at 50.
    assert list(keep_whole(times, 2)) == [0, 1]
    assert times.done == len(times.starts_ns) == 4


def test_several_threads_serve_one_queue() -> None:
    """Two threads that sleep 20 ms each, a query every 10 ms: neither falls behind for good."""
    seen: set[int] = set()

    def predict(handle: Any, batch: Any) -> None:
        seen.add(threading.get_ident())
        time.sleep(0.02)

    calls = Calls(
        predict=predict,
        handle=None,
        batches=[{}],
        order=array("q", [0]),
        cancelled=threading.Event(),
        ticks=Ticks(spin_ns=0),
    )
    times, due = Times(0), array("q", [10 * MS * i for i in range(20)])
    arriving(calls, 1, due, 2, Giving(), times)
    assert len(seen) == 2
    assert len(keep_whole(times, 1)) == 20
    overlapping = sum(
        after < start + took
        for start, took, after in zip(
            times.starts_ns, times.durations_ns, times.starts_ns[1:], strict=False
        )
    )
    assert overlapping >= 5


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_any_thread_ends_the_run(threads: int) -> None:
    def predict(handle: Any, batch: Any) -> None:
        raise ValueError("no")

    calls = Calls(
        predict=predict,
        handle=None,
        batches=[{}],
        order=array("q", [0]),
        cancelled=threading.Event(),
    )
    with pytest.raises(ValueError, match="no"):
        arriving(calls, 1, array("q", [0] * 10), threads, Giving(), Times(0))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_wait_hears_a_cancel(threads: int) -> None:
    server = Server()
    calls = Calls(
        predict=server.predict,
        handle=None,
        batches=[{}],
        order=array("q", [0]),
        cancelled=threading.Event(),
    )
    threading.Timer(0.05, calls.cancelled.set).start()
    begin_s = time.monotonic()
    with pytest.raises(Cancelled):
        arriving(calls, 1, array("q", [10**11]), threads, Giving(), Times(0))
    assert time.monotonic() - begin_s < 5


def test_no_query_is_issued_before_it_is_due() -> None:
    due = array("q", [0, 20 * MS, 20 * MS, 50 * MS])
    times = Times(0)
    calls = Calls(
        predict=lambda handle, batch: None,
        handle=None,
        batches=[{}],
        order=array("q", [0]),
        cancelled=threading.Event(),
    )
    arriving(calls, 1, due, 1, Giving(), times)
    issued = [start - times.begin_ns for start in times.starts_ns]
    assert all(at >= when for at, when in zip(issued, due, strict=True))
