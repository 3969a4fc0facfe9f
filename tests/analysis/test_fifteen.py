"""The fifteen analyses on an evaluation whose every number is worked out by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analysis.answers import Answer
from analysis.evidence import Evidence
from analysis.fifteen import ANALYSES, FIFTEEN, answers, asked_of, chosen
from analysis.roofline import Roof
from bus.errors import InputError, UnknownNameError
from bus.messages import Ceiling, Run

spec = importlib.util.spec_from_file_location("leveled", Path(__file__).parent / "leveled.py")
assert spec and spec.loader
lv: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lv)
MS = lv.MS


def ask(evidence: Evidence, number: str) -> list[dict[str, Any]]:
    return answer(evidence, number).table()


def answer(evidence: Evidence, number: str) -> Answer:
    (found,) = answers(asked_of(evidence), [number])
    return found


@pytest.fixture(scope="module")
def small() -> Evidence:
    return lv.leveled()


def test_the_deepest_run_does_not_touch_what_shallower_ones_hold() -> None:
    """Given M, M/L, M/L/G runs, changing M/L/G leaves A1 to A7 as they were."""
    one, other = lv.leveled(2.0), lv.leveled(7.0)
    for number in FIFTEEN[:7]:
        assert ask(one, number) == ask(other, number), number
    assert ask(one, "A1")[0]["latency_ns"] == 10 * MS  # model level, not 12 nor 20 ms
    assert [row["latency_ns"] for row in ask(one, "A3")] == [5 * 1.2 * MS, 2 * 1.2 * MS]


@pytest.mark.parametrize(
    ("intensity", "bound"), [(17.43, "memory"), (17.45, "compute"), (0.0, "memory")]
)
def test_the_ridge_of_a_v100(intensity: float, bound: str) -> None:
    """15,700 GFLOP/s and 900 GB/s: 17.44; below it memory is the limit, above it compute."""
    roof = Roof(peak_gflops=15_700, bandwidth_gb_per_s=900, source="datasheet", what="V100")
    assert round(roof.ideal_intensity, 2) == 17.44
    assert roof.bound(intensity) == bound
    assert roof.attainable(10) == 9_000 and roof.attainable(100) == 15_700


def test_throughputs_and_the_batch_to_use() -> None:
    """Throughputs {1: 100, 2: 190, 4: 300, 8: 310}: the optimal batch is 4."""
    rates = {1: 100, 2: 190, 4: 300, 8: 310}
    told = [
        lv.measured(n, size, "model", round(size * 1e9 / rate))
        for n, (size, rate) in enumerate(rates.items())
    ]
    runs = [
        Run(index=n, batch_size=size, level="model", queries=10, warmup=0)
        for n, size in enumerate(rates)
    ]
    rows = ask(Evidence(lv.facts(runs, told), None), "A1")
    assert [round(row["throughput"]) for row in rows] == list(rates.values())
    assert [row["batch_size"] for row in rows if row["optimal"]] == [4]
    assert rows[2]["per_input_ms"] == pytest.approx(1000 / 300)


def test_layers(small: Evidence) -> None:
    rows = ask(small, "A2")
    assert [(row["index"], row["name"], row["operator"]) for row in rows] == [
        (0, "conv", "Conv"),
        (1, "relu", "Relu"),
    ]
    # 4 x 8 x 8 results of 3 x 3 x 3 multiply-adds; the relu compares each of them once.
    assert [(row["macs"], row["flops"]) for row in rows] == [(6912, 13824), (0, 256)]
    assert [row["latency_percent"] for row in rows] == [60.0, 24.0]  # 6 and 2.4 of 10 ms
    assert [row["allocated_bytes"] for row in ask(small, "A4")] == [400, 800]
    assert [row["until_ns"] for row in ask(small, "A3")] == [6 * MS, 8.4 * MS]


@pytest.mark.parametrize("number", ["A5", "A6", "A7"])
def test_percentages_sum_to_100(small: Evidence, number: str) -> None:
    """A5, A6 and A7, but for rounding."""
    rows = ask(small, number)
    assert sum(row["percent"] for row in rows) == pytest.approx(100, abs=0.005 * len(rows))


def test_types(small: Evidence) -> None:
    assert [(r["operator"], r["count"], r["percent"]) for r in ask(small, "A5")] == [
        ("Conv", 1, 50.0),
        ("Relu", 1, 50.0),
    ]
    assert [(r["operator"], r["percent"]) for r in ask(small, "A6")] == [
        ("Conv", 71.43),  # 5 of 7
        ("Relu", 28.57),
    ]
    assert [(r["operator"], r["percent"]) for r in ask(small, "A7")] == [
        ("Relu", 66.67),  # 800 of 1200
        ("Conv", 33.33),
    ]


def test_kernels_belong_to_the_layer_that_launched_them(small: Evidence) -> None:
    """They run long after it, and in another order of names."""
    rows = ask(small, "A8")
    assert [(r["layer"], r["name"], r["latency_ns"]) for r in rows] == [
        (0, "winograd", 3 * MS),
        (0, "relu_inside", 1 * MS),
        (1, "relu_inside", 0.5 * MS),
    ]
    first = rows[0]
    # additions and multiplications once, fused ones twice: 10e6 + 20e6 + 2 x 30e9
    assert first["flops"] == 60_030_000_000
    assert (first["read_bytes"], first["write_bytes"], first["occupancy_percent"]) == (2e9, 1e9, 50)
    assert first["intensity"] == pytest.approx(20.01)  # 60.03e9 over 3e9 bytes
    assert first["gflops"] == pytest.approx(20_010)  # in 3 ms
    assert first["bound"] == "compute" and first["attainable_gflops"] == 15_700
    assert rows[1]["bound"] == "memory" and rows[1]["source"] == "counters"


def test_sums_over_kernels(small: Evidence) -> None:
    """A11's columns sum to A15 (layer 0 in and out), A10's times to A8's."""
    kernels, names, layers, (model,) = (ask(small, n) for n in ("A8", "A10", "A11", "A15"))
    for column in ("latency_ns", "flops", "read_bytes", "write_bytes", "bytes", "count"):
        assert sum(row[column] for row in layers) == model[column]
        without = [row for row in layers if row["layer"]]
        rest = [row for row in kernels if row["layer"]] if column != "count" else [{"count": 1}]
        assert sum(row[column] for row in without) == sum(row[column] for row in rest)
    assert sum(r["latency_ns"] for r in names) == sum(r["latency_ns"] for r in kernels) == 4.5 * MS
    assert [(row["name"], row["count"]) for row in names] == [("winograd", 1), ("relu_inside", 2)]
    assert [row["latency_percent"] for row in names] == [30.0, 15.0]  # of 10 ms
    # weighted by time: (3 x 50 + 1 x 25) / 4 and (3 x 50 + 1 x 25 + 0.5 x 100) / 4.5
    assert layers[0]["occupancy_percent"] == pytest.approx(43.75)
    assert model["occupancy_percent"] == pytest.approx(50.0)
    assert model["intensity"] == pytest.approx(60_036_000_000 / 6e9)
    assert model["bound"] == "memory"


