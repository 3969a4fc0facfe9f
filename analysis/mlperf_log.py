"""A run in the four log files that MLPerf's load generator writes, as its own checker reads them.

The keys, labels and formats are LoadGen's (mlcommons/inference, loadgen/results.cc and logging.cc;
read by tools/submission/log_parser.py); the numbers are ours, and `loadgen_version` says so.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from analysis.early_stopping import EarlyStopping, of_estimate
from analysis.queries import Queries
from analysis.scenarios import ScenarioRow, at
from bus.messages import Prediction

SCENARIOS = {
    "single_stream": "SingleStream",
    "multi_stream": "MultiStream",
    "server": "Server",
    "offline": "Offline",
}
SUMMARY, DETAIL = "mlperf_log_summary.txt", "mlperf_log_detail.txt"
ACCURACY, TRACE = "mlperf_log_accuracy.json", "mlperf_log_trace.json"
LINE = "=" * 48
SHARES = (50, 90, 95, 97, 99, 99.9)
MULTI = 0.99


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What is written of a run. sut: the system under test, by name."""

    row: ScenarioRow
    queries: Queries
    sut: str
    written_by: str
    items: int
    predictions: Sequence[Prediction] = ()

    @property
    def accuracy(self) -> bool:
        """Whether each sample was issued once, for its answer."""
        return self.queries.once


def mlperf_files(run: Logged) -> dict[str, str]:
    """Each file's name and its text."""
    return {
        SUMMARY: summary(run),
        DETAIL: detail(run),
        ACCURACY: answers(run),
        TRACE: trace(run),
    }


# ---------------------------------------------------------------- the summary


def summary(run: Logged) -> str:
    """For people: the result, what was met, the latencies and the settings."""
    if run.accuracy:
        return "\nNo warnings encountered during test.\n\nNo errors encountered during test.\n"
    row = run.row
    lines = [LINE, "MLPerf Results Summary", LINE, f"SUT name : {run.sut}"]
    lines += [f"Scenario : {SCENARIOS[row.scenario]}", "Mode     : PerformanceOnly", _headline(row)]
    lines += [f"Result is : {'VALID' if row.valid else 'INVALID'}"]
    lines += [f"  {label}: {_yes(met)}" for label, met in _met(row)]
    if not row.valid:
        lines += ["Recommendations:"]
        failed = [condition for condition in row.conditions if not condition.met]
        lines += [f" * {c.name}: {c.found}, expected {c.expected}" for c in failed]
    if row.early_stopping is not None:
        lines += ["Early Stopping Result:", f" * {row.early_stopping.text}"]
    lines += ["", LINE, "Additional Stats", LINE, *_stats(row), "", LINE]
    lines += ["Test Parameters Used", LINE, *_parameters(run), ""]
    lines += ["No warnings encountered during test.", "", "No errors encountered during test."]
    return "\n".join(lines) + "\n"


def _headline(row: ScenarioRow) -> str:
    match row.scenario:
        case "server":
            return f"Completed samples per second    : {row.completed_qps or 0:.2f}"
        case "offline":
            return f"Samples per second: {row.value or 0:g}"
    return f"{100 * row.percentile:.1f}th percentile latency (ns) : {row.latency_ns}"


def _met(row: ScenarioRow) -> list[tuple[str, bool]]:
    labels = [("Performance constraints satisfied ", _held(row, "latency bound"))]
    labels = labels if row.scenario == "server" else []
    return [
        *labels,
        ("Min duration satisfied ", _held(row, "min duration")),
        ("Min queries satisfied ", _held(row, "min queries") and _held(row, "min samples")),
        ("Early stopping satisfied", row.early_stopping is None or row.early_stopping.met),
    ]


def _held(row: ScenarioRow, name: str) -> bool:
    return all(c.met for c in row.conditions if c.name.startswith(name))


def _yes(met: bool) -> str:
    return "Yes" if met else "NO"


def _stats(row: ScenarioRow) -> list[str]:
    lines = []
    if row.scenario == "single_stream":
        lines += [f"QPS w/ loadgen overhead         : {row.completed_qps or 0:.2f}"]
        lines += [f"QPS w/o loadgen overhead        : {1e9 / row.mean_ns:.2f}", ""]
    if row.scenario == "server":
        lines += [f"Scheduled samples per second : {row.scheduled_qps or 0:.2f}"]
    if row.scenario == "multi_stream":
        lines += ["Per-query latency:  "]
    lines += [f"Min latency (ns)                : {row.min_ns}"]
    lines += [f"Max latency (ns)                : {row.max_ns}"]
    lines += [f"Mean latency (ns)               : {row.mean_ns:.0f}"]
    for share in SHARES:
        lines.append(f"{share:.2f} percentile latency (ns)   : {row.percentiles_ns[f'p{share:g}']}")
    return lines


