"""How much is measured: enough to decide, or just enough to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Sizes and limits of one run of the benchmarks.

    A comparison of latencies ends when its interval is no wider than `width` of its value, or
    after limit_s seconds. Its processes are started anew for each of `generations`, which share
    that time and have least_rounds to most_rounds each: where a process happens to lie in memory
    makes it faster or slower for life. pause_s lies between two blocks, so that what one leaves
    behind (spans on their way, a timeline to assemble) does not run into the next.
    """

    queries: int = 60
    warmup: int = 5
    generations: int = 3
    least_rounds: int = 10
    most_rounds: int = 300
    limit_s: float = 300.0
    width: float = 0.005
    pause_s: float = 0.3
    cold_pairs: int = 9
    evaluations: int = 120
    span_rounds: int = 5
    spans: int = 250_000
    peer_spans: int = 400
    assemblies: int = 3
    assembled_spans: int = 1_000_000
    soak_s: float = 60.0
    manifests: int = 10_000
    resolves: int = 15
    fleets: tuple[int, ...] = (10, 100, 1_000, 10_000)
    fleet_s: float = 60.0
    pages: int = 200
    stored: int = 100_000


QUICK = Effort(
    queries=5,
    warmup=1,
    generations=1,
    least_rounds=2,
    most_rounds=2,
    limit_s=20.0,
    pause_s=0.05,
    cold_pairs=1,
    evaluations=3,
    span_rounds=2,
    spans=3_000,
    peer_spans=10,
    assemblies=1,
    assembled_spans=20_000,
    soak_s=1.0,
    manifests=500,
    resolves=3,
    fleets=(10, 200),
    fleet_s=4.0,
    pages=10,
    stored=2_000,
)
