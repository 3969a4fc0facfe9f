"""The highest rate within a bound: of a server whose time is its own, and of made-up ones."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace

import pytest

from predictor_node.worker.arrivals import due_of
from predictor_node.worker.scenario import Load, Options, settle
from predictor_node.worker.searching import at_rank, max_qps, peak, search, too_many

MS = 1_000_000


def serve(due_ns: array[int], took_ns: int, bound_ns: int, late: int) -> list[int]:
    """One server, first come first served: done = max(due, free) + took."""
    free, found, over = 0, [], 0
    for due in due_ns:
        free = max(due, free) + took_ns
        found.append(free - due)
        over += free - due > bound_ns
        if over >= late:
            break
    return found


@pytest.mark.parametrize("rule", ["max_qps", "peak"])
def test_a_server_of_10_ms_is_found_below_100_a_second(rule: str) -> None:
    """And the rate that is found holds again with another seed."""
    options = Options(name="server", find=rule, latency_bound_ms=100.0)
    if rule == "peak":
        options = replace(options, min_duration_s=10.0, min_queries=1000)
    load = settle(options, 1, 100, seed=3)

    def issue(tried: Load, due_ns: array[int], late: int) -> list[int]:
        return serve(due_ns, 10 * MS, tried.bound_ns, late)

    found = search(load, issue)
    assert 50 < found.rate < 100
    chosen = found.probes[found.chosen]
    assert chosen["ok"] and chosen["target_qps"] == found.rate
    assert any(not probe["ok"] and probe["gave_up"] for probe in found.probes)
    assert len({probe["seed"] for probe in found.probes}) == len(found.probes)
    # Near the boundary, with seeds that no probe had.
    near = replace(load, target_qps=0.9 * found.rate)
    for seed in range(5):
        times = serve(due_of(near, seed=f"fresh {seed}"), 10 * MS, 1 << 62, 1 << 62)
        assert at_rank(rule, 0.99, times) <= 100 * MS


def test_max_qps_doubles_then_takes_the_middle_until_one_percent() -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= 1500

    found = max_qps(512.0, holds)
    assert tried[:4] == [512.0, 1024.0, 2048.0, 1536.0]
    assert 1500 / 1.01 < found <= 1500
    assert tried[-1] == found  # once more


def test_max_qps_below_its_first_rate() -> None:
    assert 3.4 / 1.01 < max_qps(512.0, lambda rate: rate <= 3.4) <= 3.4


def test_max_qps_takes_one_percent_less_where_the_edge_was_luck() -> None:
    seen: list[float] = []

    def holds(rate: float) -> bool:
        seen.append(rate)
        return rate < 1000 and not (len(seen) > 1 and seen.count(rate) > 1)

    found = max_qps(900.0, holds)
    assert found == pytest.approx(seen[-2] * 0.99)


def test_nothing_holds() -> None:
    assert max_qps(512.0, lambda rate: False) == 0.0
    assert peak(10.0, lambda rate: False) == 0.0


def test_peak_ends_one_tenth_apart() -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= 37.77

    found = peak(1.0, holds)
    assert tried[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert 0 <= math.floor(37.77 * 10) - math.floor(found * 10) <= 1


# (rule, n) -> how many over the bound are too many, from the rules' own formulas:
# the original sorted[ceil(.99 (n - 1))], LoadGen sorted[int(.99 n)].
@pytest.mark.parametrize(("rule", "n", "wanted"), [("max_qps", 1024, 11), ("peak", 1000, 10)])
def test_too_many_is_when_the_percentile_is_over(rule: str, n: int, wanted: int) -> None:
    assert too_many(rule, 0.99, n) == wanted
    for over in (wanted - 1, wanted):
        times = [1] * (n - over) + [9] * over
        assert (at_rank(rule, 0.99, times) > 5) is (over == wanted)
