"""The fifteen analyses on recordings of real GPUs, against sums over the raw JSON."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analysis.evidence import Evidence
from analysis.fifteen import FIFTEEN, answers, asked_of
from bus.messages import JobFinished
from collector.timeline import assemble
from mlmodelscope.importing import batches, facts
from mlmodelscope.importing.profile import Options
from mlmodelscope.importing.reading import read

Raw = dict[str, Any]
Asked = Callable[[str, str], list[Raw]]
NAMES = ("a100-alexnet", "a100-counters", "h100-bert-small", "mi300-bert-small", "mi250-toy")
TRACED = tuple(name for name in NAMES if name != "a100-counters")


@pytest.fixture(scope="module")
def path(recordings: Path) -> Callable[[str], Path]:
    return lambda name: recordings / "gpu_traces" / f"{name}.json.gz"


@pytest.fixture(scope="module")
def ask(path: Callable[[str], Path]) -> Asked:
    held: dict[str, Any] = {}

    def get(name: str, number: str) -> list[Raw]:
        if name not in held:
            content, profile = read(path(name), Options())
            names = facts.names_of(content, Options())
            sent = list(batches.span_batches(profile, names))
            imported = facts.Import(content, profile, Options(), names)
            told = list(facts.facts(imported, 0, len(sent)))
            ended = [fact for fact in told if isinstance(fact, JobFinished)]
            held[name] = asked_of(Evidence(told, assemble(sent, ended)))
        return answers(held[name], [number])[0].table()

    return get


@pytest.fixture(scope="module")
def events(path: Callable[[str], Path]) -> Callable[..., list[Raw]]:
    held: dict[str, list[Raw]] = {}

    def get(name: str, *categories: str) -> list[Raw]:
        if name not in held:
            raw = json.loads(gzip.decompress(path(name).read_bytes()), parse_float=Decimal)
            held[name] = [event for event in raw["traceEvents"] if event.get("ph") == "X"]
        return [event for event in held[name] if event["cat"] in categories]

    return get


def ns(event: Raw) -> int:
    return int(Decimal(event["dur"]) * 1000)


@pytest.mark.parametrize("name", TRACED)
def test_kernels_by_name_are_the_raw_files(name: str, ask: Asked, events) -> None:  # type: ignore[no-untyped-def]
    """In one call each kernel runs once: sums of durations are exact."""
    expected: dict[str, list[int]] = defaultdict(list)
    for event in events(name, "kernel"):
        expected[event["name"]].append(ns(event))
    rows = {row["name"]: row for row in ask(name, "A10")}
    assert {n: row["count"] for n, row in rows.items()} == {n: len(e) for n, e in expected.items()}
    assert {n: row["latency_ns"] for n, row in rows.items()} == {
        n: sum(each) for n, each in expected.items()
    }
    (model,) = ask(name, "A15")
    assert model["count"] == len(events(name, "kernel"))
    assert model["latency_ns"] == sum(map(sum, expected.values()))
    assert sum(row["latency_ns"] for row in ask(name, "A11")) == model["latency_ns"]


@pytest.mark.parametrize("name", ["h100-bert-small", "mi300-bert-small"])
def test_a_layers_kernels_are_those_launched_inside_of_it(name: str, ask: Asked, events) -> None:  # type: ignore[no-untyped-def]
    """Search the launches that lie in each outermost operator, and the kernels of their ids."""
    by_launch = {event["args"]["correlation"]: event for event in events(name, "kernel")}
    calls = events(name, "cuda_runtime", "cuda_driver")
    launches = [e for e in calls if e["args"].get("correlation") in by_launch]
    operators = events(name, "cpu_op")

    def inside(inner: Raw, outer: Raw) -> bool:
        same = (inner["pid"], inner["tid"]) == (outer["pid"], outer["tid"])
        ends = inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
        return same and outer["ts"] <= inner["ts"] and ends

    (step,) = [e for e in events(name, "user_annotation") if e["name"].startswith("ProfilerStep#")]
    outermost = [
        op
        for op in operators
        if inside(op, step)
        and not any(inside(op, other) and op is not other for other in operators)
    ]
    outermost.sort(key=lambda op: op["ts"])
    rows = ask(name, "A13")
    assert [row["layer_name"] for row in rows] == [op["name"] for op in outermost]
    for row, operator in zip(rows, outermost, strict=True):
        mine = [e for e in launches if inside(e, operator)]
        gpu_ns = sum(ns(by_launch[e["args"]["correlation"]]) for e in mine)
        assert (row["layer_ns"], row["gpu_ns"]) == (ns(operator), gpu_ns)
        assert row["gpu_ns"] + row["cpu_ns"] == row["layer_ns"]


@pytest.mark.parametrize("name", ["h100-bert-small", "mi300-bert-small"])
def test_the_work_of_linear_layers(name: str, ask: Asked, events) -> None:  # type: ignore[no-untyped-def]
    """x [… k] with weights [n k]: 2 k n FLOPs a row; bfloat16 takes 2 bytes."""
    expected = []
    for event in sorted(events(name, "cpu_op"), key=lambda e: e["ts"]):
        if event["name"] == "aten::linear":
            x, weights, bias = event["args"]["Input Dims"]
            rows = 1
            for size in x[:-1]:
                rows *= size
            moved = rows * x[-1] + weights[0] * weights[1] + sum(bias) + rows * weights[0]
            expected.append((2 * rows * weights[0] * weights[1], 2 * moved))
    found = [row for row in ask(name, "A14") if row["layer_name"] == "aten::linear"]
    assert [(row["flops"], row["bytes"]) for row in found] == expected and len(expected) == 26
    assert {row["source"] for row in found} == {"analytic"}


@pytest.mark.parametrize("name", ["h100-bert-small", "a100-alexnet"])
def test_occupancy_is_weighted_by_time(name: str, ask: Asked, events) -> None:  # type: ignore[no-untyped-def]
    kernels = events(name, "kernel")
    weighted = sum(ns(e) * e["args"]["est. achieved occupancy %"] for e in kernels)
    (model,) = ask(name, "A15")
    assert model["occupancy_percent"] == pytest.approx(float(weighted) / sum(map(ns, kernels)))


def test_counted_flops(ask: Asked, events) -> None:  # type: ignore[no-untyped-def]
    """flop_count_sp: additions and multiplications once, fused ones twice."""
    prefix = "smsp__sass_thread_inst_executed_op_f"

    def flops(event: Raw) -> int:
        count = {kind: int(event["args"][f"{prefix}{kind}_pred_on.sum"]) for kind in FUSED}
        return sum(count[kind] * times for kind, times in FUSED.items())

    ranges = sorted(events("a100-counters", "cuda_profiler_range"), key=lambda e: e["ts"])
    rows = ask("a100-counters", "A8")
    assert sorted(row["flops"] for row in rows) == sorted(map(flops, ranges))
    assert {row["of"] for row in rows} == {"counted kernel"}
    (model,) = ask("a100-counters", "A15")
    assert model["flops"] == sum(map(flops, ranges)) == 79_679_454_712
    for number in ("A10", "A11", "A12"):
        assert sum(row["flops"] for row in ask("a100-counters", number)) == model["flops"]


FUSED = {"add": 1, "mul": 1, "fma": 2}


def test_what_was_not_counted_is_missing_and_says_why(ask: Asked) -> None:
    """The counters hold no DRAM bytes, and no times: intensity, rate and bound have no source."""
    for row in ask("a100-counters", "A8"):
        for name in ("read_bytes", "write_bytes", "bytes", "intensity", "bound"):
            assert row[name] is None and "no DRAM bytes" in row["na"][name]
        assert row["latency_ns"] is None and "did not measure" in row["na"]["latency_ns"]
    for row in ask("h100-bert-small", "A8"):
        assert row["flops"] is None and "no hardware counters" in row["na"]["flops"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", FIFTEEN)
def test_every_cell_has_a_number_or_a_reason(name: str, number: str, ask: Asked) -> None:
    rows = ask(name, number)
    assert rows or number == "A1"  # three of the recordings mark no calls
    for row in rows:
        assert row["analysis"] == number
        for field, value in row.items():
            assert value is not None or row["na"][field]
