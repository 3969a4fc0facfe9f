"""As what numbers are handed to a framework in each call: arrays, nested lists, or its own tensors.

What a program holds its inputs in changes how long a call takes, and nothing else: the setting
`feed` makes that visible. Lists become arrays inside the call that is measured, as they would in a
program that has them; a framework's own tensors are made before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .errors import WorkerError, unknown

SETTING = "feed"
FEEDS = ("array", "list", "native")


class Listed:
    """A framework module that is given nested lists; the rest of it is as it was."""

    def __init__(self, plugin: Any) -> None:
        self._plugin = plugin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plugin, name)

    def predict(self, handle: Any, batch: Mapping[str, Any]) -> Any:
        """What the framework says of lists, once they are arrays of the declared types."""
        arrays = {
            each["name"]: np.asarray(batch[each["name"]], each["dtype"] or None)
            for each in handle.inputs
            if each["name"] in batch
        }
        return self._plugin.predict(handle, arrays)


def feed_of(settings: Mapping[str, Any]) -> str:
    """The setting, checked."""
    feed = str(settings.get(SETTING, "array"))
    if feed not in FEEDS:
        raise unknown("feed", feed, FEEDS)
    return feed


def fed_by(plugin: Any, feed: str) -> Any:
    """The framework module as it is called under this setting."""
    return Listed(plugin) if feed == "list" else plugin


def handing(plugin: Any, handle: Any, feed: str) -> Callable[[Mapping[str, Any]], Any]:
    """From a batch of arrays to what is handed over; outside of what is measured."""
    if feed == "list":
        return lambda batch: {name: array.tolist() for name, array in batch.items()}
    if feed == "native":
        native = getattr(plugin, "native", None)
        if native is None:
            text = "feed is native, and this framework's module makes no tensors of its own"
            raise WorkerError("request", f"{text}; ask for array or list, or for onnxruntime")
        return lambda batch: native(handle, batch)
    return lambda batch: batch
