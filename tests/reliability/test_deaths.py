"""Every part of a running system is killed under load: nothing is lost, nothing counts twice.

Real processes, SIGKILL, real networks and disks; docs/reliability.md has the figures of the same
deaths, from `python -m benchmarks reliability`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.deaths.death import Strike, strike
from benchmarks.deaths.grounds import GROUNDS, Ground
from benchmarks.deaths.system import System

QUICKER = {"nothing", "nats-long", "partition-3"}
"""Measured for the table; here others say the same, or more."""
DEATHS = [
    pytest.param((ground, name), id=name)
    for ground in GROUNDS
    for name in ground.strikes
    if name not in QUICKER
]


@pytest.fixture(scope="module")
def grounds() -> Iterator[Grounds]:
    """One system at a time, kept while the next death is on the same one."""
    with asyncio.Runner() as runner:
        kept = Grounds(runner)
        yield kept
        kept.leave()


class Grounds:
    """Which system runs now."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._ground: Ground | None = None

    def on(self, ground: Ground) -> tuple[System, dict[str, Strike]]:
        """The system of this ground, begun now if it is another than before."""
        if self._ground is not ground:
            self.leave()
            self._open = ground.begin()
            self._system, strikes = self._runner.run(self._open.__aenter__())
            self._strikes = {blow.name: blow for blow in strikes}
            self._ground = ground
        return self._system, self._strikes

    def leave(self) -> None:
        if self._ground is not None:
            self._ground = None
            self._runner.run(self._open.__aexit__(None, None, None))

    def strike(self, system: System, blow: Strike) -> list[str]:
        return self._runner.run(strike(system, blow)).faults(blow)


@pytest.mark.parametrize("death", DEATHS)
def test_nothing_is_lost(grounds: Grounds, death: tuple[Ground, str]) -> None:
    ground, name = death
    if why_not := ground.why_not():
        pytest.skip(why_not)
    system, strikes = grounds.on(ground)
    blow = strikes[name]
    if why_not := blow.why_not():
        pytest.skip(why_not)
    assert grounds.strike(system, blow) == []
