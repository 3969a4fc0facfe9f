"""What is wrong with the load of a request: pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bus.messages import LEVELS, Evaluate, Scenario

CLOSED = ("online", "single_stream", "multi_stream")
ARRIVING = ("server", "burst", "replay")
WHOLE = ("offline", "cold_start", "dataset")
"""What a maximum of time does not end: one query, or a given number of processes or items."""
STREAMS = 8
MOST_QUERIES = 10_000_000
MOST_REPLAYED = 50_000
"""Offsets travel in the request: a message has a limit."""
MOST_COLD = 200
MODEL = LEVELS.index("model")
NUMBERS = (
    "target_qps",
    "min_duration_s",
    "min_queries",
    "max_duration_s",
    "max_queries",
    "samples_per_query",
    "latency_bound_ms",
    "until_ci",
    "burst_size",
)


def load_faults(request: Evaluate) -> list[str]:
    """Every fault of a request's scenario, as `field: expected … (got …)`."""
    load = request.scenario
    if load is None:
        return []
    return [f"scenario: {text}" for found in CHECKS for text in found(load, request)]


def _numbers(load: Scenario, request: Evaluate) -> Iterator[str]:
    for name in NUMBERS:
        value = getattr(load, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            yield f"{name}: expected 0 or more (got {value})"
    if not 0 <= load.percentile < 1:
        yield f"percentile: expected a part of 1, like 0.99 (got {load.percentile})"
    if load.until_ci and not 0 < load.until_ci < 1:
        yield f"until_ci: expected a part of 1, like 0.02 (got {load.until_ci})"
    if not 1 <= load.issue_threads <= 64:
        yield f"issue_threads: expected 1 to 64 (got {load.issue_threads})"
    for least, most in (("min_duration_s", "max_duration_s"), ("min_queries", "max_queries")):
        low, high = getattr(load, least) or 0, getattr(load, most)
        if high and low > high:
            yield f"{least}: expected no more than {most}, {high:g} (got {low:g})"


def _arrivals(load: Scenario, request: Evaluate) -> Iterator[str]:
    name, rate = load.name, load.target_qps
    if name in ("server", "burst") and not (rate > 0 or load.find):
        yield f"target_qps: expected queries per second above 0 for {name} (got {rate:g})"
    queries = rate * (10 if load.min_duration_s is None else load.min_duration_s)
    if name in ("server", "burst") and queries > MOST_QUERIES:
        yield f"target_qps: {queries:,.0f} queries; expected at most {MOST_QUERIES:,}"
    if name == "burst" and load.burst_size < 1:
        yield f"burst_size: expected 1 or more (got {load.burst_size})"
    if name == "replay":
        yield from _replayed(load)
    if load.issue_threads > 1 and name not in ARRIVING:
        yield f"issue_threads: expected 1 for {name}, whose queries do not arrive by themselves"
    if load.issue_threads > 1 and LEVELS.index(request.level) > MODEL:
        yield "issue_threads: expected 1 below model level, where calls must not overlap"


def _replayed(load: Scenario) -> Iterator[str]:
    due = load.replay_ns
    if not 1 <= len(due) <= MOST_REPLAYED:
        yield f"replay_ns: expected 1 to {MOST_REPLAYED:,} offsets (got {len(due):,})"
    elif due[0] < 0 or any(after < before for before, after in zip(due, due[1:], strict=False)):
        yield "replay_ns: expected offsets from 0 on, in order"


def _fitting(load: Scenario, request: Evaluate) -> Iterator[str]:
    """Fields that are another scenario's."""
    name = load.name
    has_dataset = bool(request.dataset or request.dataset_manifest is not None)
    if (name == "dataset") != has_dataset:
        yield "dataset: expected with the scenario dataset, and with no other"
    if load.find and name != "server":
        yield f"find: expected for the scenario server (got {name})"
    if load.until_ci and name not in CLOSED:
        yield f"until_ci: expected for {', '.join(CLOSED)} (got {name})"
    if load.accuracy and (name in ("cold_start", "dataset", "replay") or load.find):
        yield f"accuracy: expected without find, and not for {name}"
    if load.max_duration_s and name in WHOLE:
        yield f"max_duration_s: expected none for {name}, which is always finished"
    if load.pipelined and name != "dataset":
        yield f"pipelined: expected for the scenario dataset (got {name})"
    if name == "cold_start" and (load.min_queries or 0) > MOST_COLD:
        yield f"min_queries: expected at most {MOST_COLD} cold starts (got {load.min_queries})"
    if name not in ("offline", "dataset", "cold_start"):
        samples = load.samples_per_query or (STREAMS if name == "multi_stream" else 0)
        for size in request.batch_sizes:
            if samples and size > 0 and samples % size:
                yield f"samples_per_query: {samples} are no whole batches of {size}"


def _time(load: Scenario, request: Evaluate) -> Iterator[str]:
    seconds = 10.0 if load.min_duration_s is None else load.min_duration_s
    if load.name in ("online", "replay", "cold_start", "dataset") or load.accuracy:
        seconds = load.min_duration_s or 0.0
    if load.replay_ns:
        seconds = max(seconds, load.replay_ns[-1] / 1e9)
    needed = seconds * len(request.batch_sizes)
    if needed >= request.timeout_s:
        yield f"min_duration_s: {needed:g} s in all; expected less than timeout_s, " + (
            f"{request.timeout_s:g} s"
        )


CHECKS = (_numbers, _arrivals, _fitting, _time)
