"""The options of a load, as the command line reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

LOAD = Group("Load (docs/scenarios.md)", sort_key=50)
Named = Literal[
    "online",
    "single-stream",
    "multi-stream",
    "server",
    "offline",
    "burst",
    "replay",
    "cold-start",
]


@Parameter(name="*", group=LOAD)
@dataclass(frozen=True)
class Load:
    """When queries are issued, how many, and when that is enough."""

    scenario: Named | None = None
    """Default: online, one query on the completion of another, --runs of them."""
    target_qps: float = 0.0
    """Of server and burst: queries in a second. Of offline: the samples in a second that are
    expected (default: what warming up had). Of --find: the first rate to try."""
    min_duration: float | None = None
    """Seconds that a run lasts at least. Default: 10, of online, replay and cold-start 0."""
    min_queries: int | None = None
    """Queries (of offline: samples; of cold-start: processes) at least. Default: 100, of online
    --runs, of cold-start 10."""
    max_duration: float = 0.0
    """Seconds after which a run ends, whatever is missing. 0: none."""
    max_queries: int = 0
    """Queries after which a run ends. 0: none."""
    samples_per_query: int = 0
    """Default: one batch, of multi-stream 8."""
    latency_bound: float = 0.0
    """Milliseconds that the percentile may take. Default: 10, of --find max-qps 100."""
    percentile: float = 0.0
    """Of the result's latency, like 99. Default: 50 of online, 90 of single-stream, else 99."""
    until_ci: str = ""
    """Go on until the percentile's 95 % interval is so wide at most: 2%."""
    replay: Path | None = None
    """Of replay: a file of offsets in seconds, one a line."""
    burst_size: int = 0
    """Of burst: queries that come at one instant."""
    issue_threads: int = 1
    """Threads that predict at the same time, where the framework bears it."""
    find: Literal["max-qps", "peak"] | None = None
    """Of server: look for the highest rate within --latency-bound, by the original's rule (max-qps)
    or LoadGen's (peak)."""
    each_once: Annotated[bool, Parameter(negative="")] = False
    """Accuracy mode: each sample once, shuffled."""
    mlperf_logs: Path | None = None
    """A folder for the four log files in LoadGen's format; with --nodes, a folder for each node in
    it."""


NO_LOAD = Load()
"""Online, so many queries as --runs says."""