def test_metrics_and_rooflines_of_layers(small: Evidence) -> None:
    metrics, roofline = ask(small, "A12"), ask(small, "A14")
    assert [row["flops"] for row in metrics] == [60_035_000_000, 1_000_000]
    assert [(row["read_bytes"], row["write_bytes"]) for row in metrics] == [(3e9, 2e9), (5e8, 5e8)]
    assert [row["intensity"] for row in roofline] == pytest.approx([12.007, 0.001])
    assert [row["gflops"] for row in roofline] == pytest.approx([60.035e9 / 4e6, 2.0])


def test_gpu_and_cpu_add_up_to_the_layer(small: Evidence) -> None:
    """A13: of every layer."""
    rows = ask(small, "A13")
    for row in rows:
        assert row["gpu_ns"] + row["cpu_ns"] == row["layer_ns"]
    assert [(row["gpu_ns"], row["cpu_ns"]) for row in rows] == [
        (4 * MS, 2 * MS),
        (0.5 * MS, 1.9 * MS),
    ]


def test_another_run_may_number_the_layers_differently(small: Evidence) -> None:
    """As TensorFlow does: a name that is one layer's alone decides."""
    moved = lv.leveled()
    moved._timeline = lv.timeline_of(
        {
            0: lv.spans_of(0, lv.MODEL),
            1: lv.spans_of(1, lv.FRAMEWORK, 1.2),
            2: [renumbered(span) for span in lv.spans_of(2, lv.LIBRARY, 2.0)],
        }
    )
    for number in ("A8", "A11", "A13"):
        assert ask(moved, number) == ask(small, number)


def test_counters_may_be_of_a_run_of_their_own(small: Evidence) -> None:
    """Counting runs each kernel several times: its run has launches and counts, and no times."""
    apart, level = lv.leveled(), lv.HARDWARE
    timed = [span for span in lv.spans_of(2, lv.LIBRARY, 2.0) if span.level != level]
    counted = [
        msgspec.structs.replace(span, tags={**span.tags, "times": "of the launch"})
        if span.level == level
        else span
        for span in lv.spans_of(3, lv.LIBRARY, 9.0)
        if span.tags.get("kind") != "kernel"
    ]
    runs = {0: lv.spans_of(0, lv.MODEL), 1: lv.spans_of(1, lv.FRAMEWORK, 1.2), 2: timed, 3: counted}
    assert apart.started
    more = Run(index=3, batch_size=1, level="hardware", queries=2, warmup=0)
    apart.started = msgspec.structs.replace(apart.started, runs=[*apart.runs, more])
    apart._timeline = lv.timeline_of(runs)
    for number in ("A8", "A10", "A11", "A12", "A13", "A14"):
        assert ask(apart, number) == ask(small, number), number


