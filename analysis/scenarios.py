"""What came of each load: the scenario's own figure, VALID or INVALID, and every condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from analysis.early_stopping import EarlyStopping, of_bound, of_estimate
from analysis.queries import COLD, DUE, Queries, queries_of
from bus.messages import LEVELS, JobStarted, Level, Message, Probe, RunMeasured

NS = 1_000_000_000
MLPERF = ("single_stream", "multi_stream", "server", "offline")
MLPERF_DURATION_S, MLPERF_STREAMS, MLPERF_SAMPLES = 600.0, 8, 24_576
MLPERF_PERCENTILES = {"single_stream": 0.9, "multi_stream": 0.99, "server": 0.99}
PERCENTILES = (0.5, 0.9, 0.95, 0.97, 0.99, 0.999)


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold for a run to be VALID."""

    name: str
    met: bool
    found: str
    expected: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a cold start, over all its samples."""

    name: str
    median_ns: int
    share_percent: float


class ScenarioRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run under a load. value: the scenario's own figure, `metric` in `unit`.

    latency_ns: the percentile of the queries' latencies, sorted[int(n p)] as LoadGen has it.
    not_compliant: what an MLPerf submission would need, where the scenario is MLPerf's; nothing
    else of its rules is looked at. warm_ns: of a cold start, the median of the warm run beside it.
    """

    job_id: str
    node_id: str
    run: int
    batch_size: int
    level: Level
    scenario: str
    queries: int
    samples: int
    metric: str
    value: float | None
    unit: str
    valid: bool
    conditions: list[Condition]
    percentile: float
    latency_ns: int | None
    percentiles_ns: dict[str, int] = {}
    min_ns: int = 0
    max_ns: int = 0
    mean_ns: float = 0.0
    scheduled_qps: float | None = None
    completed_qps: float | None = None
    early_stopping: EarlyStopping | None = None
    not_compliant: list[str] = []
    ended: str = ""
    warming: int = 0
    requested: dict[str, Any] = {}
    effective: dict[str, Any] = {}
    parts: list[Part] = []
    warm_ns: int | None = None
    probes: list[Probe] = []


def scenarios(facts: Sequence[Message]) -> list[ScenarioRow]:
    """One row for each load that was asked for and batch size: of its shallowest run.

    A deeper run's times contain the cost of looking.
    """
    runs = [fact for fact in facts if isinstance(fact, RunMeasured)]
    whole = sorted(queries_of(runs), key=lambda q: (q.job_id, LEVELS.index(q.level), q.run))
    asked = {
        (fact.job_id, run.index): msgspec.to_builtins(run.options)
        for fact in facts
        if isinstance(fact, JobStarted)
        for run in fact.runs
        if run.options is not None
    }
    warm = {
        (q.job_id, q.batch_size): int(np.median(q.latencies_ns))
        for q in reversed(whole)
        if q.scenario == "online" and q.count
    }
    rows: dict[tuple[str, str, int], ScenarioRow] = {}
    for q in whole:
        key = (q.job_id, q.scenario, q.batch_size)
        if (q.effective or q.scenario == COLD) and q.count and key not in rows:
            rows[key] = judge(q, asked.get((q.job_id, q.run), {}), warm.get(key[::2]))
    return sorted(rows.values(), key=lambda row: (row.job_id, row.run))


def judge(q: Queries, requested: dict[str, Any], warm_ns: int | None = None) -> ScenarioRow:
    """Everything that is to be said of one run."""
    latencies = np.sort(q.latencies_ns)
    p = float(q.effective.get("percentile", 0.5))
    stopping = _early_stopping(q, latencies, p)
    conditions = _conditions(q, requested, latencies, stopping)
    metric, value, unit = _figure(q, latencies, stopping)
    return ScenarioRow(
        job_id=q.job_id,
        node_id=q.node_id,
        run=q.run,
        batch_size=q.batch_size,
        level=q.level,
        scenario=q.scenario,
        queries=q.count,
        samples=q.samples,
        metric=metric,
        value=value,
        unit=unit,
        valid=all(condition.met for condition in conditions),
        conditions=conditions,
        percentile=p,
        latency_ns=at(latencies, p),
        percentiles_ns={f"p{100 * each:g}": at(latencies, each) for each in PERCENTILES},
        min_ns=int(latencies[0]),
        max_ns=int(latencies[-1]),
        mean_ns=float(latencies.mean()),
        scheduled_qps=_rate(q.count, q.due_ns) if q.due_ns is not None else None,
        completed_qps=_rate(q.count, q.done_ns),
        early_stopping=stopping,
        not_compliant=_not_compliant(q),
        ended=q.ended,
        warming=q.warming,
        requested=requested,
        effective=q.effective or {"scenario": q.scenario, "min_queries": q.count},
        parts=_parts(q),
        warm_ns=warm_ns if q.scenario == COLD else None,
        probes=list(q.probes),
    )


def at(latencies: np.ndarray, percentile: float) -> int:
    """LoadGen's percentile of sorted latencies: sorted[int(n p)]."""
    return int(latencies[min(int(len(latencies) * percentile), len(latencies) - 1)])


def _rate(count: int, times_ns: np.ndarray) -> float | None:
    """(n - 1) / the last time: n queries have n - 1 gaps (LoadGen)."""
    last = int(times_ns.max())
    return (count - 1) * NS / last if last > 0 else None


