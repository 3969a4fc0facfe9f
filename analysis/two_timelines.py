"""Two timelines as one picture: A above B, both beginning with their first predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from msgspec.structs import replace as changed

from analysis.recording import Recording
from bus.messages import MetricsRecorded
from collector.timeline import COLUMNS, Timeline

NAMES = ("A", "B")


def both(one: Recording, two: Recording) -> Recording:
    """B's spans and samples are moved in time so that its first predict begins with A's.

    Machines are named `A node` and `B node`; B's span ids are changed where A has them too. Of runs
    that look at layers the first predict of such a run is taken.
    """
    shift_ns = first_predict_ns(one.timeline) - first_predict_ns(two.timeline)
    a, b = one.timeline, _moved(two.timeline, shift_ns)
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in COLUMNS
    }
    for name, before in (
        ("name_index", len(a.names)),
        ("tags_index", len(a.tags)),
        ("source_index", len(a.sources)),
    ):
        joined[name][len(a) :] += before
    # Earliest first; what may enclose before what it encloses.
    order = np.lexsort((joined["level"], -joined["duration_ns"], joined["start_ns"]))
    timeline = replace(
        a,
        **{name: column[order] for name, column in joined.items()},
        names=[*a.names, *b.names],
        tags=[*a.tags, *b.tags],
        sources=[*_named(NAMES[0], a.sources), *_named(NAMES[1], b.sources)],
        errors_ns=[*a.errors_ns, *b.errors_ns],
        evaluation_id=f"{a.evaluation_id} {b.evaluation_id}",
        emitted=_added(a.emitted, b.emitted),
        stored=_added(a.stored, b.stored),
        lost=a.lost + b.lost,
        repaired=a.repaired + b.repaired,
        complete=a.complete and b.complete,
        missing="; ".join(filter(None, (a.missing, b.missing))),
        error_ns=-1,
    )
    metrics = [_of(metric, NAMES[0], 0) for metric in one.metrics]
    metrics += [_of(metric, NAMES[1], shift_ns) for metric in two.metrics]
    model = one.model if one.model == two.model else f"{one.model} and {two.model}"
    return Recording(timeline=timeline, metrics=metrics, model=model)


def first_predict_ns(timeline: Timeline) -> int:
    """When the first predict began: of the first run that has layers, else of any."""
    layered = timeline.at("framework").run
    predicts = timeline.at("model", int(layered.min())) if len(layered) else timeline.at("model")
    spans = predicts if len(predicts) else timeline
    return int(spans.start_ns.min()) if len(spans) else 0


def _named(name: str, sources: Sequence[str]) -> list[str]:
    """Sources as they are called in the picture; of `client/client/-1` both words change."""
    found = []
    for source in sources:
        machine, role, run = source.rsplit("/", 2)
        role = f"{name} {role}" if role == machine else role
        found.append(f"{name} {machine}/{role}/{run}")
    return found


def _moved(timeline: Timeline, shift_ns: int) -> Timeline:
    """Later by so much, and with ids of its own."""
    mark = np.uint64(1) << np.uint64(63)

    def ids(column: np.ndarray) -> np.ndarray:
        return np.where(column == 0, column, column ^ mark)

    return replace(
        timeline,
        start_ns=timeline.start_ns + shift_ns,
        span_id=ids(timeline.span_id),
        parent_id=ids(timeline.parent_id),
    )


def _added(one: dict[str, int], two: dict[str, int]) -> dict[str, int]:
    return {level: one.get(level, 0) + two.get(level, 0) for level in {**one, **two}}


def _of(metric: MetricsRecorded, name: str, shift_ns: int) -> MetricsRecorded:
    offset_ns = metric.clock.offset_ns + shift_ns
    return changed(
        metric,
        node_id=f"{name} {metric.node_id or metric.source}",
        clock=changed(metric.clock, offset_ns=offset_ns),
    )
