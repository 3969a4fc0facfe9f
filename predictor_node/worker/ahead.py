"""The next parts are made ready by a thread while the one before them is at work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .trace import now_ns

ROOM = 2
"""Parts that lie ready at most: each holds a batch in memory."""
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Ready:
    """A part that was made ready: what came of it, when, and on which thread."""

    made: Any
    start_ns: int
    duration_ns: int
    thread: int


class Ahead:
    """Iterate over parts made ready by `prepare`, in their order; used as a context manager.

    What goes wrong with a part is raised when it is its turn. Leaving ends the thread, once it is
    done with the part at hand.
    """

    def __init__(
        self, prepare: Callable[[Any], Any], parts: Iterable[Any], room: int = ROOM
    ) -> None:
        self._prepare, self._parts = prepare, parts
        self._ready: queue.Queue[Ready | BaseException | None] = queue.Queue(room)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ahead", daemon=True)

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Ready]:
        while (part := self._ready.get()) is not None:
            if isinstance(part, BaseException):
                raise part
            yield part

    def _work(self) -> None:
        thread = threading.get_native_id()
        try:
            for part in self._parts:
                if self._left.is_set():
                    return
                start_ns = now_ns()
                made = self._prepare(part)
                self._put(Ready(made, start_ns, now_ns() - start_ns, thread))
            self._put(None)
        except BaseException as error:  # raised where the part is taken
            self._put(error)

    def _put(self, part: Ready | BaseException | None) -> None:
        while not self._left.is_set():
            try:
                return self._ready.put(part, timeout=LOOK_S)
            except queue.Full:
                continue