def renumbered(span: Any) -> Any:
    tags = {**span.tags, "index": 1 - span.tags["index"]} if "index" in span.tags else span.tags
    return msgspec.structs.replace(span, tags=tags)


def test_kernels_that_outlast_their_layer_are_said_to() -> None:
    slow = lv.leveled()
    lv.KERNELS["relu"].append(("copy", 9.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0))
    try:
        found = answer(lv.leveled(), "A13")
    finally:
        lv.KERNELS["relu"].pop()
    assert [row["asynchronous"] for row in found.table()] == [False, True]
    assert any("--serialize" in note for note in found.notes)
    assert not any(row["asynchronous"] for row in ask(slow, "A13"))


@pytest.mark.parametrize("number", FIFTEEN)
def test_without_a_gpu_cells_are_missing_with_the_reason_and_never_0(number: str) -> None:
    """What only a GPU can tell reads n/a."""
    cpu = lv.leveled(on_device=False)
    found = answer(cpu, number)
    assert found.rows and found.analysis == number
    for row in found.table():
        assert row["analysis"] == number
        for name, value in row.items():
            if value is None:
                assert row["na"][name], (number, name)
        for name in ("occupancy_percent", "read_bytes", "write_bytes", "gpu_ns", "cpu_ns"):
            if name in row:
                assert row[name] is None and "CPU" in row["na"][name]


def test_on_a_cpu_layers_stand_where_kernels_do_and_say_so() -> None:
    cpu = lv.leveled(on_device=False)
    found = answer(cpu, "A8")
    assert [(r["name"], r["of"], r["source"]) for r in found.table()] == [
        ("Conv", "layer", "analytic"),
        ("Relu", "layer", "analytic"),
    ]
    # every tensor once, 4 bytes an element: 192 in, 108 weights, 256 out
    assert found.table()[0]["bytes"] == 4 * (192 + 108 + 256)
    assert any("layers stand where kernels do" in note for note in found.notes)
    assert "mlmodelscope ceilings n1" in found.table()[0]["na"]["bound"]


def test_measured_ceilings_judge_on_a_cpu() -> None:
    compute = Ceiling(kind="compute", dtype="float32", value=100.0, unit="GFLOP/s", how="product")
    ceilings = [
        compute,
        msgspec.structs.replace(compute, threads=2, value=180.0),
        Ceiling(kind="memory", value=10.0, unit="GB/s", how="triad"),
        Ceiling(kind="memory", value=8.0, unit="GB/s", threads=2, how="triad"),
    ]
    cpu = lv.leveled(on_device=False)
    judged = Evidence(
        lv.facts(cpu.runs, [lv.measured(0, 1, "model", 10 * MS)], gpu=False),
        cpu.timeline,
        ceilings=ceilings,
    )
    rows = ask(judged, "A14")
    # No number of threads was told: the best of each, 180 GFLOP/s and 10 GB/s.
    assert [row["attainable_gflops"] for row in rows] == pytest.approx(
        [10 * 13824 / 2224, 10 * 256 / 2048]
    )
    assert {row["bound"] for row in rows} == {"memory"}
    assert rows[0]["gflops"] == pytest.approx(13824 / (6 * MS))
    least = ask(judged, "theoretical")
    assert least[0]["least_ns"] == pytest.approx(2224 / 10)
    assert least[-1]["least_ns"] == pytest.approx((2224 + 2048) / 10)
    assert least[-1]["times_least"] == pytest.approx(10 * MS / 427.2)


def test_what_is_not_there_names_the_level() -> None:
    bare = Evidence(lv.facts([], [lv.measured(0, 1, "model", 1000)]), None)
    assert "--trace framework" in answer(bare, "A2").unavailable
    assert "--trace library" in answer(bare, "A8").unavailable
    assert not answer(bare, "A1").unavailable


def test_names() -> None:
    assert chosen("all") == list(FIFTEEN) and len(FIFTEEN) == 15
    assert chosen("a3, kernel-roofline") == ["A3", "A9"]
    assert len({name for name, _ in ANALYSES.values()}) == len(ANALYSES)
    with pytest.raises(UnknownNameError, match="A15, theoretical, model-information"):
        chosen("A99")
    with pytest.raises(InputError, match="no analysis"):
        chosen(" ")
    with pytest.raises(InputError, match="batch size 3 was not measured: there is 1"):
        asked_of(lv.leveled(), 3)
