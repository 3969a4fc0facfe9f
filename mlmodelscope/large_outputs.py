"""The numbers of an output that was too large for its message: they lie on the bus as an .npy."""

from __future__ import annotations

import io

import numpy as np

from bus import subjects
from bus.connection import Bus
from bus.errors import InputError
from bus.messages import TensorValue

SCHEME = "repo://"


async def fetch_output(bus: Bus, tensor: TensorValue) -> bytes:
    """Little-endian, rows first, as `data` has them; AssetError where they expired."""
    if tensor.data or not tensor.url:
        return tensor.data
    if not tensor.url.startswith(SCHEME):
        raise InputError(f"{tensor.url[:80]}: expected {SCHEME}…, on the bus")
    name = tensor.url.removeprefix(SCHEME)
    into = io.BytesIO()
    await (await bus.objects(subjects.object_store(name))).get(name, into)
    into.seek(0)
    values = np.load(into, allow_pickle=False)
    return values.astype(np.dtype(tensor.dtype).newbyteorder("<"), copy=False).tobytes()
