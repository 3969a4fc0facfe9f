"""The client's own span: the whole request, from asking to the last fact, on the client's clock."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass

import msgspec

from bus import subjects
from bus.clock_watch import ClockWatch
from bus.codec import pack_rows
from bus.connection import Bus
from bus.errors import BusError
from bus.messages import LEVELS, Evaluate, Span, SpansRecorded

APPLICATION = LEVELS.index("application")


@dataclass
class RequestSpan:
    """The root of an evaluation's timeline."""

    request: Evaluate
    started_ns: int

    @classmethod
    def begin(cls, request: Evaluate) -> RequestSpan:
        """Start the span; the request that is returned names it as the parent of all others."""
        if LEVELS.index(request.level) >= APPLICATION and not request.parent_span:
            request = msgspec.structs.replace(request, parent_span=secrets.randbits(62) | 1)
        return cls(request, time.time_ns())

    async def end(self, bus: Bus, watch: ClockWatch, ended_ns: int) -> None:
        """Publish the span. A bus that is gone costs the span, not the result."""
        request = self.request
        if LEVELS.index(request.level) < APPLICATION:
            return
        span = Span(
            span_id=request.parent_span,
            parent_id=0,
            level=APPLICATION,
            name="evaluate",
            start_ns=self.started_ns,
            duration_ns=ended_ns - self.started_ns,
            thread=os.getpid(),
            tags={"model": request.model, "user": request.user},
        )
        message = SpansRecorded(
            evaluation_id=request.evaluation_id,
            source="client",
            batch=0,
            levels={"application": 1},
            count=1,
            first_start_ns=span.start_ns,
            last_end_ns=ended_ns,
            clock=watch.latest,
            clocks=watch.samples[:-1],
            block=pack_rows([span]),
        )
        subject = subjects.span("client", request.user, request.evaluation_id)
        try:
            await bus.record(subject, message, dedupe=f"{request.evaluation_id}/client/0")
        except BusError:
            pass
