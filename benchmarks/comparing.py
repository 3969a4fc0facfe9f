"""Comparing two evaluations of 10,000 queries each, beside scipy's bootstrap of the one ratio.

Once with queries that do not depend on each other, once with neighbours that are alike: then whole
blocks are drawn, which costs more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from analysis.comparison import compare
from benchmarks.effort import Effort
from benchmarks.intervals import bootstrap
from benchmarks.report import Result, Row
from bus.messages import EvaluationFinished, JobStarted, Message, Run, RunMeasured

BUDGET_MS = 1_000.0
DRAWS = 1_000
ROUNDS = 7
Values = np.ndarray


async def run(effort: Effort) -> Result:
    """Both kinds of series, ours and the peer's turn about."""
    rows, raw = [], {}
    count, rounds = effort.manifests, min(ROUNDS, effort.resolves)
    for what, series in (("independent", _independent), ("neighbours alike", _alike)):
        print(f"comparing: {count:,} queries, {what}", file=sys.stderr, flush=True)
        ours, theirs = _measure(series, count, rounds)
        raw[what] = {"ours_ms": ours, "theirs_ms": theirs}
        rows.append(
            Row(
                what=f"compare two runs of {count:,} queries: {what}",
                ours=float(np.median(ours)),
                theirs=float(np.median(theirs)),
                unit="ms",
                compared=bootstrap(_our_median, ours, theirs),
                sign="ms",
                at_most=BUDGET_MS,
                note="latency, p99, throughput, effects, gate; the peer: scipy's bootstrap of the "
                "ratio of medians alone, as if queries did not depend on each other",
            )
        )
    return Result(rows, raw)


def _our_median(ours: Values, _: Values) -> Values:
    return np.asarray(np.median(ours, axis=-1))


def _measure(
    series: Callable[[int, int], Values], count: int, rounds: int
) -> tuple[list[float], list[float]]:
    ours, theirs = [], []
    for number in range(rounds):
        a, b = series(count, 2 * number), 1.05 * series(count, 2 * number + 1)
        facts = _facts(a), _facts(b)
        began_ns = time.perf_counter_ns()
        compare(*facts)
        ours.append((time.perf_counter_ns() - began_ns) / 1e6)
        began_ns = time.perf_counter_ns()
        stats.bootstrap(
            (a, b), _ratio, n_resamples=DRAWS, method="percentile", vectorized=True, batch=50
        )
        theirs.append((time.perf_counter_ns() - began_ns) / 1e6)
    return ours, theirs


def _ratio(a: Values, b: Values, axis: int) -> Values:
    return np.asarray(np.median(b, axis=axis) / np.median(a, axis=axis))


def _independent(count: int, seed: int) -> Values:
    return np.random.default_rng(seed).lognormal(16.0, 0.05, count)


def _alike(count: int, seed: int) -> Values:
    """A slow change of the machine below the queries: a first-order autoregression."""
    rng = np.random.default_rng(seed)
    shocks = rng.normal(0, 0.02, count)
    level = np.zeros(count)
    for place in range(1, count):
        level[place] = 0.8 * level[place - 1] + shocks[place]
    return np.asarray(np.exp(16.0 + level))


def _facts(durations_ns: Values) -> list[Message]:
    common: dict[str, Any] = {
        "evaluation_id": "0" * 32,
        "job_id": "j",
        "attempt": 1,
        "node_id": "n",
        "at_ns": 0,
    }
    words = ("incarnation", "model", "model_version", "model_digest", "framework")
    about: dict[str, Any] = dict.fromkeys((*words, "framework_version", "environment"), "x")
    run = Run(index=0, batch_size=1, level="model", queries=len(durations_ns), warmup=5)
    return [
        JobStarted(**common, sequence=0, runs=[run], **about),
        RunMeasured(
            **common,
            sequence=1,
            run=0,
            batch_size=1,
            level="model",
            scenario="online",
            start_ns=0,
            starts_ns=[0] * len(durations_ns),
            durations_ns=[int(ns) for ns in durations_ns],
        ),
        EvaluationFinished(evaluation_id="0" * 32, at_ns=0, jobs=[]),
    ]
