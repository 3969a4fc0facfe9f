"""Every number comes from the shallowest run that holds it: what deeper runs say changes none."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.latency import latency
from analysis.layers import layer_times
from analysis.overhead import tracing_overhead
from bus.messages import Level, RunMeasured, Span
from collector.timeline import Timeline

LEVELS_RUN: tuple[Level, ...] = ("model", "framework", "library")
FACT: dict[str, Any] = {
    "evaluation_id": "e1",
    "job_id": "j1",
    "attempt": 1,
    "node_id": "n1",
    "at_ns": 0,
    "scenario": "online",
    "start_ns": 0,
}


def measured(run: int, factor: int) -> RunMeasured:
    """Ten queries of 100 ns and more; factor: how much slower than that."""
    durations_ns = [factor * (100 + query) for query in range(10)]
    return RunMeasured(
        **FACT,
        sequence=run,
        run=run,
        batch_size=1,
        level=LEVELS_RUN[run],
        starts_ns=[1_000 * query for query in range(10)],
        durations_ns=durations_ns,
    )


def spans(run: int, factor: int) -> list[Span]:
    """A predict of two layers, each with a call of a library where the run is deep enough."""
    made, base = [], 100 * run
    for query in range(2):
        at = 10_000 * run + 5_000 * query
        made.append(Span(base + 10 * query + 1, 0, 2, "predict", at, 100 * factor))
        for index, name in enumerate("ab") if run >= 1 else ():
            took, tags = (30 + index) * factor, {"index": index, "operator": "Conv"}
            begin = at + 40 * factor * index
            number = base + 10 * query + 2 + 2 * index
            made.append(Span(number, 0, 3, name, begin, took, tags=tags))
            if run >= 2:
                made.append(Span(number + 1, 0, 4, "kernel", begin, took // 2))
    return made


@pytest.mark.parametrize("slower", [1, 3, 50])
def test_what_a_deep_run_says_changes_nothing_above_it(timeline_of: Any, slower: int) -> None:
    """XSP's acceptance: M/L/G's numbers leave what M and M/L say as it is."""

    def seen(library: int) -> tuple[Any, Any]:
        runs = [measured(0, 1), measured(1, 2), measured(2, library)]
        by_run = {
            ("n1", "worker", run): spans(run, factor) for run, factor in enumerate((1, 2, library))
        }
        timeline: Timeline = timeline_of(by_run)
        return latency(runs), layer_times(timeline, None)

    assert seen(2 * slower) == seen(2)
    rows, layers = seen(2 * slower)
    assert [row.level for row in rows] == ["model"] and rows[0].p50_ns == 104
    assert [(row.name, row.run, row.median_ns) for row in layers] == [("a", 1, 60), ("b", 1, 62)]


def test_what_each_level_cost_is_a_row() -> None:
    """The overhead of each level is reported."""
    rows = tracing_overhead([measured(0, 1), measured(1, 2), measured(2, 5)])
    assert [(row.level, row.base_level, row.ratio) for row in rows] == [
        ("framework", "model", 2.0),
        ("library", "model", 5.0),
    ]
    assert [row.added_ns for row in rows] == [104, 416]
