"""The four log files, beside those that LoadGen itself writes of the same scenario."""

from __future__ import annotations

import array
import json
import re
import struct
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from analysis.mlperf_log import (
    ACCURACY,
    DETAIL,
    SCENARIOS,
    SUMMARY,
    TRACE,
    Logged,
    mlperf_files,
)
from analysis.queries import queries_of
from analysis.scenarios import judge
from bus.messages import ClassScore, Prediction, RunMeasured

loadgen = pytest.importorskip("mlperf_loadgen", reason="mlcommons-loadgen is not installed")
MS, S = 1_000_000, 1_000_000_000
COUNT = 70
# What tools/submission (submission_checker/checks/performance_check.py, constants.py) reads.
CHECKED = {
    "effective_scenario",
    "effective_performance_sample_count",
    "effective_qsl_rng_seed",
    "effective_sample_index_rng_seed",
    "effective_schedule_rng_seed",
    "effective_target_latency_ns",
    "effective_min_query_count",
    "effective_samples_per_query",
    "effective_min_duration_ms",
    "effective_sample_concatenate_permutation",
    "early_stopping_met",
    "early_stopping_result",
    "result_validity",
    "sut_name",
}
FIGURES = {
    "single_stream": {
        "early_stopping_latency_ss",
        "early_stopping_latency_ms",
        "result_qps_without_loadgen_overhead",
        "result_99.00_percentile_latency_ns",
    },
    "multi_stream": {
        "early_stopping_latency_ms",
        "result_99.00_percentile_per_query_latency_ns",
        "result_mean_query_latency_ns",
    },
    "server": {
        "result_completed_samples_per_sec",
        "result_scheduled_samples_per_sec",
        "result_99.00_percentile_latency_ns",
    },
    "offline": {"result_samples_per_second"},
}


def logged(scenario: str, samples: str = "in turn", fed: list[int] | None = None) -> Logged:
    """A run of 70 calls of 1 ms, a hundredth of a second apart."""
    starts = [10 * MS * i for i in range(COUNT)]
    each = COUNT if scenario == "offline" else 7 if scenario == "multi_stream" else 1
    effective = {
        "scenario": scenario,
        "min_duration_s": 0.1,
        "max_duration_s": 0.0,
        "min_queries": 5,
        "max_queries": 0,
        "samples_per_query": each,
        "percentile": 0.9 if scenario == "single_stream" else 0.99,
        "samples": samples,
        "sample_seed": "7/samples",
    }
    if scenario == "server":
        effective |= {"latency_bound_ms": 10.0, "target_qps": 100.0}
    fact = RunMeasured(
        evaluation_id="e",
        job_id="j",
        attempt=1,
        node_id="n",
        sequence=0,
        at_ns=0,
        run=0,
        batch_size=1,
        level="model",
        scenario=scenario,
        start_ns=S,
        starts_ns=starts,
        durations_ns=[MS] * COUNT,
        scheduled_ns=starts if scenario == "server" else [],
        calls_per_query=each,
        samples_per_query=each,
        samples=fed or [],
        effective=effective,
    )
    (queries,) = queries_of([fact])
    predictions = [
        Prediction(input=str(i), classes=[ClassScore(index=i, label="", probability=1.0)])
        for i in range(3)
    ]
    return Logged(
        row=judge(queries, {"name": scenario, "target_qps": 100.0}),
        queries=queries,
        sut="a system",
        written_by="ours",
        items=3,
        predictions=predictions,
    )


def detail_of(text: str) -> dict[str, Any]:
    """As MLPerf's log parser reads it: the marker first, then JSON, to the end of each line."""
    lines = text.splitlines()
    assert all(line.startswith(":::MLLOG ") for line in lines)
    told = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    assert all(not line["metadata"]["is_error"] for line in told)
    return {line["key"]: line["value"] for line in told}


Theirs = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Theirs:
    """LoadGen's own four files of a scenario, each made once."""
    return cache(lambda scenario: by_loadgen(tmp_path_factory.mktemp("loadgen"), scenario))


