"""Raw tensors: the numbers as they are, little-endian; large ones in a file of the job's folder."""

import uuid
from collections.abc import Mapping
from pathlib import Path
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
    tensor = found[0] if len(found) == 1 else found
    return {"tensors": [value(tensor, output.get("name", ""), reading)]}


def value(tensor: np.ndarray, name: str, reading: Reading) -> dict[str, Any]:
    """A tensor in the words of a message; `file`: where a large one lies, for the node."""
    tensor = np.ascontiguousarray(tensor)
    about = {"name": name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
    little = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)
    if tensor.nbytes <= INLINE_BYTES:
        return {**about, "data": little.tobytes()}
    path = Path(reading.folder) / f"{uuid.uuid4().hex}.npy"
    np.save(path, little, allow_pickle=False)
    return {**about, "file": str(path)}
