"""Features and raw tensors: the numbers as they are, little-endian."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .reading import Reading, pick

INLINE_BYTES = 64 * 1024
"""What is larger does not travel inside a message."""


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """The named output of one item, without the batch's dimension where it has one row."""
    found = pick(rows, output)
    return {"tensors": [value(found[0] if len(found) == 1 else found, output.get("name", ""))]}


def value(tensor: np.ndarray, name: str = "") -> dict[str, Any]:
    """A tensor in the words of a message; of a large one the shape alone."""
    tensor = np.ascontiguousarray(tensor)
    little = tensor.astype(tensor.dtype.newbyteorder("<"))
    return {
        "name": name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "data": little.tobytes() if tensor.nbytes <= INLINE_BYTES else b"",
    }
