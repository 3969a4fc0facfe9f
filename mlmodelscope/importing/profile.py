"""A profile that was read: spans by column, samples, and a ledger with every event of the file."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from bus.messages import LEVELS, Device, EventCount, LayerDescribed, Window
from mlmodelscope.importing.events import Event

UNKNOWN = "unknown (imported)"
"""What a recording does not say."""

APPLICATION, MODEL, FRAMEWORK, LIBRARY = (
    LEVELS.index(level) for level in ("application", "model", "framework", "library")
)
HARDWARE = LEVELS.index("hardware")
NOBODY = -1
TOLD = 500
"""So many kinds of events are told apart."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person says about a profile that it does not say itself.

    call: spans whose name contains this are the calls of the model. batch_size: the inputs of
    one call; 0: not known. cuda_runtime: which calls of a device's runtime are kept: all, launches
    (those that launched something), or functions' names with commas beside these.
    """

    model: str = ""
    call: str = ""
    batch_size: int = 0
    cuda_runtime: str = "all"


def _numbers() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Spans:
    """Spans by column, a row each. parent: a row, or NOBODY: the collector finds it by time.

    thread: a host's thread, or, below 0, a queue of a device. more: tags that the reader adds to
    an event's own arguments.
    """

    level: array[int] = field(default_factory=lambda: array("b"))
    name: list[str] = field(default_factory=list)
    start_ns: array[int] = field(default_factory=_numbers)
    duration_ns: array[int] = field(default_factory=_numbers)
    thread: array[int] = field(default_factory=_numbers)
    correlation_id: array[int] = field(default_factory=_numbers)
    parent: array[int] = field(default_factory=_numbers)
    category: list[str] = field(default_factory=list)
    args: list[msgspec.Raw] = field(default_factory=list)
    more: dict[int, dict[str, Any]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    """Each name and category once: a million events have a few hundred."""

    def __len__(self) -> int:
        return len(self.name)

    def end_ns(self, row: int) -> int:
        return self.start_ns[row] + self.duration_ns[row]

    def add(
        self, level: int, category: str, event: Event, times_ns: tuple[int, int], thread: int
    ) -> int:
        """One span; its row."""
        name = event.name if isinstance(event.name, str) else str(event.name)
        self.level.append(level)
        self.name.append(self.words.setdefault(name, name))
        self.start_ns.append(times_ns[0])
        self.duration_ns.append(times_ns[1])
        self.thread.append(thread)
        self.correlation_id.append(0)
        self.parent.append(NOBODY)
        self.category.append(self.words.setdefault(category, category))
        self.args.append(event.args)
        return len(self.name) - 1

    def tag(self, row: int, **tags: Any) -> None:
        """Say more of a span than its event does."""
        self.more.setdefault(row, {}).update(tags)

    def rows(self, *categories: str) -> list[int]:
        """The rows of these categories, in the file's order."""
        return [row for row, category in enumerate(self.category) if category in categories]

    def by_start(self, rows: Sequence[int]) -> list[int]:
        """Rows in order of time; of those that start together, what may hold the others first."""
        return sorted(rows, key=lambda r: (self.start_ns[r], -self.duration_ns[r], self.level[r]))


class Samples(NamedTuple):
    """One quantity over time."""

    name: str
    unit: str
    times_ns: list[int]
    values: list[float]


@dataclass(slots=True)
class Ledger:
    """Every event of a file stands here once: as what it is kept, or why it is not."""

    counts: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    def count(
        self, category: Any, phase: Any, became: str = "", reason: str = "", events: int = 1
    ) -> None:
        self.counts[_short(category), _short(phase), became, reason] += events

    def total(self) -> int:
        return self.counts.total()

    def told(self) -> list[EventCount]:
        """As it travels: what was kept first, the most frequent first; rare ones together."""
        rows = sorted(self.counts.items(), key=lambda item: (not item[0][2], -item[1], item[0]))
        if len(rows) > TOLD:
            rare: Counter[tuple[str, str, str, str]] = Counter()
            frequent = {key for key, _ in self.counts.most_common(TOLD)}
            for (category, phase, became, reason), count in rows:
                if (category, phase, became, reason) not in frequent:
                    rare["other categories", phase, became, reason] += count
            rows = [row for row in rows if row[0] in frequent] + sorted(rare.items())
        return [
            EventCount(category=category, phase=phase, became=became, reason=reason, count=count)
            for (category, phase, became, reason), count in rows
        ]


def _short(value: Any) -> str:
    return str(value)[:80]


@dataclass(slots=True)
class Threads:
    """Numbers for the threads and device queues of a file, and what they are called."""

    host: dict[tuple[Any, Any], int] = field(default_factory=dict)
    queues: dict[tuple[Any, Any], int] = field(default_factory=dict)
    names: dict[tuple[Any, Any], str] = field(default_factory=dict)
    labels: dict[Any, str] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)

    def number(self, pid: Any, tid: Any, queue: bool = False) -> int:
        """The thread's own number where it has one to itself; of a device's queue one below 0."""
        known = self.queues if queue else self.host
        key = (_hashable(pid), _hashable(tid))
        if key not in known:
            if queue:
                known[key] = -len(known) - 1
            else:
                plain = isinstance(tid, int) and 0 < tid < 2**40 and tid not in self.taken
                known[key] = tid if plain else 2**40 + len(known)
                self.taken.add(known[key])
        return known[key]

    def told(self) -> dict[str, str]:
        """Each number's name, as the file has it."""
        named = {}
        for (pid, tid), number in self.host.items():
            named[str(number)] = self.names.get((pid, tid), "").strip() or f"thread {tid}"
        for (pid, tid), number in self.queues.items():
            device = self.labels.get(pid, "") or f"device {pid}"
            stream = self.names.get((pid, tid), "").strip() or f"queue {tid}"
            named[str(number)] = f"{device}, {stream}"
        return named


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | str | float) or value is None else str(value)


@dataclass(slots=True)
class Profile:
    """What one file says.

    calls: rows of the model's calls, in order of time. layers: of the first call. clock: what the
    times count from. unavailable: what the file does not hold, and why. notes: what a reader had
    to decide.
    """

    format: str
    framework: str
    clock: str = ""
    spans: Spans = field(default_factory=Spans)
    samples: dict[tuple[str, str], Samples] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    threads: Threads = field(default_factory=Threads)
    devices: list[Device] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    layers: list[LayerDescribed] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def sample(self, name: str, unit: str, at_ns: int, value: float) -> None:
        """One more value of a quantity."""
        key = (name, unit)
        if key not in self.samples:
            self.samples[key] = Samples(name, unit, [], [])
        self.samples[key].times_ns.append(at_ns)
        self.samples[key].values.append(value)

    def levels(self) -> dict[str, int]:
        """How many spans each level has."""
        counts = Counter(self.spans.level)
        return {LEVELS[level]: counts[level] for level in sorted(counts)}
