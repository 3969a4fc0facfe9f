"""The phases of Chrome's trace events, which every format here shares: each event counted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bus.messages import Window
from mlmodelscope.importing.events import Event, arguments, nanoseconds
from mlmodelscope.importing.profile import Profile

SPAN, METRIC, METADATA = "span", "metric", "metadata"
NO_TIME = "its ts or dur is no time"
ARROWS = {
    "ac2g": "an arrow from a launch to its work: their correlation id says the same",
    "fwdbwd": "an arrow from an operator to its backward one: both keep `Sequence number`",
}

WINDOWS = 1_000
"""So many are kept: they travel in one message."""

Complete = Callable[[Event, tuple[int, int]], str]
"""Keeps what took time, from (start, duration) in ns; says what became of it."""


class Phases:
    """One pass over a file's events. `complete` keeps what took time, `instant` what did not."""

    def __init__(
        self, profile: Profile, base_ns: int, complete: Complete, instant: Complete | None = None
    ) -> None:
        self._profile, self._base_ns = profile, base_ns
        self._complete, self._instant = complete, instant or complete
        self._begun: dict[tuple[str, str], list[tuple[Event, int]]] = {}
        self._by_phase: dict[str, Callable[[Event], None]] = {
            "X": self._whole,
            "B": self._begin,
            "E": self._end,
            "i": self._point,
            "I": self._point,
            "M": self._named,
            "C": self._counter,
            "s": self._arrow,
            "t": self._arrow,
            "f": self._arrow,
        }

    def walk(self, events: list[Event]) -> None:
        """Keep each event, or count why not. Takes them out of the list: it may be a large one."""
        events.reverse()
        while events:
            event = events.pop()
            handle = self._by_phase.get(event.ph) if isinstance(event.ph, str) else None
            if handle is None:
                self._count(event, "", "a phase that is not read")
            else:
                handle(event)
        for begun in self._begun.values():
            for event, _ in begun:
                self._count(event, "", "a beginning without its end")

    def _count(self, event: Event, became: str, reason: str = "") -> None:
        category = event.cat or (event.name if event.ph == "M" else "none")
        self._profile.ledger.count(category, event.ph, became, reason)

    def _at(self, event: Event) -> int | None:
        at_ns = nanoseconds(event.ts)
        return None if at_ns is None else at_ns + self._base_ns

    def _whole(self, event: Event) -> None:
        start_ns, duration_ns = self._at(event), nanoseconds(event.dur)
        if start_ns is None or duration_ns is None:
            self._count(event, "", NO_TIME)
        else:
            self._count(event, self._complete(event, (start_ns, duration_ns)))

    def _begin(self, event: Event) -> None:
        start_ns = self._at(event)
        if start_ns is None:
            self._count(event, "", NO_TIME)
        else:
            place = (str(event.pid), str(event.tid))
            self._begun.setdefault(place, []).append((event, start_ns))

    def _end(self, event: Event) -> None:
        end_ns, begun = self._at(event), self._begun.get((str(event.pid), str(event.tid)))
        if end_ns is None or not begun:
            self._count(event, "", "an end without its beginning" if end_ns else NO_TIME)
            return
        first, start_ns = begun.pop()
        became = self._complete(first, (start_ns, end_ns - start_ns))
        self._count(first, became)
        self._count(event, became)

    def _point(self, event: Event) -> None:
        at_ns = self._at(event)
        if at_ns is None:
            self._count(event, "", NO_TIME)
        elif event.s in ("g", "p") and len(self._profile.windows) == WINDOWS:
            self._count(event, "", f"more than {WINDOWS:,} marks of the whole trace")
        elif event.s in ("g", "p"):
            self._profile.windows.append(Window(name=str(event.name), start_ns=at_ns))
            self._count(event, METADATA)
        else:
            self._count(event, self._instant(event, (at_ns, 0)))

    def _named(self, event: Event) -> None:
        threads, args = self._profile.threads, arguments(event.args)
        pid, tid = event.pid, event.tid
        simple = isinstance(pid, int | str) and isinstance(tid, int | str)
        if simple and event.name == "thread_name":
            threads.names[pid, tid] = str(args.get("name", ""))
        elif simple and event.name == "process_labels":
            threads.labels[pid] = str(args.get("labels", ""))
        elif simple and event.name == "process_name":
            threads.labels.setdefault(pid, str(args.get("name", "")))
        else:
            self._count(event, "", "the order in which a viewer shows threads")
            return
        self._count(event, METADATA)

    def _counter(self, event: Event) -> None:
        at_ns, values = self._at(event), _numbers(arguments(event.args))
        if at_ns is None or not values:
            self._count(event, "", NO_TIME if at_ns is None else "a counter without a number")
            return
        for key, value in values.items():
            self._profile.sample(f"{event.name} {key}", "unknown", at_ns, value)
        self._count(event, METRIC)

    def _arrow(self, event: Event) -> None:
        self._count(event, "", ARROWS.get(str(event.cat), "an arrow between two events"))


def _numbers(args: dict[str, Any]) -> dict[str, float]:
    """The numbers among arguments; JSON's true and false are none."""
    return {
        key: float(value)
        for key, value in args.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
