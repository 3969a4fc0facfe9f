"""MLPerf's load generator driven from Python, around the same predict call as ours."""

from __future__ import annotations

import array
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from predictor_node.worker.measure import quiet_collector

SCENARIOS = {"single_stream": "SingleStream", "multi_stream": "MultiStream", "server": "Server"}
SAMPLES = 8
MARKER = ":::MLLOG"


@dataclass(frozen=True)
class Test:
    """One test of LoadGen. rate_qps: of server; expected_ns: of a query, for the others.

    seed: of server's arrivals. LoadGen's own default is always the same one, and so its queries
    would always come at the same few instants.
    """

    scenario: str
    queries: int
    rate_qps: float = 0.0
    expected_ns: int = 1_000_000
    traced: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Tested:
    """What its logs say: the detail's keys and, where a trace was written, of each query when it
    was due, from the first, and its latency."""

    detail: dict[str, Any]
    due_ns: list[int]
    latencies_ns: list[int]


def run(test: Test, predict: Callable[[int], object]) -> Tested:
    """Have `predict(samples)` called as its scenario has it, in the thread that issues.

    Every query is answered by the same byte, made before: what is around the call counts as the
    query's time, and is to be as little here as it is around ours.
    """
    import mlperf_loadgen as loadgen

    answer = array.array("B", [0])
    address = answer.buffer_info()[0]
    answered, complete = loadgen.QuerySampleResponse, loadgen.QuerySamplesComplete

    def issue(samples: list[Any]) -> None:
        done = [answered(sample.id, address, 1) for sample in samples]
        predict(len(samples))
        complete(done)

    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        system = loadgen.ConstructSUT(issue, lambda: None)
        library = loadgen.ConstructQSL(SAMPLES, SAMPLES, lambda _: None, lambda _: None)
        logs = _logs(loadgen, folder, test.traced)
        with quiet_collector():
            loadgen.StartTestWithLogSettings(system, library, _settings(loadgen, test), logs, "")
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        traced = read_trace(Path(folder)) if test.traced else ([], [])
        return Tested(read_detail(Path(folder)), *traced)


def _settings(loadgen: Any, test: Test) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, SCENARIOS[test.scenario])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = test.queries
    settings.server_target_qps = test.rate_qps
    settings.schedule_rng_seed = test.seed
    settings.single_stream_expected_latency_ns = test.expected_ns
    settings.multi_stream_expected_latency_ns = test.expected_ns
    return settings


def _logs(loadgen: Any, folder: str, traced: bool) -> Any:
    logs, output = loadgen.LogSettings(), loadgen.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = folder, False
    logs.log_output, logs.enable_trace = output, traced
    return logs


def arrivals(test: Test) -> array.array[int]:
    """When the queries of a server test are due, in ns from the first: LoadGen's own numbers.

    std::mt19937 and std::exponential_distribution as libstdc++ has them: two draws make one number
    of [0, 1), the first one its lower half. A test holds them against LoadGen's trace.
    """
    twister = np.random.MT19937()
    twister._legacy_seeding(test.seed & 0xFFFFFFFF)
    draws = twister.random_raw(2 * (test.queries - 1)).astype(np.float64)
    shares = (draws[0::2] + draws[1::2] * 2.0**32) / 2.0**64
    gaps_ns = (-np.log(1.0 - shares) / test.rate_qps * 1e9).astype(np.int64)
    return array.array("q", [0, *np.cumsum(gaps_ns).tolist()])


def read_detail(folder: Path) -> dict[str, Any]:
    """Every key of the detail log, once."""
    lines = (folder / "mlperf_log_detail.txt").read_text().splitlines()
    told = [json.loads(line[len(MARKER) :]) for line in lines if line.startswith(MARKER)]
    return {line["key"]: line["value"] for line in told}


def read_trace(folder: Path) -> tuple[list[int], list[int]]:
    """When each sample was due, from the first, and its latency; in the order of issue."""
    found: dict[int, tuple[int, int]] = {}
    for line in (folder / "mlperf_log_trace.json").read_text().splitlines():
        if '"name":"Sample"' in line and '"ph":"b"' in line:
            told = json.loads(line.rstrip(","))
            about = told["args"]
            found[about["sample_seq"]] = (round(told["ts"] * 1e3), about["complete_ns"])
    ordered = [found[number] for number in sorted(found)]
    return [due - ordered[0][0] for due, _ in ordered], [latency for _, latency in ordered]
