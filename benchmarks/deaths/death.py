"""One death under load: what was killed, how soon all was well again, and what was lost."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.deaths.audit import Account, audit
from benchmarks.deaths.load import RUNNING, Load, Told, under_load
from benchmarks.deaths.system import System
from bus.errors import BusError

SURE = 4
PATIENCE_S = 90.0
"""How long everything that was in hand may take to end before it counts as lost."""


@dataclass(frozen=True)
class Strike:
    """What is done to a system under load. kill gives back what brings the killed thing back.

    bound_s: by when everything that was in hand must have ended, and a new request finished.
    why_not: why it cannot be done on this machine, or nothing.
    """

    name: str
    what: str
    kill: Callable[[System, Load], Awaitable[None]]
    bound_s: float
    mend: Callable[[System], Awaitable[None]] | None = None
    why_not: Callable[[], str] = lambda: ""
    fails: dict[str, int] = field(default_factory=dict)
    """Evaluations that must fail, by kind: all others finish."""


@dataclass
class Outcome:
    """What a strike did. in_hand: evaluations accepted and not ended at that moment."""

    what: str
    in_hand: int
    back_s: float
    """From the strike until an evaluation that was asked for after it had finished."""
    ended_s: float
    """From the strike until the last of those in hand had ended."""
    true_s: float
    """From the strike until the list of nodes held those that live, and no other."""
    account: Account
    unanswered: list[Told] = field(default_factory=list)
    """Requests that were told that they could not be taken now."""
    told: list[Told] = field(default_factory=list)

    def faults(self, blow: Strike) -> list[str]:
        """All that must not be, of this strike."""
        found = list(self.account.faults)
        if dict(self.account.failed) != blow.fails:
            found.append(f"failed: {dict(self.account.failed)}, expected: {blow.fails}")
        slowest_s = max(self.back_s, self.ended_s, self.true_s, self.slowest_no_s)
        if slowest_s > blow.bound_s:
            found.append(f"all was well after {slowest_s:.1f} s, expected: {blow.bound_s:g} s")
        return found

    @property
    def slowest_no_s(self) -> float:
        """The longest that anybody waited to hear so."""
        return max((one.ended_s - one.asked_s for one in self.unanswered), default=0.0)


async def strike(system: System, blow: Strike) -> Outcome:
    """Do it to a system that is fully at work; wait until all is well; count."""
    async with under_load(system.bus_url) as load:
        await until(lambda: load.in_hand == RUNNING and _finished(load.told))
        at_s, in_hand = time.monotonic(), [one for one in load.told if not one.ended_s]
        await blow.kill(system, load)
        await until_true(system, load)
        true_s = time.monotonic() - at_s
        await until(lambda: all(one.ended_s for one in in_hand) and _finished(load.told, at_s))
    if blow.mend is not None:
        await blow.mend(system)
    account = await audit(system, load.told)
    back = [one.ended_s for one in load.told if _is_back(one, at_s)]
    return Outcome(
        what=blow.what,
        in_hand=len(in_hand),
        back_s=min(back, default=math.inf) - at_s,
        ended_s=max((one.ended_s for one in in_hand), default=at_s) - at_s,
        true_s=true_s,
        account=account,
        unanswered=[one for one in load.told if not one.accepted],
        told=load.told,
    )


async def until_true(system: System, load: Load) -> None:
    """Wait until clients are told of the nodes that live, whichever coordinator answers."""
    right, deadline_s = 0, time.monotonic() + PATIENCE_S
    while right < SURE and time.monotonic() < deadline_s:
        try:
            seen = {one.node.node_id for one in await load.client.nodes()}
        except BusError:
            seen = set()
        alive = {part.name for part in system.named("node") if part.runs}
        right = right + 1 if seen == alive else 0
        await asyncio.sleep(0.1)


async def until(check: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Return when it is so, or when patience has run out: what did not end shows in the account."""
    deadline_s = time.monotonic() + patience_s
    while not check() and time.monotonic() < deadline_s:
        await asyncio.sleep(0.02)


def _finished(told: list[Told], after_s: float = 0.0) -> bool:
    return any(_is_back(one, after_s) for one in told)


def _is_back(one: Told, after_s: float) -> bool:
    return one.asked_s >= after_s and one.state == "finished"
