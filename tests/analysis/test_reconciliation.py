"""Sums that are worked out by hand: two predicts, their layers, and what these called."""

from __future__ import annotations

from analysis.reconciliation import CoverageRow, reconcile
from bus import codec
from bus.messages import Span, SpansRecorded
from collector.timeline import Timeline, assemble

MODEL, FRAMEWORK, LIBRARY = 2, 3, 4


def timeline_of(*spans: tuple[int, str, int, int, dict[str, str]]) -> Timeline:
    """Spans as (level, name, start, duration, tags), all of one run on one thread."""
    rows = [
        Span(
            span_id=number,
            parent_id=0,
            level=level,
            name=name,
            start_ns=start_ns,
            duration_ns=took_ns,
            thread=0 if tags.get("kind") == "kernel" else 7,
            correlation_id=int(tags.get("number", 0)),
            tags=tags,
        )
        for number, (level, name, start_ns, took_ns, tags) in enumerate(spans, 1)
    ]
    batch = SpansRecorded(
        evaluation_id="e1",
        source="worker",
        node_id="n1",
        batch=0,
        run=3,
        levels={},
        count=len(rows),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(rows),
    )
    return assemble([batch], [])


def test_nothing_is_counted_twice() -> None:
    found = reconcile(
        timeline_of(
            (MODEL, "predict", 1000, 100, {}),
            (FRAMEWORK, "block", 1010, 60, {}),
            (FRAMEWORK, "conv", 1020, 40, {}),  # inside the block: counted with it
            (LIBRARY, "reorder", 1022, 5, {}),
            (LIBRARY, "convolution", 1030, 25, {}),
            (FRAMEWORK, "relu", 1075, 15, {}),  # calls nobody
            (MODEL, "predict", 2000, 100, {}),
            (FRAMEWORK, "conv", 2010, 65, {}),
            (LIBRARY, "convolution", 2020, 45, {}),
        )
    )
    assert found == [
        CoverageRow(
            run=3,
            deepest="library",
            queries=2,
            predict_ns=200,
            layers_ns=60 + 15 + 65,
            layers_percent=70.0,
            calls=3,
            calls_ns=5 + 25 + 45,
            calling_layers_ns=40 + 65,
            calls_percent=100.0 * 75 / 105,
        )
    ]


def test_what_a_device_does_is_not_part_of_the_layer_that_launched_it() -> None:
    (row,) = reconcile(
        timeline_of(
            (MODEL, "predict", 1000, 100, {}),
            (FRAMEWORK, "linear", 1010, 30, {}),
            (LIBRARY, "cudaLaunchKernel", 1020, 6, {"kind": "launch", "number": "9"}),
            (LIBRARY, "gemm", 1060, 30, {"kind": "kernel", "number": "9"}),
        )
    )
    assert (row.layers_ns, row.calls, row.calls_ns, row.device_ns) == (30, 1, 6, 30)
    assert row.calls_percent == 20.0


def test_a_timeline_without_layers_has_no_rows() -> None:
    assert reconcile(timeline_of((MODEL, "predict", 1000, 100, {}))) == []
    assert reconcile(timeline_of()) == []
