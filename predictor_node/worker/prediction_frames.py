"""Predictions on their way to the node: each frame becomes one message, and must fit into it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

from .stacked import Columns

FRAME_ITEMS = 256
FRAME_BYTES = 2 << 20
"""What one frame of predictions may hold, so that it fits into one message."""


class Frame:
    """Predictions on their way: told in frames that fit into a message."""

    def __init__(self, say: Callable[[dict[str, Any]], None], run: int) -> None:
        self._say, self._run = say, run
        self._first, self._bytes = 0, 0
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, prediction: Mapping[str, Any]) -> None:
        size = _size(prediction)
        if self._waiting and self._bytes + size > FRAME_BYTES:
            self.send()
        self._waiting.append(prediction)
        self._bytes += size
        if len(self._waiting) >= FRAME_ITEMS:
            self.send()

    def add_columns(self, columns: Columns) -> None:
        """Many at once, behind those that wait."""
        self.send()
        for part in columns.parts(FRAME_ITEMS, FRAME_BYTES):
            self._tell(len(part["inputs"]), {"columns": part})
        gc.collect(1)

    def send(self) -> None:
        """Tell what waits; outside the predict calls, so what has piled up is collected too."""
        if not self._waiting:
            return
        self._tell(len(self._waiting), {"predictions": self._waiting})
        self._waiting, self._bytes = [], 0
        gc.collect(1)

    def _tell(self, count: int, told: Mapping[str, Any]) -> None:
        self._say({"said": "predictions", "run": self._run, "first": self._first, **told})
        self._first += count


def _size(value: Any) -> int:
    """About how many bytes a prediction, or a part of one, takes in a message."""
    if isinstance(value, Mapping) and "classes" in value:
        classes = value["classes"]
        named = sum([len(score["label"]) for score in classes])  # most of all there is, so quickly
        rest = {name: each for name, each in value.items() if name != "classes"}
        return 50 * len(classes) + named + _size(rest)
    if isinstance(value, bytes | str):
        return len(value) + 5
    if isinstance(value, Mapping):
        return sum(len(key) + 1 + _size(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return 9
