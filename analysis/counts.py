"""What was counted in each predict, and sampled beside it: the system and hardware levels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from bus.messages import LEVELS, Level, MetricsRecorded
from collector.timeline import Timeline

NOT_COUNTS = frozenset({"query", "counted_share"})


class CountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity that was counted within predicts; ns where its name ends so.

    queries: in how many it was counted (a counter that never had its turn in one has no number).
    """

    level: Level
    name: str
    run: int
    queries: int
    mean: float
    median: float
    high: float
    total: float


class SampledRow(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity that was sampled during a run (-1: during the whole job)."""

    level: Level
    name: str
    unit: str
    run: int
    samples: int
    mean: float
    low: float
    high: float
    last: float


def counts_per_query(
    timeline: Timeline, level: Level = "system", run: int | None = None
) -> list[CountRow]:
    """Each number in the tags of a level's spans, by query; of the first run that has some."""
    spans = timeline.at(level, run)
    if not len(spans):
        return []
    chosen = int(spans.run.min()) if run is None else run
    found: dict[str, list[float]] = {}
    for number in spans.tags_index[spans.run == chosen].tolist():
        tags = spans.tag_maps[number]
        if "query" not in tags:
            continue
        for name, value in tags.items():
            if name not in NOT_COUNTS and isinstance(value, int | float):
                found.setdefault(name, []).append(float(value))
    return [
        CountRow(
            level=level,
            name=name,
            run=chosen,
            queries=len(values),
            mean=float(np.mean(values)),
            median=float(np.median(values)),
            high=max(values),
            total=float(sum(values)),
        )
        for name, values in found.items()
    ]


def sampled(metrics: Sequence[MetricsRecorded]) -> list[SampledRow]:
    """Each sampled quantity of each run, by level and name."""
    found: dict[tuple[int, str, int, str], list[tuple[int, float]]] = {}
    for batch in metrics:
        key = (LEVELS.index(batch.level), batch.name, batch.run, batch.unit)
        pairs = zip(batch.times_ns, batch.values, strict=True)
        found.setdefault(key, []).extend(pairs)
    return [
        SampledRow(
            level=LEVELS[level],
            name=name,
            unit=unit,
            run=run,
            samples=len(pairs),
            mean=float(np.mean([value for _, value in pairs])),
            low=min(value for _, value in pairs),
            high=max(value for _, value in pairs),
            last=max(pairs)[1],
        )
        for (level, name, run, unit), pairs in sorted(found.items())
        if pairs
    ]