def by_loadgen(folder: Path, scenario: str) -> dict[str, str]:
    """Of a server that sleeps."""
    kept: list[Any] = []

    def issue(samples: list[Any]) -> None:
        time.sleep(0.001)
        done = []
        for sample in samples:
            kept.append(array.array("f", [7.0]))
            done.append(loadgen.QuerySampleResponse(sample.id, kept[-1].buffer_info()[0], 4))
        threading.Thread(target=loadgen.QuerySamplesComplete, args=(done,)).start()

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, SCENARIOS[scenario])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms, settings.min_query_count = 50, 5
    settings.server_target_qps, settings.offline_expected_qps = 100, 100
    logs, output = loadgen.LogSettings(), loadgen.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = str(folder), False
    logs.log_output, logs.enable_trace = output, True
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(8, 8, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(system, library, settings, logs, "")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_keys_with_the_same_kinds_of_values(theirs: Theirs, scenario: str) -> None:
    ours, peer = mlperf_files(logged(scenario)), theirs(scenario)
    assert set(ours) == set(peer) == {SUMMARY, DETAIL, ACCURACY, TRACE}
    mine = detail_of(ours[DETAIL])
    found = [json.loads(line[9:]) for line in peer[DETAIL].splitlines()]
    known = {line["key"]: line["value"] for line in found}
    assert CHECKED | FIGURES[scenario] <= set(mine)
    assert mine["effective_scenario"] == known["effective_scenario"]
    number = (int, float)
    for key in (CHECKED | FIGURES[scenario]) - {"result_validity"}:
        same = number if isinstance(known[key], number) else type(known[key])
        assert isinstance(mine[key], same), key
    results = {key for key in known if key.startswith(("result_", "early_"))}
    assert results - {"result_invalid_reason"} <= set(mine) | {"result_invalid_reason"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_summary_has_the_same_lines(theirs: Theirs, scenario: str) -> None:
    mine, peer = logged(scenario), theirs(scenario)[SUMMARY]
    ours = mlperf_files(mine)[SUMMARY]

    def labels(text: str) -> set[str]:
        return {
            re.sub(r"\s+", " ", line.split(":")[0]).strip()
            for line in text.splitlines()
            if ":" in line and not line.startswith(" *")
        }

    optional = re.compile("rng_seed|accuracy_log|print_timestamps|performance_issue|Recommend")
    assert {label for label in labels(peer) if not optional.search(label)} <= labels(ours)
    assert f"Result is : {'VALID' if mine.row.valid else 'INVALID'}" in ours


def test_the_figures_are_those_of_the_run() -> None:
    told = detail_of(mlperf_files(logged("server"))[DETAIL])
    assert told["result_99.00_percentile_latency_ns"] == MS
    assert told["result_scheduled_samples_per_sec"] == pytest.approx(100)
    assert told["result_validity"] == "INVALID"  # 70 queries: early stopping needs 459
    assert told["effective_schedule_rng_seed"] == 7
    offline = detail_of(mlperf_files(logged("offline"))[DETAIL])
    assert offline["result_samples_per_second"] == pytest.approx(70 / 0.691)


def test_answers_in_the_order_of_issue() -> None:
    fed = [2, 0, 1]
    run = logged("server", "each once, shuffled", fed * 23 + [2])
    answers = json.loads(mlperf_files(run)[ACCURACY])
    assert [(row["seq_id"], row["qsl_idx"]) for row in answers] == [(0, 2), (1, 0), (2, 1)]
    classes = [struct.unpack("<f", bytes.fromhex(row["data"]))[0] for row in answers]
    assert classes == [2.0, 0.0, 1.0]
    told = detail_of(mlperf_files(run)[DETAIL])
    assert told["effective_test_mode"] == "AccuracyOnly"
    assert json.loads(mlperf_files(logged("server"))[ACCURACY]) == []


def test_the_trace_is_chromes() -> None:
    trace = json.loads(mlperf_files(logged("multi_stream"))[TRACE])
    begun = [event for event in trace["traceEvents"] if event["ph"] == "b"]
    assert len(begun) == 10
    assert begun[1]["args"] == {
        "sample_seq": 7,
        "query_seq": 1,
        "sample_idx": 1,
        "issue_start_ns": 0,
        "complete_ns": 61 * MS,
    }


@pytest.mark.parametrize("seed", [0, 1, 16159082839903944936])
def test_loadgens_own_arrivals(seed: int) -> None:
    """What a comparison hands to our loop are the instants that LoadGen writes into its trace."""
    from benchmarks.loadgen import Test, arrivals, run

    asked = Test("server", 60, 2_000.0, traced=True, seed=seed)
    told = run(asked, lambda samples: None)
    assert told.due_ns == pytest.approx(list(arrivals(asked)), abs=2)
    assert len(told.due_ns) == 60 and told.due_ns[0] == 0


@pytest.mark.parametrize(("scenario", "rate"), [("single_stream", 0.0), ("server", 150.0)])
def test_the_same_latencies_as_loadgen_of_the_same_server(scenario: str, rate: float) -> None:
    """Interleaved, with the same arrivals: our p50 and p90 are no later than those of LoadGen's
    tests and a quarter more, and no earlier than the server can be. How near they are on a machine
    that does nothing else is a benchmark's to say."""
    from benchmarks.loadgen import run
    from benchmarks.scenarios import Asked, latencies

    takes_s = 0.002
    asked = Asked(scenario, 40, lambda samples: time.sleep(takes_s), rate)
    mine: list[int] = []
    found: dict[float, list[float]] = {50.0: [], 90.0: []}
    for seed in range(4):
        mine += latencies(asked, seed).tolist()
        told = run(asked.test(seed), asked.predict).detail
        for share, values in found.items():
            values.append(told[f"result_{share:.2f}_percentile_latency_ns"])
    mine.sort()
    for share, values in found.items():
        ours = mine[int(len(mine) * share / 100)]
        assert takes_s * 1e9 <= ours <= 1.25 * max(values), (share, ours, values)
