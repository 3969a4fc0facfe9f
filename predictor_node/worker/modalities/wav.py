"""WAV files as samples: whole numbers of 8, 16, 24 and 32 bit, floating point of 32 and 64.

The standard library's `wave` reads no floating point and says little of what is broken.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import WorkerError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN_BYTES = 0xFFFFFFFF
"""What a program writes as a chunk's size when it cannot know it: up to the file's end."""
HEAD_BYTES = 16


@dataclass(frozen=True, slots=True)
class Sound:
    """samples: [count, channels], float32 from -1 to 1; rate: of them a second."""

    samples: np.ndarray
    rate: int


def read(name: str, data: bytes) -> Sound:
    """Every sample of the file; WorkerError says what was found instead."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        begins = data[:4].decode("ascii", "replace") or "nothing"
        text = f"input {name} is no WAV file: it begins with {begins!r} ({len(data)} bytes)"
        raise WorkerError("input", f"{text}; a WAV file (RIFF … WAVE) is expected")
    head, body, size = b"", b"", 0
    place = 12
    while place + 8 <= len(data) and not body:
        chunk, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        begin = place + 8
        if chunk == b"fmt ":
            head = data[begin : begin + size]
        elif chunk == b"data":
            body = data[begin:] if size == UNKNOWN_BYTES else data[begin : begin + size]
        place = begin + size + size % 2
    if len(head) < HEAD_BYTES or not body:
        missing = "fmt" if len(head) < HEAD_BYTES else "data"
        text = f"input {name}: the WAV file ({len(data)} bytes) has no {missing} chunk"
        raise WorkerError("input", f"{text}; a whole file is expected")
    if size != UNKNOWN_BYTES and len(body) < size:
        text = f"input {name}: the WAV file is cut off: {len(body)} of {size} bytes of samples"
        raise WorkerError("input", f"{text}; a whole file is expected")
    return _decoded(name, head, body)


def _decoded(name: str, head: bytes, body: bytes) -> Sound:
    kind, channels = (int.from_bytes(head[at : at + 2], "little") for at in (0, 2))
    rate = int.from_bytes(head[4:8], "little")
    bits = int.from_bytes(head[14:16], "little")
    if kind == EXTENSIBLE and len(head) >= 26:
        kind = int.from_bytes(head[24:26], "little")  # the first two bytes of its subformat
    if not (channels and rate) or (kind, bits) not in READERS:
        text = f"input {name}: WAV of format {kind}, {bits} bit, {channels} channels, {rate} Hz"
        raise WorkerError(
            "input", f"{text}; PCM of 8, 16, 24, 32 bit or floats of 32, 64 are expected"
        )
    frame = channels * bits // 8
    whole = np.frombuffer(body[: len(body) // frame * frame], np.uint8)
    return Sound(READERS[kind, bits](whole).reshape(-1, channels), rate)


def _whole(dtype: str, zero: int, full: float):  # type: ignore[no-untyped-def]
    """A reader of whole numbers: `zero` is silence, `full` above it is 1."""
    return lambda raw: ((raw.view(dtype).astype(np.float64) - zero) / full).astype(np.float32)


def _of_24_bits(raw: np.ndarray) -> np.ndarray:
    """Three bytes each, put into the upper ones of four, so that the sign comes right."""
    wide = np.zeros((raw.size // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)


READERS = {
    (PCM, 8): _whole("u1", 128, 2.0**7),
    (PCM, 16): _whole("<i2", 0, 2.0**15),
    (PCM, 24): _of_24_bits,
    (PCM, 32): _whole("<i4", 0, 2.0**31),
    (FLOAT, 32): _whole("<f4", 0, 1.0),
    (FLOAT, 64): _whole("<f8", 0, 1.0),
}
