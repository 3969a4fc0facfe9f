"""The coordinator's own span: from a request's arrival to its jobs being placed."""

from __future__ import annotations

import secrets

from bus.codec import pack_rows
from bus.messages import LEVELS, Clock, EvaluationRecord, Span, SpansRecorded

APPLICATION = LEVELS.index("application")


def route_span(
    record: EvaluationRecord, began_ns: int, placed_ns: int, clock: Clock
) -> SpansRecorded:
    """From the request's arrival to the job in its node's queue."""
    request = record.request
    duration_ns = max(0, placed_ns - began_ns)
    span = Span(
        span_id=secrets.randbelow(2**63 - 1) + 1,
        parent_id=request.parent_span,
        level=APPLICATION,
        name="route",
        start_ns=began_ns,
        duration_ns=duration_ns,
        tags={"nodes": [placed.node_id for placed in record.jobs]},
    )
    return SpansRecorded(
        evaluation_id=request.evaluation_id,
        source="coordinator",
        batch=0,
        levels={LEVELS[APPLICATION]: 1},
        count=1,
        first_start_ns=began_ns,
        last_end_ns=began_ns + duration_ns,
        clock=clock,
        block=pack_rows([span]),
    )
