"""Claims beside measured figures, with ratios worked out by hand, and how a person reads them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from analysis.claims import Measured, claims_against
from analysis.summary import Result, summarize
from bus.messages import Claim, JobStarted, Run, RunMeasured
from mlmodelscope.report import claim_lines, print_result

TIMES = [
    Measured(metric="latency", value=8_000_000, batch_size=1),
    Measured(metric="latency", value=20_000_000, batch_size=4),
    Measured(metric="throughput", value=200.0, batch_size=4),
]
SCORES = [Measured(metric="top1", value=0.75, on="MNIST-5k")]


@pytest.mark.parametrize(
    ("claim", "measured", "ratio", "why"),
    [
        ({"metric": "latency", "value": 10, "unit": "ms", "batch_size": 4}, 20.0, 2.0, ""),
        ({"metric": "Latency", "value": 4000, "unit": "us", "batch_size": 1}, 8000.0, 2.0, ""),
        (
            {"metric": "latency", "value": 0.01, "unit": "s", "batch_size": 8},
            0.008,
            None,
            "claimed at batch 8, measured at batch 1",
        ),
        (
            {"metric": "latency", "value": 10, "unit": "ms"},
            8.0,
            None,
            "the claim names no batch size, measured at batch 1",
        ),
        ({"metric": "throughput", "value": 400, "batch_size": 4}, 200.0, 0.5, ""),
        ({"metric": "top-1", "value": 60, "unit": "%", "on": "mnist 5k"}, 75.0, 1.25, ""),
        ({"metric": "top1", "value": 0.5, "on": "MNIST-5k"}, 0.75, 1.5, ""),
        (
            {"metric": "top1", "value": 75.1, "unit": "%", "on": "ImageNet"},
            75.0,
            None,
            "claimed on ImageNet, measured on MNIST-5k",
        ),
        (
            {"metric": "top1", "value": 75.1, "unit": "%"},
            75.0,
            None,
            "the claim names no dataset, measured on MNIST-5k",
        ),
        ({"metric": "mAP", "value": 0.4}, None, None, "not measured here"),
    ],
)
def test_a_claim_beside_what_was_measured(
    claim: dict[str, Any], measured: float | None, ratio: float | None, why: str
) -> None:
    (row,) = claims_against([Claim(**claim)], TIMES + SCORES)
    assert row.measured == (None if measured is None else pytest.approx(measured))
    assert row.ratio == (None if ratio is None else pytest.approx(ratio))
    assert row.why == why


def started(**fields: Any) -> JobStarted:
    return JobStarted(
        evaluation_id="e1",
        job_id="j1",
        attempt=1,
        node_id="n1",
        at_ns=0,
        sequence=0,
        incarnation="i",
        model="AlexNet",
        model_version="1.0.0",
        model_digest="sha256:0",
        framework="onnxruntime",
        framework_version="1.31.1",
        environment="default",
        runs=[Run(index=0, batch_size=1, level="model", queries=3, warmup=0)],
        **fields,
    )


def result(**fields: Any) -> Result:
    run = RunMeasured(
        evaluation_id="e1",
        job_id="j1",
        attempt=1,
        node_id="n1",
        at_ns=0,
        sequence=1,
        run=0,
        batch_size=1,
        level="model",
        scenario="online",
        start_ns=0,
        starts_ns=[0, 20_000_000, 40_000_000],
        durations_ns=[8_000_000, 8_000_000, 8_000_000],
    )
    return summarize([started(**fields), run])


def test_a_result_holds_its_claims(capsys: pytest.CaptureFixture[str]) -> None:
    claims = [
        Claim(metric="top1", value=75.1, unit="%", on="ImageNet", source="arXiv"),
        Claim(metric="latency", value=16, unit="ms", batch_size=1, on="a telephone"),
    ]
    found = result(claims=claims)
    assert claim_lines(found.claims) == [
        "claimed top1 75.1 % (ImageNet, arXiv): not measured here",
        "claimed latency 16 ms (batch 1, a telephone), measured 8 ms: ×0.50",
    ]
    print_result(found, [], None)
    shown = " ".join(capsys.readouterr().out.split())
    assert "measured 8 ms: ×0.50" in shown and "weights:" not in shown


def test_random_weights_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(weights="random")
    assert found.weights == "random"
    print_result(replace(found, predictions=[]), [], None)
    assert "weights: random: good for timing, never for accuracy" in capsys.readouterr().out
