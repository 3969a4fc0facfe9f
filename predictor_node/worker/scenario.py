"""The load of a run: what was asked for, and what that comes to; pure and seeded.

The scenarios and their defaults are those of MLPerf's load generator (mlcommons/inference,
loadgen/test_settings.h), beside our own online, burst, replay and cold_start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .errors import WorkerError, unknown

ONE_BY_ONE = ("online", "single_stream", "multi_stream")
"""The next query is issued on the completion of the one before it."""
ARRIVING = ("server", "burst", "replay")
"""Queries come when they are due, whether or not the one before has been answered."""
COLD = "cold_start"
ONCE = "each once, shuffled"
DATASET = "dataset"
SCENARIOS = (*ONE_BY_ONE, *ARRIVING, "offline", COLD, DATASET)

PERCENTILES = {"online": 0.5, "single_stream": 0.9}
PERCENTILE = 0.99
MIN_DURATION_S, MIN_QUERIES = 10.0, 100
BOUND_MS, SEARCH_BOUND_MS = 10.0, 100.0
STREAMS = 8
COLD_STARTS = 10
SEARCHES = {"max_qps": (512.0, 1.0, 1024), "peak": (1.0, MIN_DURATION_S, MIN_QUERIES)}
"""Of each rule of a search: the first rate, and the minima of one probe."""
UNTIL_CI_QUERIES, UNTIL_CI_LEAST_S = 30, 1.0
UNTIL_CI_MOST, UNTIL_CI_S = 1_000_000, 60.0
MAX_QUERIES = 10_000_000
"""Their times are kept in memory until the run has ended: 160 MB."""
MARGIN = 1.1
"""How many more samples offline has than the expected rate would take (LoadGen's slack)."""
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; a field at its default leaves the choice to the scenario."""

    name: str = "online"
    target_qps: float = 0.0
    min_duration_s: float | None = None
    min_queries: int | None = None
    max_duration_s: float = 0.0
    max_queries: int = 0
    samples_per_query: int = 0
    latency_bound_ms: float = 0.0
    percentile: float = 0.0
    until_ci: float = 0.0
    replay_ns: tuple[int, ...] = ()
    burst_size: int = 0
    issue_threads: int = 1
    find: str = ""
    accuracy: bool = False
    pipelined: bool = False

    @classmethod
    def of(cls, sent: Mapping[str, Any]) -> Options:
        """Those in a command; a field that is not known here is passed over."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in sent.items() if name in known}
        options = cls(**{**given, "replay_ns": tuple(given.get("replay_ns", ()))})
        if options.name not in SCENARIOS:
            raise unknown("scenario", options.name, SCENARIOS)
        if options.find and options.find not in SEARCHES:
            raise unknown("rule to find a rate by", options.find, SEARCHES)
        return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run's load comes to. seed: of everything that is drawn; 0 of a maximum: none."""

    name: str
    batch_size: int
    target_qps: float
    min_ns: int
    min_queries: int
    max_ns: int
    max_queries: int
    samples_per_query: int
    percentile: float
    bound_ns: int
    until_ci: float
    threads: int
    burst_size: int
    seed: str
    samples: str
    find: str = ""

    @property
    def calls_per_query(self) -> int:
        """How many predict calls of the batch size a query takes."""
        return max(1, -(-self.samples_per_query // self.batch_size))

    @property
    def arriving(self) -> bool:
        """Whether queries come when they are due."""
        return self.name in ARRIVING

    @property
    def once(self) -> bool:
        """Whether each sample is issued once."""
        return self.samples == ONCE

    def told(self) -> dict[str, Any]:
        """What a result records of it."""
        told: dict[str, Any] = {
            "scenario": self.name,
            "min_duration_s": self.min_ns / NS,
            "min_queries": self.min_queries,
            "max_duration_s": self.max_ns / NS,
            "max_queries": self.max_queries,
            "samples_per_query": self.samples_per_query,
            "calls_per_query": self.calls_per_query,
            "percentile": self.percentile,
            "samples": self.samples,
            "sample_seed": f"{self.seed}/samples",
        }
        if self.until_ci:
            told["until_ci"] = self.until_ci
        if self.target_qps:
            told["target_qps"] = self.target_qps
        if self.arriving:
            told["latency_bound_ms"] = self.bound_ns / 1e6
            told["issue_threads"] = self.threads
            told["queue"] = f"one queue, unbounded, served by {self.threads} thread(s)"
        if self.name == "server":
            told["arrivals"] = "Poisson (MT19937)"
            told["schedule_seed"] = f"{self.seed}/schedule"
        if self.burst_size:
            told["burst_size"] = self.burst_size
        if self.find:
            told["find"] = self.find
        return told


def settle(options: Options, batch_size: int, queries: int, seed: int) -> Load:
    """What was asked for, with everything that it left open. queries: a run's own, of online."""
    name = options.name
    rate, min_s, least = _minima(options, queries)
    streams = name == "multi_stream" and not options.accuracy
    samples = options.samples_per_query or (STREAMS if streams else batch_size)
    if samples % batch_size and name != "offline":
        text = f"a query of {samples} samples cannot be made of batches of {batch_size}"
        raise WorkerError("request", f"{text}; a batch size that divides it is expected")
    bound_ms = options.latency_bound_ms or (
        SEARCH_BOUND_MS if options.find == "max_qps" else BOUND_MS
    )
    most = options.max_queries or (UNTIL_CI_MOST if options.until_ci else 0)
    longest_s = options.max_duration_s or (UNTIL_CI_S if options.until_ci else 0.0)
    return Load(
        name=name,
        batch_size=batch_size,
        target_qps=rate,
        min_ns=round(min_s * NS),
        min_queries=least,
        max_ns=round(longest_s * NS),
        max_queries=most,
        samples_per_query=samples,
        percentile=options.percentile or PERCENTILES.get(name, PERCENTILE),
        bound_ns=round(bound_ms * 1e6),
        until_ci=options.until_ci,
        threads=max(1, options.issue_threads),
        burst_size=options.burst_size if name == "burst" else 0,
        seed=str(seed),
        samples=_samples(options),
        find=options.find,
    )


def _minima(options: Options, queries: int) -> tuple[float, float, int]:
    """The rate, the seconds and the queries that a run has at least."""
    name = options.name
    rate, min_s, least = 0.0, MIN_DURATION_S, MIN_QUERIES
    if options.find:
        rate, min_s, least = SEARCHES[options.find]
    elif name == "online":
        min_s, least = 0.0, queries
        if options.until_ci:
            # A burst of quick queries agrees with itself, whatever the machine does a moment later.
            min_s, least = UNTIL_CI_LEAST_S, UNTIL_CI_QUERIES
    elif name == "replay":
        min_s, least = 0.0, len(options.replay_ns)
    elif name == COLD:
        min_s, least = 0.0, COLD_STARTS
    if options.accuracy:
        min_s, least = 0.0, 0  # each sample once says how many there are
    if options.min_duration_s is not None:
        min_s = options.min_duration_s
    if options.min_queries is not None:
        least = options.min_queries
    return options.target_qps or rate, min_s, least


def _samples(options: Options) -> str:
    if options.accuracy:
        return ONCE
    return "in turn" if options.name in ("online", "offline") else "uniform, with replacement"


def offline_samples(load: Load, rate: float) -> int:
    """How many samples offline's one query has: whole batches, enough for both minima."""
    wanted = max(load.min_queries, math.ceil(round(MARGIN * rate * load.min_ns / NS, 6)), 1)
    if load.max_queries:
        wanted = min(wanted, load.max_queries)
    return -(-min(wanted, MAX_QUERIES) // load.batch_size) * load.batch_size
