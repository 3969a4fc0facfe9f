"""Counts of small timelines and samples, worked out by hand."""

from __future__ import annotations

from typing import Any

from analysis.counts import counts_per_query, sampled
from bus import codec
from bus.messages import MetricsRecorded, Span, SpansRecorded
from collector.timeline import Timeline, assemble

SYSTEM, HARDWARE = 5, 6


def span(number: int, level: int, **tags: Any) -> Span:
    return Span(number, 0, level, "s", 100 * number, 50, thread=1, tags=tags)


def timeline_of(*runs: list[Span]) -> Timeline:
    batches = [
        SpansRecorded(
            evaluation_id="e1",
            source="worker",
            node_id="n1",
            batch=run,
            run=run,
            levels={},
            count=len(spans),
            first_start_ns=0,
            last_end_ns=0,
            block=codec.pack_rows(spans),
        )
        for run, spans in enumerate(runs)
    ]
    return assemble(batches, [])


FIRST = [
    span(1, SYSTEM, query=0, minor_faults=3, run_delay_ns=10),
    span(2, SYSTEM, query=1, minor_faults=5, run_delay_ns=0),
    span(3, SYSTEM, query=2, minor_faults=100, run_delay_ns=20),
    span(4, SYSTEM, name="something else"),
]
SECOND = [
    span(5, SYSTEM, query=0, minor_faults=7777),
    span(6, HARDWARE, query=0, cycles=1000, counted_share=0.5, counted="user"),
    span(7, HARDWARE, query=1),
]


def test_counts_are_of_the_first_run_that_has_some() -> None:
    faults, delay = counts_per_query(timeline_of(FIRST, SECOND))
    assert (faults.name, faults.run, faults.queries) == ("minor_faults", 0, 3)
    assert (faults.mean, faults.median, faults.high, faults.total) == (36.0, 5.0, 100.0, 108.0)
    assert (delay.name, delay.mean, delay.high) == ("run_delay_ns", 10.0, 20.0)


def test_a_counter_that_had_no_turn_has_no_number() -> None:
    (cycles,) = counts_per_query(timeline_of(FIRST, SECOND), "hardware")
    assert (cycles.name, cycles.run, cycles.queries, cycles.mean) == ("cycles", 1, 1, 1000.0)
    assert counts_per_query(timeline_of(FIRST), "hardware") == []
    assert counts_per_query(timeline_of(FIRST, SECOND), "system", run=1)[0].mean == 7777.0


def batch(name: str, run: int, number: int, **samples: float) -> MetricsRecorded:
    return MetricsRecorded(
        evaluation_id="e1",
        source="worker",
        batch=number,
        run=run,
        name=name,
        unit="watts",
        level="hardware",
        times_ns=[int(at.removeprefix("at_")) for at in samples],
        values=[*samples.values()],
    )


def test_samples_of_a_run_are_one_row() -> None:
    (first, second) = sampled(
        [
            batch("power", 4, 2, at_40=10.0),
            batch("power", 4, 1, at_10=30.0, at_20=20.0),
            batch("power", 5, 3, at_50=1.0),
            batch("power", 6, 4),
        ]
    )
    assert (first.name, first.run, first.samples) == ("power", 4, 3)
    assert (first.mean, first.low, first.high, first.last) == (20.0, 10.0, 30.0, 10.0)
    assert (second.run, second.mean) == (5, 1.0)
