"""How far this machine's clock is from the reference's, measured over the bus."""

from __future__ import annotations

import time

from bus import subjects
from bus.connection import Bus
from bus.messages import Clock, ClockRead, ReadClock

PROBES = 5


async def measure_clock(bus: Bus) -> Clock:
    """The offset by the quickest of a few round trips (Cristian's method).

    The reference read its clock at some instant of the round trip: assumed in its middle, so the
    error is at most half of it. Raises NoAnswerError when no collector is there.
    """
    best: Clock | None = None
    for _ in range(PROBES):
        before_ns, began_ns = time.time_ns(), time.perf_counter_ns()
        read = await bus.request(subjects.CLOCK, ReadClock(), ClockRead, timeout_s=1.0)
        round_trip_ns = time.perf_counter_ns() - began_ns
        offset_ns = read.now_ns - (before_ns + round_trip_ns // 2)
        error_ns = round_trip_ns // 2
        if best is None or error_ns < best.error_ns:
            best = Clock(
                reference=read.reference,
                offset_ns=offset_ns,
                error_ns=error_ns,
                at_ns=before_ns + error_ns,
            )
    assert best is not None
    return best
