"""Interleaved rounds of three blocks: ours, theirs, and theirs again to see what chance does."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.effort import Effort
from benchmarks.intervals import Interval, bootstrap, median_ratio

LOOK_EVERY = 5
SEED = 7


@dataclass(frozen=True)
class Block:
    """Queries measured one after the other: when each began and how long it took."""

    starts_ns: list[int]
    durations_ns: list[int]

    @property
    def median_ns(self) -> float:
        """The predict calls' p50."""
        return float(np.median(self.durations_ns))

    @property
    def median_period_ns(self) -> float:
        """The p50 from one query's begin to the next one's: what lies between them counts too."""
        return float(np.median(np.diff(self.starts_ns)))


Measure = Callable[[], Awaitable[Block]]
Number = Callable[[Block], float]


@dataclass(frozen=True)
class Sides:
    """What a round measures; `again` is theirs a second time, by other means of the same kind."""

    ours: Measure
    theirs: Measure
    again: Measure


@dataclass(frozen=True)
class Rounds:
    """Everything that was measured, one block of each side a round."""

    ours: list[Block] = field(default_factory=list)
    theirs: list[Block] = field(default_factory=list)
    again: list[Block] = field(default_factory=list)

    def ratio(self, of: Number) -> Interval:
        """Ours over theirs."""
        return _ratio(self.ours, self.theirs, of)

    def same(self, of: Number) -> Interval:
        """Theirs over theirs: 1, but for chance and for where a process happens to lie."""
        return _ratio(self.again, self.theirs, of)

    def medians(self) -> dict[str, list[float]]:
        """Each block's p50, as a record."""
        sides = {"ours": self.ours, "theirs": self.theirs, "again": self.again}
        return {name: [block.median_ns for block in blocks] for name, blocks in sides.items()}


async def measure(what: str, sides: Sides, effort: Effort, kept: Rounds) -> None:
    """Add one generation's rounds to those kept, until it has said its part about the ratio.

    Each generation is measured equally well, so that together they reach the width aimed at. The
    order within a round is drawn each time, so that no side always follows the same one.
    """
    chance = random.Random(SEED + len(kept.ours))
    fresh = Rounds()
    turns = [(sides.ours, fresh.ours), (sides.theirs, fresh.theirs), (sides.again, fresh.again)]
    for take, _ in turns:  # the first block of all is slower: nobody's counts
        await take()
    deadline_s = time.monotonic() + effort.limit_s / effort.generations
    while not _enough(what, fresh, effort, deadline_s):
        for take, blocks in chance.sample(turns, len(turns)):
            await asyncio.sleep(effort.pause_s)
            blocks.append(await take())
    kept.ours.extend(fresh.ours)
    kept.theirs.extend(fresh.theirs)
    kept.again.extend(fresh.again)


def _enough(what: str, fresh: Rounds, effort: Effort, deadline_s: float) -> bool:
    done = len(fresh.ours)
    if done < effort.least_rounds:
        return False
    late = done >= effort.most_rounds or time.monotonic() > deadline_s
    if done % LOOK_EVERY and not late:
        return False
    seen = fresh.ratio(lambda block: block.median_ns)
    text = f"{seen.value:.4f} ({seen.low:.4f}–{seen.high:.4f})"
    print(f"{what}: {done} rounds, {text}", file=sys.stderr, flush=True)
    return late or seen.width <= effort.width * effort.generations**0.5


def _ratio(ours: Sequence[Block], theirs: Sequence[Block], of: Number) -> Interval:
    return bootstrap(median_ratio, [of(block) for block in ours], [of(block) for block in theirs])
