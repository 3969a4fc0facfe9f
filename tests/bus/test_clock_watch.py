"""A reference whose clock runs fast: the node follows it during a job, and no worker is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from bus import subjects
from bus.clock_watch import MOST, ClockWatch
from bus.connection import Bus
from bus.messages import ClockRead, Message


class Fast:
    """Answers as a collector does, by a clock that began 5 s ahead and gains a second a second."""

    def __init__(self) -> None:
        self.began_ns = time.time_ns()

    def offset_ns(self, at_ns: int) -> int:
        return 5_000_000_000 + at_ns - self.began_ns

    async def read(self, question: Message) -> Message:
        now_ns = time.time_ns()
        return ClockRead(reference="collector@fast", now_ns=now_ns + self.offset_ns(now_ns))


@pytest.fixture
async def fast(bus: Bus, bus_url: str) -> AsyncIterator[Fast]:
    clock, collector = Fast(), await Bus.connect(bus_url, name="collector")
    await collector.serve("collector", {subjects.CLOCK: clock.read})
    yield clock
    await collector.close()


async def test_it_is_followed_while_a_job_runs(fast: Fast, bus: Bus) -> None:
    watch = ClockWatch(bus, during_s=0.05)
    assert await watch.look()
    async with watch.during_job():
        await asyncio.sleep(0.5)
        seen = len(watch.samples)
    await asyncio.sleep(0.15)
    assert len(watch.samples) == seen >= 3  # and no longer
    for sample in watch.samples:
        assert sample.at_ns and sample.reference == "collector@fast"
        # The clock itself moves while it is being read: by as much as the round trip at most.
        assert abs(sample.offset_ns - fast.offset_ns(sample.at_ns)) <= 3 * sample.error_ns
    assert watch.latest == watch.samples[-1]
    async with watch.during_job():
        assert len(watch.samples) == 2


async def test_a_long_job_keeps_every_other_measurement(fast: Fast, bus: Bus) -> None:
    watch = ClockWatch(bus)
    await watch.look()
    first = watch.latest
    watch.samples *= MOST
    await watch.look()
    assert len(watch.samples) == MOST // 2 + 1
    assert (watch.samples[0], watch.samples[-1].at_ns > first.at_ns) == (first, True)


async def test_without_a_collector_nothing_is_measured(bus: Bus) -> None:
    watch = ClockWatch(bus)
    assert not await watch.look()
    assert watch.latest.error_ns == -1


async def test_a_clock_that_is_set_moves_nothing_within_a_job(
    fast: Fast, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's clock goes an hour on: what was measured of it follows once the job is over."""
    watch, hour_ns, real = ClockWatch(bus), 3_600 * 10**9, time.time_ns
    assert await watch.look()
    before, at_ns = watch.latest, watch.steady.now_ns()
    monkeypatch.setattr(time, "time_ns", lambda: real() + hour_ns)
    assert 0 <= watch.steady.now_ns() - at_ns < 10**9
    assert watch.latest == before
    watch.rebase()
    slack_ns = 10**6  # two looks at two clocks are never at the same instant
    assert abs(watch.steady.now_ns() - time.time_ns()) < slack_ns
    after = watch.latest
    assert abs(after.offset_ns - (before.offset_ns - hour_ns)) < slack_ns
    assert abs(after.at_ns - (before.at_ns + hour_ns)) < slack_ns
    assert (after.error_ns, after.reference) == (before.error_ns, before.reference)


@pytest.mark.parametrize(
    ("began_ago_s", "looked_ago_s", "looks"),
    [(0.01, 30.0, False), (30.0, 0.01, False), (30.0, 20.0, True), (6.0, 30.0, True)],
    ids=["short work", "just measured", "long work", "long enough"],
)
async def test_only_after_long_work_is_it_measured_again(
    fast: Fast, bus: Bus, began_ago_s: float, looked_ago_s: float, looks: bool
) -> None:
    watch = ClockWatch(bus)
    await watch.look()
    now_s = time.monotonic()
    watch.looked_s = now_s - looked_ago_s
    await watch.at_the_end(now_s - began_ago_s)
    assert len(watch.samples) == 1 + looks