def _early_stopping(q: Queries, latencies: np.ndarray, p: float) -> EarlyStopping | None:
    if q.once:
        return None
    if q.scenario == "server" and not q.effective.get("find"):
        return of_bound(latencies.tolist(), p, _bound_ns(q))
    if q.scenario in ("single_stream", "multi_stream"):
        return of_estimate(latencies.tolist(), p)
    return None


def _bound_ns(q: Queries) -> int:
    return round(float(q.effective.get("latency_bound_ms", 0.0)) * 1e6)


def _conditions(
    q: Queries, requested: dict[str, Any], latencies: np.ndarray, stopping: EarlyStopping | None
) -> list[Condition]:
    """LoadGen's four, of those that a scenario has, and ours; of accuracy mode, none but counts."""
    found = [_min_duration(q), _min_queries(q)]
    if q.once:
        return [condition for condition in found if condition.expected]
    bounded = q.scenario == "server" or requested.get("latency_bound_ms")
    if q.scenario in DUE and bounded:
        p, bound_ns = float(q.effective["percentile"]), _bound_ns(q)
        latency_ns = at(latencies, p)
        about = {"found": f"{latency_ns / 1e6:.3f} ms", "expected": f"≤ {bound_ns / 1e6:g} ms"}
        name = f"latency bound at p{100 * p:g}"
        found.append(Condition(name=name, met=latency_ns <= bound_ns, **about))
    if stopping is not None:
        about = {"found": stopping.text, "expected": "confidence 0.99"}
        found.append(Condition(name="early stopping", met=stopping.met, **about))
    if width := q.effective.get("until_ci"):
        about = {"found": q.ended, "expected": f"an interval of at most {100 * width:g} %"}
        found.append(Condition(name="convergence", met=q.ended == "converged", **about))
    if q.effective.get("find"):
        held = any(probe.ok for probe in q.probes)
        about = {"found": q.ended, "expected": "a rate at which the bound holds"}
        found.append(Condition(name="search", met=held, **about))
    return [condition for condition in found if condition.expected]


def _min_duration(q: Queries) -> Condition:
    """Offline by its slowest sample, arriving queries by the last due time, others by the last
    issue: as LoadGen measures each."""
    least_s = float(q.effective.get("min_duration_s", 0.0))
    if q.scenario == "offline":
        last = int(q.calls_ns.max())
    else:
        last = int((q.due_ns if q.due_ns is not None else q.issued_ns).max())
    found, expected = f"{last / NS:.3f} s", f"≥ {least_s:g} s" if least_s else ""
    return Condition(name="min duration", met=last >= least_s * NS, found=found, expected=expected)


def _min_queries(q: Queries) -> Condition:
    least = int(q.effective.get("min_queries", 0))
    what, count = ("samples", q.samples) if q.scenario == "offline" else ("queries", q.count)
    expected = f"≥ {least:,}" if least else ""
    return Condition(name=f"min {what}", met=count >= least, found=f"{count:,}", expected=expected)


def _figure(
    q: Queries, latencies: np.ndarray, stopping: EarlyStopping | None
) -> tuple[str, float | None, str]:
    """The scenario's own figure: what LoadGen calls the result, and ours."""
    p = float(q.effective.get("percentile", 0.5))
    if q.once:
        return "samples, each once", float(q.samples), ""
    if q.scenario == "offline":
        return "samples per second", q.samples * NS / int(q.calls_ns.max()), "1/s"
    if q.effective.get("find"):
        held = any(probe.ok for probe in q.probes)
        rate = float(q.effective["target_qps"]) if held else None
        return "highest rate within the bound", rate, "1/s"
    if q.scenario == "server":
        return "scheduled queries per second", _rate(q.count, q.due_ns), "1/s"  # type: ignore[arg-type]
    if stopping is not None and stopping.estimate_ns is not None:
        return f"p{100 * p:g} by early stopping", stopping.estimate_ns / 1e6, "ms"
    if (least := round(1 / (1 - p), 6)) > len(latencies):
        return f"p{100 * p:g} latency (needs {least:.0f} queries)", None, "ms"
    return f"p{100 * p:g} latency", at(latencies, p) / 1e6, "ms"


def _not_compliant(q: Queries) -> list[str]:
    """What an MLPerf run would need and this had not; [] says only that these were met."""
    if q.scenario not in MLPERF or q.once:
        return []
    told = q.effective
    found = []
    least_s = float(told.get("min_duration_s", 0.0))
    if least_s < MLPERF_DURATION_S:
        found.append(f"min duration {least_s:g} s, expected {MLPERF_DURATION_S:g} s")
    if q.scenario == "multi_stream" and q.samples_per_query != MLPERF_STREAMS:
        found.append(f"{q.samples_per_query} samples a query, expected {MLPERF_STREAMS}")
    if q.scenario in ("server", "single_stream") and q.samples_per_query != 1:
        found.append(f"{q.samples_per_query} samples a query, expected 1")
    if q.scenario == "offline" and q.samples < MLPERF_SAMPLES:
        found.append(f"{q.samples:,} samples, expected {MLPERF_SAMPLES:,}")
    wanted = MLPERF_PERCENTILES.get(q.scenario)
    if wanted is not None and told.get("percentile") != wanted:
        found.append(f"percentile {told.get('percentile')}, expected {wanted}")
    if told.get("find"):
        found.append("a search, not a run at one rate")
    return found


def _parts(q: Queries) -> list[Part]:
    if not q.parts_ns:
        return []
    medians = {name: int(np.median(times)) for name, times in q.parts_ns.items()}
    total = sum(medians.values()) or 1
    return [
        Part(name=name, median_ns=ns, share_percent=100 * ns / total)
        for name, ns in medians.items()
    ]
