"""A thread that reads something again and again beside the measured loop, and samples of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import Session

NAME = "profiler"
Read = Callable[[], dict[tuple[str, str], float]]
"""Values of some quantities now: (name, unit) -> value."""


@contextmanager
def sampled(
    session: Session, level: str, interval_s: float, read: Read, at_once: bool = True
) -> Iterator[None]:
    """Read at once, every interval_s, and once more at the end; a failing read ends it, told."""
    ended = threading.Event()

    def take() -> bool:
        try:
            values = read()
        except Exception as error:  # told where the level's lacks are told; the run goes on
            session.unavailable(f"it could be read no longer: {type(error).__name__}: {error}")
            return False
        now_ns = session.now_ns()
        for (name, unit), value in values.items():
            session.add_sample(name, unit, level, now_ns, value)
        return True

    def keep_taking() -> None:
        while not ended.wait(interval_s):
            if not take():
                return

    first = take() if at_once else True
    thread = threading.Thread(target=keep_taking, name=NAME, daemon=True)
    if first:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if first:
            thread.join()
            take()
