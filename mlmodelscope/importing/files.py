"""A profile's bytes: unpacked, bounded, and known by their sha256, zipped or not."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from gzip import BadGzipFile, GzipFile
from hashlib import sha256
from io import BufferedReader
from pathlib import Path

from bus.errors import InputError

LIMIT_BYTES = 1024**3
"""What a profile may take unpacked. Reading one needs about four times its size in memory."""
PIECE_BYTES = 4 * 1024**2
GZIP = b"\x1f\x8b"

Progress = Callable[[str, int, int], None]
"""Hears (what is being done, how much is done, how much there is)."""


@dataclass(frozen=True, slots=True)
class Content:
    """What lies in a profile's file; sha256 is of the unpacked bytes."""

    path: Path
    data: bytes
    sha256: str


def content(path: Path, progress: Progress, limit_bytes: int = LIMIT_BYTES) -> Content:
    """Read a file once, unzipping it if its first bytes say so (whatever its name says)."""
    try:
        with path.open("rb") as file:
            data = _unpacked(path, file, progress, limit_bytes)
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror or exc}: expected a profile's file") from exc
    if not data or data.isspace():
        raise InputError(f"{path} is empty: expected a profile as JSON")
    return Content(path, data, sha256(data).hexdigest())


def _unpacked(path: Path, file: BufferedReader, progress: Progress, limit_bytes: int) -> bytes:
    zipped, size = file.peek(2)[:2] == GZIP, path.stat().st_size
    source: GzipFile | BufferedReader = GzipFile(fileobj=file) if zipped else file
    pieces, length = [], 0
    try:
        while piece := source.read(PIECE_BYTES):
            length += len(piece)
            if length > limit_bytes:
                raise InputError(
                    f"{path} holds more than {limit_bytes:,} bytes unpacked, the most that is "
                    "read: record fewer steps, or leave out stacks (with_stack=False)"
                )
            pieces.append(piece)
            progress(f"reading {path.name}", file.tell(), size)
    except EOFError as exc:
        raise InputError(
            f"{path} is cut off: its gzip data ends after {length:,} unpacked bytes; "
            "copy it again from where it was recorded"
        ) from exc
    except (BadGzipFile, zlib.error) as exc:
        raise InputError(f"{path} is damaged: it begins as gzip and goes on as {exc}") from exc
    return b"".join(pieces)
