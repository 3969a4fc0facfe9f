"""Inputs that no item feeds: constants, and states that the model hands on to itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WorkerError


class Filled:
    """A tensor that is made, not read. dimensions: the whole shape; -1 is the batch's size."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        parameters = given.get("parameters") or {}
        self.name = str(given.get("name") or parameters.get("input_layer") or "")
        self.from_output = str(parameters.get("from_output") or "")
        self._shape = tuple(parameters.get("dimensions") or ())
        if not self.name:
            text = f"an input of type {given['type']} has no name; the graph's name of it is"
            raise WorkerError("request", f"{text} expected")
        if given["type"] == "state" and not self.from_output:
            text = f"input {self.name} is a state without from_output; the name of the output"
            raise WorkerError("request", f"{text} that it comes from is expected")
        value = parameters.get("value", 0.0) if given["type"] == "constant" else 0.0
        self._value = np.asarray(value).astype(parameters.get("element_type", "float32"))

    def fill(self, batch: int) -> np.ndarray:
        """The tensor for a batch of this size, contiguous."""
        shape = tuple(batch if size == -1 else size for size in self._shape)
        try:
            return np.ascontiguousarray(np.broadcast_to(self._value, shape)).reshape(shape)
        except ValueError as error:
            text = f"input {self.name}: a value of shape {list(self._value.shape)} does not fill"
            raise WorkerError("request", f"{text} dimensions {list(shape)}") from error
