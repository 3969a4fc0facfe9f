"""Every analysis has a figure, and a figure without data says why."""

from __future__ import annotations

import pytest

from analysis.answers import Answer
from analysis.evidence import Evidence
from analysis.fifteen import ANALYSES
from analysis.kernel_information import KernelsByName
from analysis.model_information import ModelRow
from analysis.roofline import Roof
from mlmodelscope import plots
from mlmodelscope.analyses import Analyses

ROOF = Roof(peak_gflops=100.0, bandwidth_gb_per_s=10.0, source="measured", what="one core")


def test_there_is_one_for_each_analysis() -> None:
    assert plots.DRAW.keys() == ANALYSES.keys()


def model_row(batch_size: int, throughput: float) -> ModelRow:
    return ModelRow(
        analysis="A1",
        batch_size=batch_size,
        run=0,
        level="model",
        queries=10,
        latency_ns=1e9 * batch_size / throughput,
        p50_ns=1,
        p90_ns=1,
        p99_ns=None,
        per_input_ms=1e3 / throughput,
        throughput=throughput,
        throughput_low=throughput - 5,
        throughput_high=throughput + 3,
        optimal=batch_size == 2,
    )


def test_throughput_over_batch_sizes() -> None:
    rows = [model_row(1, 100.0), model_row(2, 180.0), model_row(4, 185.0)]
    answer = Answer(analysis="A1", name="model-information", title="Model", rows=rows)
    latency, throughput, best = plots.figure(answer).data
    assert list(latency.y) == [10.0, pytest.approx(2000 / 180), pytest.approx(4000 / 185)]
    assert list(throughput.y) == [100.0, 180.0, 185.0]
    assert list(throughput.error_y.array) == [3.0] * 3
    assert list(throughput.error_y.arrayminus) == [5.0] * 3
    assert list(best.x) == [2]


def kernel(
    name: str, intensity: float | None, gflops: float | None, bound: str | None
) -> KernelsByName:
    na = {"intensity": "no counters", "gflops": "no counters"} if intensity is None else {}
    return KernelsByName(
        analysis="A9",
        na=na,
        name=name,
        count=1,
        latency_ns=1e6,
        latency_percent=1.0,
        flops=1.0,
        bytes=1.0,
        intensity=intensity,
        gflops=gflops,
        attainable_gflops=None,
        bound=bound,
        bound_by="measured",
        source="counters",
        read_bytes=None,
        write_bytes=None,
        occupancy_percent=None,
    )


def test_a_roofline_bends_at_the_ideal_intensity() -> None:
    rows = [kernel("a", 2.0, 15.0, "memory"), kernel("b", 40.0, 90.0, "compute")]
    answer = Answer(analysis="A9", name="kernel-roofline", title="Roof", rows=rows, roofs=[ROOF])
    line, memory, compute = plots.figure(answer).data
    assert (line.x[1], line.y[1]) == (10.0, 100.0)  # 100 GFLOP/s at 10 GB/s
    assert line.y[0] == pytest.approx(10 * line.x[0]) and line.y[2] == 100.0
    assert (list(memory.x), list(memory.y)) == ([2.0], [15.0])
    assert (list(compute.x), list(compute.y)) == ([40.0], [90.0])


def test_without_numbers_the_reason_is_drawn() -> None:
    answer = Answer(
        analysis="A9", name="kernel-roofline", title="Roof", rows=[kernel("a", None, None, None)]
    )
    made = plots.figure(answer)
    assert not made.data and made.layout.annotations[0].text == "n/a: no counters"


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a row, columns as fields; what is n/a is missing."""
    rows = [model_row(1, 100.0), model_row(2, 180.0)]
    answer = Answer(analysis="A1", name="model-information", title="Model", rows=rows)
    analyses = Analyses(Evidence([], None))
    monkeypatch.setattr(analyses, "answer", lambda what: answer)
    frame = analyses.frame("A1", kind)  # type: ignore[arg-type]
    assert list(frame["batch_size"]) == [1, 2] and list(frame["throughput"]) == [100.0, 180.0]
    missing = frame["p99_ns"].isna() if kind == "pandas" else frame["p99_ns"].is_null()
    assert missing.all() and "na" not in frame.columns
