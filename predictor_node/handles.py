"""Which models are open under which handle, and why the others are no longer: no clock, no bus."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bus.errors import MLModelScopeError
from bus.messages import Manifest
from predictor_node.process import Worker

REMEMBERED = 256
"""Of how many handles that are gone we can say why."""


class WarmError(MLModelScopeError):
    """Something that is asked of an open model and cannot be; `kind` as in PredictFailed."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


@dataclass(slots=True, kw_only=True)
class Held:
    """One open model: where it lies, and when it was last asked."""

    handle: str
    manifest: Manifest
    worker: Worker
    folder: Path
    used_s: float
    device: str = "cpu"
    let_go: Callable[[], None] = lambda: None
    """Called when nobody can use it any more: its files may be evicted."""


class Handles:
    """The open models, the one that was used last at the end."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._gone: OrderedDict[str, WarmError] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def all(self) -> list[Held]:
        """Every open model, the least recently used first."""
        return [*self._held.values()]

    def add(self, held: Held) -> None:
        """A model was opened."""
        self._held[held.handle] = held

    def known(self, handle: str) -> Held:
        """The open model of a handle; WarmError says why there is none."""
        if held := self._held.get(handle):
            return held
        if gone := self._gone.get(handle):
            raise WarmError(gone.kind, str(gone))
        text = f"no model of the handle {handle[:40]!r} is open here: open it first"
        raise WarmError("unknown_handle", text)

    def used(self, held: Held, now_s: float) -> None:
        """An open model was asked."""
        held.used_s = now_s
        if held.handle in self._held:
            self._held.move_to_end(held.handle)

    def unused_since(self, at_s: float) -> list[Held]:
        """The open models that nobody has asked since."""
        return [held for held in self._held.values() if held.used_s < at_s]

    def of(self, worker: Worker) -> list[Held]:
        """What lies in one worker."""
        return [held for held in self._held.values() if held.worker is worker]

    def forget(self, handle: str, why: WarmError) -> Held | None:
        """From here on nobody can use the handle, and who tries hears why; None: nobody could."""
        held = self._held.pop(handle, None)
        if held is not None:
            held.let_go()
            self._gone[handle] = why
            if len(self._gone) > REMEMBERED:
                self._gone.popitem(last=False)
        return held