def _parameters(run: Logged) -> list[str]:
    return [f"{label} : {value}" for label, value in _settings(run).items()]


def _settings(run: Logged) -> dict[str, Any]:
    told, row = run.row.effective, run.row
    seed = _seed(told)
    bound = _bound_ns(row)
    offline = row.scenario == "offline"
    return {
        "samples_per_query": row.samples if offline else told["samples_per_query"],
        "target_qps": _target_qps(row),
        "target_latency (ns)": bound,
        "max_async_queries": 0 if row.scenario == "server" else 1,
        "min_duration (ms)": round(1000 * told["min_duration_s"]),
        "max_duration (ms)": round(1000 * told["max_duration_s"]),
        "min_query_count": 1 if offline else told["min_queries"],
        "max_query_count": told["max_queries"],
        "qsl_rng_seed": seed,
        "sample_index_rng_seed": seed,
        "schedule_rng_seed": seed,
        "performance_sample_count": run.items,
        "accuracy_sample_count": run.items,
    }


def _seed(told: dict[str, Any]) -> int:
    return int(str(told.get("sample_seed", "0")).split("/")[0])


def _bound_ns(row: ScenarioRow) -> int:
    bounded = row.scenario == "server"
    return round(1e6 * row.effective.get("latency_bound_ms", 0)) if bounded else 0


def _target_qps(row: ScenarioRow) -> float:
    return float(row.effective.get("target_qps", 0) or 1e9 / row.mean_ns)


# ---------------------------------------------------------------- the detail


def detail(run: Logged) -> str:
    """For programs: one `:::MLLOG` line a key."""
    end_ms = int(run.queries.done_ns.max()) / 1e6
    lines = [_line(key, value, 0.0) for key, value in _about(run)]
    lines += [_line(key, value, end_ms) for key, value in _results(run)]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, at_ms: float) -> str:
    about = {"key": key, "value": value, "time_ms": round(at_ms, 6)}
    meta = {"is_error": False, "is_warning": False, "file": "mlperf_log.py", "line_no": 0}
    space = {"namespace": "mlperf::logging", "event_type": "POINT_IN_TIME"}
    return ":::MLLOG " + json.dumps({**about, **space, "metadata": {**meta, "pid": 0, "tid": 0}})


def _about(run: Logged) -> Iterator[tuple[str, Any]]:
    row = run.row
    mode = "AccuracyOnly" if run.accuracy else "PerformanceOnly"
    yield "loadgen_version", run.written_by
    yield "sut_name", run.sut
    yield "qsl_reported_total_count", run.items
    yield "qsl_reported_performance_count", run.items
    yield "requested_scenario", SCENARIOS[row.scenario]
    yield "requested_test_mode", mode
    for name, value in sorted(row.requested.items()):
        if isinstance(value, int | float) and name not in ("accuracy", "pipelined"):
            yield f"requested_{name}", value
    yield "effective_scenario", SCENARIOS[row.scenario]
    yield "effective_test_mode", mode
    for label, value in _settings(run).items():
        yield f"effective_{label.replace(' (', '_').rstrip(')')}", value
    yield "effective_target_latency_percentile", row.percentile
    yield "effective_sample_concatenate_permutation", False
    yield "generated_query_count", 1 if row.scenario == "offline" else row.queries
    yield "generated_samples_per_query", row.effective["samples_per_query"]


def _results(run: Logged) -> Iterator[tuple[str, Any]]:
    row = run.row
    if run.accuracy:
        return
    yield "result_validity", "VALID" if row.valid else "INVALID"
    if row.scenario == "server":
        yield "result_perf_constraints_met", _held(row, "latency bound")
    yield "result_min_duration_met", _held(row, "min duration")
    yield "result_min_queries_met", _held(row, "min queries") and _held(row, "min samples")
    stopping = row.early_stopping
    yield "early_stopping_met", stopping is None or stopping.met
    failed = [c for c in row.conditions if not c.met]
    if failed:
        yield "result_invalid_reason", "; ".join(f"{c.name}: {c.found}" for c in failed)
    yield "early_stopping_result", stopping.text if stopping is not None else ""
    yield "result_query_count", row.queries
    yield from _own_results(run, stopping)
    if row.scenario == "multi_stream":
        q = run.queries
        yield from _latencies("query_latency_ns", "per_query_latency_ns", q.latencies_ns)
        begun = np.repeat(q.issued_ns, q.calls_per_query)
        yield from _latencies("latency_ns", "latency_ns", q.calls_ns - begun)
    else:
        yield from _latencies("latency_ns", "latency_ns", run.queries.latencies_ns)
    yield "num_errors", 0


