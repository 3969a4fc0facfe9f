"""Layers of a small timeline, and whole results, with numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from analysis.layers import layer_times, slowest_layers
from analysis.summary import summarize
from bus import codec
from bus.messages import (
    ClassScore,
    EvaluationFailed,
    EvaluationFinished,
    GraphDescribed,
    JobFailed,
    JobFinished,
    JobStarted,
    LayerDescribed,
    Message,
    ModelOpened,
    Prediction,
    PredictionsMade,
    Run,
    RunMeasured,
    Span,
    SpansRecorded,
    TensorSpec,
)
from collector.timeline import Timeline, assemble

FACT: dict[str, Any] = {
    "evaluation_id": "e1",
    "job_id": "j1",
    "attempt": 1,
    "node_id": "n1",
    "at_ns": 0,
}


def timeline_of(*runs: list[Span]) -> Timeline:
    return assemble(
        [
            SpansRecorded(
                evaluation_id="e1",
                source="worker",
                node_id="n1",
                batch=index,
                run=index,
                levels={},
                count=len(spans),
                first_start_ns=0,
                last_end_ns=0,
                block=codec.pack_rows(spans),
            )
            for index, spans in enumerate(runs)
        ],
        [],
    )


def layer(span_id: int, index: int, name: str, start: int, took: int) -> Span:
    return Span(span_id, 0, 3, name, start, took, tags={"index": index, "operator": "Conv"})


PROFILED = [
    Span(11, 0, 2, "predict", 1_000, 100),
    layer(12, 0, "a", 1_000, 30),
    layer(13, 1, "b", 1_030, 50),
    Span(21, 0, 2, "predict", 2_000, 100),
    layer(22, 0, "a", 2_000, 40),
    layer(23, 1, "b", 2_040, 60),
]
GRAPH = GraphDescribed(
    **FACT,
    sequence=3,
    run=1,
    layers=[LayerDescribed(index=1, name="b", operator="Gemm", outputs=[TensorSpec(shape=[1, 9])])],
)


def test_layers_in_execution_order() -> None:
    timeline = timeline_of([Span(1, 0, 2, "predict", 0, 80)], PROFILED)
    rows = layer_times(timeline, GRAPH)
    found = [(r.index, r.name, r.operator, r.output_shape, r.queries, r.run) for r in rows]
    assert found == [(0, "a", "Conv", [], 2, 1), (1, "b", "Gemm", [1, 9], 2, 1)]
    assert [(r.median_ns, r.total_ns) for r in rows] == [(30, 70), (50, 110)]
    assert [r.share_percent for r in rows] == pytest.approx([35.0, 55.0])  # of 200 ns


def test_the_slowest_first() -> None:
    timeline = timeline_of([], PROFILED)
    assert [r.name for r in slowest_layers(timeline, None)] == ["b", "a"]
    assert [r.name for r in slowest_layers(timeline, None, k=1)] == ["b"]
    assert slowest_layers(timeline, None, run=0) == []


def test_without_predicts_there_is_no_share() -> None:
    (row,) = layer_times(timeline_of([layer(1, 0, "a", 0, 5)]), None)
    assert row.share_percent is None


def facts(*, lost: int = 0) -> list[Message]:
    runs = [Run(index=0, batch_size=1, level="model", queries=3, warmup=0)]
    return [
        JobStarted(
            **FACT,
            sequence=0,
            incarnation="i",
            model="AlexNet",
            model_version="1.0.0",
            model_digest="sha256:0",
            framework="onnxruntime",
            framework_version="1.31.1",
            environment="default",
            requested={"threads": 1},
            runs=runs,
        ),
        ModelOpened(
            **FACT,
            sequence=1,
            run=0,
            framework="onnxruntime",
            framework_version="1.31.1",
            cached=False,
            duration_ns=7,
            settings={"intra_op_threads": 1},
        ),
        PredictionsMade(**FACT, sequence=2, run=0, first=1, predictions=[said("b")]),
        PredictionsMade(**FACT, sequence=3, run=0, first=0, predictions=[said("a")]),
        RunMeasured(
            **FACT,
            sequence=4,
            run=0,
            batch_size=1,
            level="model",
            scenario="online",
            start_ns=0,
            starts_ns=[0, 0, 0],
            durations_ns=[30, 10, 20],
        ),
        JobFinished(**FACT, sequence=5, spans={"model": 3}, lost_spans=lost),
        EvaluationFinished(evaluation_id="e1", at_ns=9, jobs=[]),
    ]


def said(name: str) -> Prediction:
    return Prediction(input=name, classes=[ClassScore(index=1, label="x", probability=0.5)])


def test_a_result() -> None:
    result = summarize(facts())
    assert (result.evaluation_id, result.state, result.model) == ("e1", "finished", "AlexNet")
    assert (result.requested, result.effective) == ({"threads": 1}, {"intra_op_threads": 1})
    assert [p.input for p in result.predictions] == ["a", "b"]
    assert result.latency[0].p50_ns == 20 and result.best_batch is not None
    assert (result.opened_ns, result.spans) == (7, {"model": 3})
    assert result.complete and result.missing == [] and result.failures == []
    assert msgspec.json.decode(msgspec.json.encode(result))["latency"][0]["p50_ns"] == 20


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        (facts(lost=2), ["2 lost spans of job j1"]),
        (facts()[:1] + facts()[2:], ["1 facts of job j1"]),
        (facts()[:4], ["runs 0 of job j1", "the end of job j1"]),
    ],
    ids=["lost spans", "a gap", "cut short"],
)
def test_what_is_missing_is_said(told: list[Message], missing: list[str]) -> None:
    result = summarize(told)
    assert not result.complete
    assert all(want in have for want, have in zip(missing, result.missing, strict=True))


def test_a_failure_is_told_once() -> None:
    job = JobFailed(**FACT, sequence=1, kind="input", text="no image")
    whole = EvaluationFailed(evaluation_id="e1", at_ns=1, kind="input", text="no image")
    result = summarize([facts()[0], job, whole])
    assert result.state == "failed"
    assert [(f.kind, f.node_id) for f in result.failures] == [("input", "n1")]
    assert summarize([msgspec.structs.replace(whole, kind="cancelled")]).state == "cancelled"


def test_no_facts() -> None:
    result = summarize([])
    assert (result.evaluation_id, result.state, result.latency) == ("", "running", [])
