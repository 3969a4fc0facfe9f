"""The figures of a study, worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.answers import Answer, Row
from analysis.kernel_information import ModelRoofline
from analysis.latency import latency
from analysis.layer_information import LayerInformation
from analysis.layer_kernels import LayerRoofline
from analysis.roofline import Roof
from analysis.study import (
    Place,
    Point,
    latency_by_batch,
    normalised_latency,
    peak_throughput,
    throughput_by_system,
)
from analysis.study_layers import Traced, bounds, layers
from analysis.study_systems import Ran, Seen, cells, systems
from analysis.study_tradeoffs import Judged, Known, accuracy_by_framework, tradeoffs
from bus.messages import Conditions, NodeAnnounced, RunMeasured

MS = 1_000_000
NET, FAST, SLOW = "Net 1.0.0", "quick 1.0", "lazy 2.0"


def place(framework: str = FAST, node: str = "a", model: str = NET, setting: str = "") -> Place:
    return Place(model=model, framework=framework, node=node, setting=setting)


def point(where: Place, batch: int, ms: float | None, queries: int = 6, **more: Any) -> Point:
    """A cell whose predicts all took so long; None: it failed."""
    if ms is None:
        return Point(place=where, batch_size=batch, problem="out of memory")
    run = RunMeasured(
        evaluation_id="e",
        job_id="j",
        attempt=1,
        node_id=where.node,
        sequence=0,
        at_ns=0,
        run=0,
        batch_size=batch,
        level="model",
        scenario="online",
        start_ns=0,
        first_query=0,
        starts_ns=[0] * queries,
        durations_ns=[round(ms * MS)] * queries,
    )
    (row,) = latency([run])
    return Point(place=where, batch_size=batch, latency=row, evaluation_id="e", **more)


def rows_of(answer: Answer, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in answer.table()]


# ------------------------------------------------------------------ throughput and latency


def test_the_peak_and_the_batch_to_use() -> None:
    # Inputs a second: 1 / 10 ms = 100; 2 / 10.526 = 190; 4 / 13.333 = 300; 8 / 25.8 = 310.
    swept = [(1, 10.0), (2, 10.526), (4, 13.333), (8, 25.8)]
    points = [point(place(), batch, ms) for batch, ms in swept]
    points += [point(place(SLOW), 1, 20.0), point(place(SLOW), 2, None)]
    found = peak_throughput(points)
    lazy, quick = found.table()
    assert quick["framework"] == FAST
    assert quick["peak_throughput"] == pytest.approx(310, rel=1e-3)
    assert (quick["peak_batch_size"], quick["optimal_batch_size"]) == (8, 4)
    assert (quick["online_ns"], quick["failed"]) == (10 * MS, 0)
    assert quick["online_p90_ns"] is None and quick["na"]["online_p90_ns"] == "needs 10 queries"
    assert (lazy["peak_throughput"], lazy["peak_batch_size"], lazy["failed"]) == (50.0, 1, 1)
    assert found.notes == [
        "1 of 2 peaks are at the largest batch size that was measured: a larger one may be better"
    ]


def test_a_place_where_all_failed_says_why() -> None:
    (row,) = peak_throughput([point(place(), 2, None)]).table()
    assert row["peak_throughput"] is None and row["na"]["peak_throughput"] == "out of memory"
    assert row["na"]["online_ns"] == "batch size 1 is not part of the study"
    assert row["failed"] == 1


def test_latency_over_batches_holds_every_cell() -> None:
    points = [point(place(), 2, 4.0), point(place(), 1, 3.0, queries=2), point(place(), 4, None)]
    found = latency_by_batch(points)
    assert rows_of(found, "batch_size", "latency_ns", "low_ns", "per_input_ns") == [
        (1, 3 * MS, None, 3 * MS),
        (2, 4 * MS, 4 * MS, 2 * MS),
        (4, None, None, None),
    ]
    whys = [row["na"] for row in found.table()]
    assert whys[0]["low_ns"] == "needs 6 queries" and whys[2]["latency_ns"] == "out of memory"


def test_throughput_stands_system_by_system() -> None:
    points = [point(place(node=node), 2, ms) for node, ms in (("b", 8.0), ("a", 4.0))]
    assert rows_of(throughput_by_system(points), "node", "throughput") == [("a", 500), ("b", 250)]


def test_one_system_is_the_measure() -> None:
    points = [
        point(place(node="a"), 1, 10.0),
        point(place(node="b"), 1, 20.0),
        point(place(node="a"), 2, 10.0),
        point(place(node="b"), 2, 5.0),
        point(place(node="b"), 4, 7.0),
        point(place(node="b"), 8, None),
    ]
    found = normalised_latency(points, "a")
    b = [row for row in found.table() if row["node"] == "b"]
    assert [row["ratio"] for row in b] == [2.0, 0.5, None, None]
    assert b[0]["ratio_low"] == b[0]["ratio_high"] == 2.0  # every predict took the same
    assert b[2]["na"]["ratio"] == "a did not measure it"
    assert b[3]["na"]["ratio"] == "out of memory"
    # The geometric mean of 2 and 1/2.
    assert found.notes == ["the baseline is a", "b: ×1 (geometric mean of 2)"]


def test_one_system_alone_is_said_to_be() -> None:
    found = normalised_latency([point(place(), 1, 10.0)], "a")
    assert "all was measured on one system (a)" in found.notes
    assert rows_of(found, "ratio", "ratio_low", "ratio_high") == [(1.0, 1.0, 1.0)]


# ------------------------------------------------------------------ accuracy and costs


def judged(framework: str, value: float | None, **more: Any) -> Judged:
    return Judged(place=place(framework), dataset="Digits 1.0.0", name="top1", value=value, **more)


def test_accuracy_has_its_interval_or_its_reason() -> None:
    found = accuracy_by_framework(
        [judged(SLOW, None, problem="it is right by chance"), judged(FAST, 0.9, low=0.8, high=0.95)]
    )
    assert rows_of(found, "framework", "value") == [(SLOW, None), (FAST, 0.9)]
    assert found.table()[0]["na"]["value"] == "it is right by chance"
    assert accuracy_by_framework([]).unavailable == "the study has no dataset: --dataset"


def test_what_nothing_beats() -> None:
    points = [
        point(place(), 1, 2.0),  # 500 inputs/s
        point(place(), 2, 8.0),  # 250 inputs/s: slower and less of them
        point(place(SLOW), 1, 3.0),  # slower, more accurate
        point(place(SLOW), 2, None),
    ]
    known = Known(
        accuracy={(NET, FAST, ""): judged(FAST, 0.8), (NET, SLOW, ""): judged(SLOW, 0.9)},
        prices={"a": 3.6},
        joules={(place(), 1): 0.25},
        no_joules={(place(), 2): "no RAPL"},
    )
    found = tradeoffs(points, known)
    assert rows_of(found, "framework", "batch_size", "best") == [
        (SLOW, 1, True),
        (SLOW, 2, None),
        (FAST, 1, True),
        (FAST, 2, False),
    ]
    quick = found.table()[2]
    # 3.60 an hour is 0.001 a second; 1,000 inputs at 500 a second take 2 s. 0.25 J an input.
    assert quick["cost"] == pytest.approx(0.002) and quick["energy_j"] == 250.0
    assert found.table()[3]["na"]["energy_j"] == "no RAPL"
    assert found.table()[1]["na"]["best"] == "out of memory"
    assert found.notes == [
        "best: on the Pareto front of latency, throughput, accuracy, cost, all models"
    ]


def test_without_accuracy_models_are_not_held_against_each_other() -> None:
    large = place(model="Large 1.0.0")
    found = tradeoffs([point(place(), 1, 2.0), point(large, 1, 20.0)], Known())
    assert rows_of(found, "model", "best") == [("Large 1.0.0", True), (NET, True)]
    row = found.table()[0]
    assert row["na"]["cost"] == row["na"]["price"] == "node a has no label `price`"
    assert "each model by itself" in found.notes[0]


# ------------------------------------------------------------------ traces

ROOF = Roof(peak_gflops=100, bandwidth_gb_per_s=10, source="measured", what="by hand")
RATED: dict[str, Any] = {"bytes": None, "attainable_gflops": None, "bound_by": "measured",
                         "source": "analytic"}  # fmt: skip


def answer(number: str, rows: list[Row], why: str = "") -> Answer:
    return Answer(
        analysis=number, name=number, title="", rows=rows, unavailable=why, roofs=[ROOF] * (not why)
    )


def layer(index: int, operator: str, ms: float) -> tuple[LayerInformation, LayerRoofline]:
    about = {"operator": operator, "latency_ns": ms * MS}
    listed = LayerInformation(
        analysis="A2", index=index, name=f"n{index}", shape=[], latency_percent=None,
        allocated_bytes=None, allocated_by="", macs=None, flops=None, **about,
    )  # fmt: skip
    rated = LayerRoofline(
        analysis="A14", layer=index, layer_name=f"n{index}", flops=ms * MS * 50, gflops=50.0,
        intensity=20.0, bound="compute", **about, **RATED,
    )  # fmt: skip
    return listed, rated


def traced() -> Traced:
    """Four layers of 1, 4, 2 and 1 ms in a predict of 10 ms; nothing below them."""
    parts = [
        layer(0, "Conv", 1.0),
        layer(1, "Gemm", 4.0),
        layer(2, "Relu", 2.0),
        layer(3, "Softmax", 1.0),
    ]
    model = ModelRoofline(
        analysis="A15", batch_size=8, of="layer", count=4, model_ns=10.0 * MS,
        latency_ns=8.0 * MS, flops=4e8, gflops=50.0, intensity=5.0, bound="memory",
        read_bytes=None, write_bytes=None, occupancy_percent=None, **RATED,
    )  # fmt: skip
    kernels = answer("A10", [model])
    kernels.notes.append("no level below the layers was seen: layers stand where kernels do")
    return Traced(
        place=place(),
        batch_size=8,
        predict_ns=10.0 * MS,
        answers={
            "A2": answer("A2", [listed for listed, _ in parts]),
            "A14": answer("A14", [rated for _, rated in parts]),
            "A10": kernels,
            "A15": answer("A15", [model]),
        },
    )


def blind() -> Traced:
    answers = {number: answer(number, [], "it reads no layers back") for number in
               ("A2", "A10", "A14", "A15")}  # fmt: skip
    return Traced(place=place(SLOW), batch_size=4, predict_ns=5.0 * MS, answers=answers)


def test_the_bound_of_model_layers_and_kernels() -> None:
    found = bounds([traced(), blind()], "library")
    assert rows_of(found, "framework", "part", "rank", "name", "bound") == [
        (FAST, "model", 1, NET, "memory"),
        (FAST, "layer", 1, "n1", "compute"),
        (FAST, "layer", 2, "n2", "compute"),
        (FAST, "layer", 3, "n0", "compute"),
        (FAST, "kernel", 1, None, None),
        (SLOW, "model", 1, NET, None),
        (SLOW, "layer", 1, None, None),
    ]
    assert [row["operator"] for row in found.table()[:3]] == ["", "Gemm", "Relu"]
    model, first = found.table()[:2]
    # 4e8 FLOPs in the whole predict of 10 ms, not in its layers' 8 ms.
    assert model["gflops"] == pytest.approx(40.0) and model["latency_ns"] == 10.0 * MS
    assert first["latency_percent"] == 40.0
    assert found.table()[4]["na"]["bound"] == f"{FAST} showed nothing below its layers here"
    assert found.table()[5]["na"]["bound"] == "it reads no layers back"
    assert found.roofs == [ROOF] and found.notes[0].startswith("a, measured: 100.0 GFLOP/s")


def test_layers_are_stacked_up_to_the_predict() -> None:
    found = layers([traced(), blind()], "library")
    assert rows_of(found, "framework", "name", "kind", "start_ns", "latency_ns") == [
        (FAST, "n0", "convolution", 0.0, 1.0 * MS),
        (FAST, "n1", "matrix product", 1.0 * MS, 4.0 * MS),
        (FAST, "n2", "elementwise and norm", 5.0 * MS, 2.0 * MS),
        (FAST, "n3", "softmax", 7.0 * MS, 1.0 * MS),
        (FAST, "outside of layers", "outside of layers", 8.0 * MS, 2.0 * MS),
        (SLOW, None, "not told by layer", 0.0, 5.0 * MS),
    ]
    assert sum(row["latency_percent"] for row in found.table()[:5]) == pytest.approx(100)
    assert found.table()[5]["na"]["name"] == "it reads no layers back"


def test_no_traces_says_how_deep_it_looked() -> None:
    for made in (bounds([], "model"), layers([], "model")):
        assert made.unavailable == "the study has no traces: its trace level is model"


# ------------------------------------------------------------------ the study's own record


def test_what_went_wrong_comes_first() -> None:
    ran = [
        Ran(place=place(), part="sweep", batch_size=1, evaluation_id="e1"),
        Ran(place=place(), part="sweep", batch_size=2, problem="out of memory"),
        Ran(place=place(), part="trace", batch_size=1, missing=["2 facts of job j"]),
    ]
    found = cells(ran)
    assert rows_of(found, "state", "part", "problem") == [
        ("failed", "sweep", "out of memory"),
        ("incomplete", "trace", "2 facts of job j"),
        ("measured", "sweep", ""),
    ]
    assert found.notes == ["3 cells: 1 failed, 1 incomplete, 1 measured"]
    node = NodeAnnounced(node_id="a", incarnation="i", cpu="Chip", cores=4, memory_bytes=8)
    told = Conditions(load_1m=0.5, unavailable={"governor": "no driver"})
    made = systems([Seen(node=node, conditions=told, labels={"price": "2"})], ran)
    (row,) = made.table()
    assert not made.notes
    busy = Seen(node=node, conditions=Conditions(load_1m=6.5))
    assert systems([busy], ran).notes == [
        "a: measured beside other work: load 6.5 on 4 cores; its figures are worth less for it"
    ]
    assert (row["processor"], row["load"], row["labels"], row["cells"]) == (
        "Chip",
        0.5,
        "price=2",
        2,
    )
    assert row["governor"] is None and row["na"]["governor"] == "no driver"
