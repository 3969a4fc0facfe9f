"""What tracing a deeper level costs the levels above it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from analysis.latency import measured_runs, percentile
from bus.messages import LEVELS, Level, RunMeasured


class OverheadRow(msgspec.Struct, frozen=True, kw_only=True):
    """One deeper run against the shallow one of the same batch size. Times in ns, of a predict.

    ratio = p50_ns / base_p50_ns; added_ns is their difference.
    """

    job_id: str
    batch_size: int
    level: Level
    run: int
    p50_ns: int
    base_level: Level
    base_run: int
    base_p50_ns: int
    ratio: float
    added_ns: int


def tracing_overhead(runs: Sequence[RunMeasured]) -> list[OverheadRow]:
    """Per batch size, the median predict at each deeper level against that at model level.

    Overhead(L) = T_model(M/L) - T_model(M) (XSP, arXiv 1908.06869). Where no run stopped at
    model level, against the run that came nearest above or else below it.
    """
    rows = []
    groups: dict[tuple[str, int], list[tuple[int, int, Level, int]]] = {}
    for run in measured_runs(runs):
        if run.durations_ns:
            p50_ns = percentile(sorted(run.durations_ns), 50)
            entry = (LEVELS.index(run.level), run.run, run.level, p50_ns)
            groups.setdefault((run.job_id, run.batch_size), []).append(entry)
    model = LEVELS.index("model")
    for (job_id, batch_size), found in groups.items():
        shallow = [entry for entry in found if entry[0] <= model]
        deepest = max((entry[0] for entry in shallow), default=found[0][0])
        base = next(entry for entry in found if entry[0] == deepest)
        rows += [
            OverheadRow(
                job_id=job_id,
                batch_size=batch_size,
                level=level,
                run=run_index,
                p50_ns=p50_ns,
                base_level=base[2],
                base_run=base[1],
                base_p50_ns=base[3],
                ratio=p50_ns / base[3] if base[3] else 0.0,
                added_ns=p50_ns - base[3],
            )
            for index, run_index, level, p50_ns in found
            if index > base[0]
        ]
    return rows
