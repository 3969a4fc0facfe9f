"""The pipe between node and worker: a 4-byte big-endian length, then one MessagePack map."""

import os
import struct
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgpack

LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 256 * 1024 * 1024


class FrameError(Exception):
    """The bytes on the pipe are not frames: the two ends no longer understand each other."""


def pack(value: Any) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def unpack(payload: bytes | bytearray) -> dict[str, Any]:
    """The map in one frame."""
    try:
        message = msgpack.unpackb(payload, raw=False, strict_map_key=False)
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"frame is not MessagePack: {error!r}") from error
    if not isinstance(message, dict):
        raise FrameError(f"frame holds a {type(message).__name__}; a map was expected")
    return message


def map_head(count: int) -> bytes:
    """What stands before the keys and values of a map that is written piece by piece."""
    return bytes([0x80 | count]) if count < 16 else b"\xde" + count.to_bytes(2, "big")


def bytes_head(count: int) -> bytes:
    """What stands before bytes that are written without being copied into a frame first."""
    return b"\xc6" + count.to_bytes(4, "big")


def read_frames(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Every frame until the other end closes the pipe; an end inside a frame is an end too."""
    while len(header := stream.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(header)
        if length > MAX_FRAME_BYTES:
            raise FrameError(f"frame of {length} bytes; at most {MAX_FRAME_BYTES} are accepted")
        payload = stream.read(length)
        if len(payload) < length:
            return
        yield unpack(payload)


class Sender:
    """Writes whole frames to one descriptor, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "wb")
        self._lock = threading.Lock()

    def __call__(self, message: dict[str, Any]) -> None:
        payload = pack(message)
        with self._lock:
            self._stream.write(LENGTH.pack(len(payload)))
            self._stream.write(payload)
            self._stream.flush()
