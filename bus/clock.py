"""How far this machine's clock is from the reference's, measured over the bus."""

from __future__ import annotations

import time

from bus import subjects
from bus.connection import Bus
from bus.messages import Clock, ClockRead, ReadClock

PROBES = 5


READINGS = 5


class Steady:
    """Epoch time that no jump of the machine's clock disturbs: monotonic time from one anchor."""

    def __init__(self) -> None:
        self._anchor_ns = _epoch_minus_monotonic_ns()

    def now_ns(self) -> int:
        """The time."""
        return time.monotonic_ns() + self._anchor_ns

    def rebase(self) -> int:
        """Follow the machine's clock again; by how many nanoseconds it had left us."""
        before_ns, self._anchor_ns = self._anchor_ns, _epoch_minus_monotonic_ns()
        return self._anchor_ns - before_ns


def _epoch_minus_monotonic_ns() -> int:
    """Of a few pairs of readings, that which took the shortest."""
    best_ns, anchor_ns = 0, 0
    for reading in range(READINGS):
        before_ns = time.monotonic_ns()
        epoch_ns = time.time_ns()
        took_ns = time.monotonic_ns() - before_ns
        if not reading or took_ns < best_ns:
            best_ns, anchor_ns = took_ns, epoch_ns - (before_ns + took_ns // 2)
    return anchor_ns


async def measure_clock(bus: Bus, clock: Steady) -> Clock:
    """The offset by the quickest of a few round trips (Cristian's method).

    The reference read its clock at some instant of the round trip: assumed in its middle, so the
    error is at most half of it. Raises NoAnswerError when no collector is there.
    """
    best: Clock | None = None
    for _ in range(PROBES):
        before_ns, began_ns = clock.now_ns(), time.perf_counter_ns()
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
