"""Recording: everything of one evaluation that a file of a timeline may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bus.messages import (
    EvaluationFailed,
    EvaluationFinished,
    JobFinished,
    JobStarted,
    Message,
    MetricsRecorded,
)
from collector.timeline import Timeline


@dataclass(frozen=True)
class Recording:
    """A timeline, the samples beside it, and what its spans do not say themselves.

    unavailable: what could not be measured, and why.
    """

    timeline: Timeline
    metrics: Sequence[MetricsRecorded] = ()
    model: str = ""
    traceparent: str = ""
    unavailable: Mapping[str, str] = field(default_factory=dict)


def recording_of(
    timeline: Timeline, facts: Sequence[Message], metrics: Sequence[MetricsRecorded] = ()
) -> Recording:
    """A recording with what an evaluation's facts say of it."""
    ends = [fact for fact in facts if isinstance(fact, EvaluationFinished | EvaluationFailed)]
    unavailable: dict[str, str] = {}
    for fact in facts:
        if isinstance(fact, JobFinished):
            unavailable |= fact.unavailable
    return Recording(
        timeline=timeline,
        metrics=metrics,
        model=next((fact.model for fact in facts if isinstance(fact, JobStarted)), ""),
        traceparent=ends[-1].traceparent if ends else "",
        unavailable=unavailable,
    )
