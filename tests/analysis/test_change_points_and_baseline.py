"""Changes in a history, and a new run against it: known series, and the rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.baseline import Point, against_history, false_alarms
from analysis.change_points import change_points


def steps(*parts: tuple[float, int], spread: float = 0.01, seed: int = 0) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(v) for mean, count in parts for v in mean * (1 + rng.normal(0, spread, count))]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (((10, 20),), []),
        (((10, 12), (11, 12)), [12]),
        (((10, 10), (12, 10), (9, 10)), [10, 20]),
        (((10, 4),), []),
        ((), []),
    ],
)
def test_changes_of_known_series(parts: tuple[tuple[float, int], ...], expected: list[int]) -> None:
    assert change_points(steps(*parts)) == expected


def test_a_single_slow_run_is_no_change() -> None:
    history = steps((10, 20))
    history[9] = 15.0
    assert change_points(history) == []


def test_series_without_a_change_have_one_as_rarely_as_said() -> None:
    alarms = sum(bool(change_points(steps((10, 20), seed=seed))) for seed in range(100))
    assert alarms <= 12  # 5 expected at most; more than 12 has a probability below 0.001


def judged(times: list[float], new: float, tolerance: float = 0.02):  # type: ignore[no-untyped-def]
    history = [
        Point(evaluation_id=f"e{n}", at_ns=n, median_ns=time) for n, time in enumerate(times)
    ]
    point = Point(evaluation_id="new", at_ns=99, median_ns=new)
    return against_history(1, history, point, tolerance)


NORMAL = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2]


@pytest.mark.parametrize(
    ("times", "new", "verdict"),
    [
        (NORMAL, 110.0, "slower"),
        (NORMAL, 90.0, "faster"),
        (NORMAL, 100.0, "normal"),
        (NORMAL, 101.5, "normal"),  # beyond them all, within the tolerance
        (NORMAL[:4], 110.0, "too few runs"),
        ([50.0] * 2 + NORMAL, 110.0, "slower"),
    ],
)
def test_verdicts(times: list[float], new: float, verdict: str) -> None:
    assert judged(times, new).verdict == verdict


def test_what_was_before_the_last_change_does_not_count() -> None:
    row = judged(steps((50, 10), (100, 10)), 100.0)
    assert (row.changes, row.normal, row.verdict) == (["e10"], 10, "normal")
    assert judged(steps((50, 10), (100, 10)), 55.0).verdict == "faster"
    assert row.chance == 1 / 11 and "normal" in row.text


def test_few_runs_say_how_many_more() -> None:
    assert "needs 5: 3 more" in judged(NORMAL[:2], 100.0).text


def test_false_alarms_are_counted_on_the_history_itself() -> None:
    # Judged from the sixth on: 120 is slower than all before it, 100.1 is not.
    found = false_alarms([*NORMAL[:5], 120.0, 100.1], 0.02)
    assert (found.right, found.of) == (1, 2)
    alike = [false_alarms(steps((10, 30), seed=seed), 0.0) for seed in range(40)]
    alarms, judged_runs = sum(f.right for f in alike), sum(f.of for f in alike)
    # Each is the largest or the smallest of n + 1 with probability 2 / (n + 1).
    expected = sum(2 / (n + 1) for n in range(5, 30)) / 25
    assert alarms / judged_runs == pytest.approx(expected, rel=0.25)