def _latencies(name: str, kind: str, found: np.ndarray) -> Iterator[tuple[str, Any]]:
    values = np.sort(found)
    yield f"result_min_{name}", int(values[0])
    yield f"result_max_{name}", int(values[-1])
    yield f"result_mean_{name}", round(float(values.mean()))
    for share in SHARES:
        yield f"result_{share:.2f}_percentile_{kind}", at(values, share / 100)


def _own_results(run: Logged, stopping: EarlyStopping | None) -> Iterator[tuple[str, Any]]:
    row = run.row
    estimate = (stopping.estimate_ns if stopping is not None else None) or 0
    match row.scenario:
        case "single_stream":
            yield "result_qps_with_loadgen_overhead", row.completed_qps
            yield "result_qps_without_loadgen_overhead", 1e9 / row.mean_ns
            yield "early_stopping_latency_ss", estimate
            multi = of_estimate(run.queries.latencies_ns.tolist(), MULTI)
            yield "early_stopping_latency_ms", multi.estimate_ns or 0
        case "multi_stream":
            yield "early_stopping_latency_ms", estimate
        case "server":
            yield "result_overlatency_query_count", stopping.over if stopping is not None else 0
            yield "result_scheduled_samples_per_sec", row.scheduled_qps
            yield "result_completed_samples_per_sec", row.completed_qps
        case "offline":
            yield "result_samples_per_second", row.value


# ---------------------------------------------------------------- answers, and when


def answers(run: Logged) -> str:
    """In accuracy mode what was said of each sample, in the order of issue; else an empty list."""
    if not run.accuracy:
        return "[\n]\n"
    rows = []
    # A last batch that is not full is filled with samples that were there before: told once.
    for sequence, index in enumerate(dict.fromkeys(_indices(run))):
        if index < len(run.predictions):
            data = _answer(run.predictions[index]).hex().upper()
            rows.append(f'{{ "seq_id" : {sequence}, "qsl_idx" : {index}, "data" : "{data}" }}')
    return "[\n" + ",\n".join(rows) + "\n]\n"


def _answer(prediction: Prediction) -> bytes:
    """A class as a little-endian float32 (as MLPerf's ImageNet script reads it); a text as UTF-8;
    anything else as the JSON of the prediction."""
    if prediction.classes:
        return struct.pack("<f", prediction.classes[0].index)
    if prediction.text:
        return prediction.text.encode()
    return msgspec.json.encode(msgspec.structs.replace(prediction, truth=None))


def _indices(run: Logged) -> list[int]:
    """Which sample each call's inputs were, counted from 0."""
    q, size = run.queries, run.queries.batch_size
    fed = q.fed or [call % max(1, -(-run.items // size)) for call in range(len(q.calls_ns))]
    return [(batch * size + place) % max(1, run.items) for batch in fed for place in range(size)]


def trace(run: Logged) -> str:
    """Chrome's trace format: a pair of events for each query."""
    q = run.queries
    due = q.issued_ns if q.due_ns is None else q.due_ns
    size, each = q.batch_size, q.calls_per_query
    indices, events = _indices(run), []
    for number, (begin, issued, done) in enumerate(
        zip(due.tolist(), q.issued_ns.tolist(), q.done_ns.tolist(), strict=True)
    ):
        about = {"sample_seq": number * each * size, "query_seq": number}
        about |= {"sample_idx": indices[number * each * size] if indices else 0}
        about |= {"issue_start_ns": issued - begin, "complete_ns": done - begin}
        same = {"name": "Sample", "cat": "default", "pid": 0, "id": number}
        events.append({**same, "ph": "b", "ts": begin / 1e3, "args": about})
        events.append({**same, "ph": "e", "ts": done / 1e3})
    lines = ",\n".join(json.dumps(event) for event in events)
    other = json.dumps({"ts": q.start_ns / 1e3, "version": run.written_by})
    return f'{{"traceEvents":[\n{lines}\n],\n"displayTimeUnit":"ns",\n"otherData":{other}\n}}\n'
