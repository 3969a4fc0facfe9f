"""Turns what a person names (files, folders, URLs) into the inputs of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from bus.connection import Bus
from bus.errors import InputError
from bus.messages import Input

INLINE_BYTES = 64 * 1024
"""Smaller files travel inside the request; larger ones through the bus's object store."""
MESSAGE_BYTES = 1024 * 1024
"""What all inline files of one request may take together."""
LIMIT_BYTES = 256 * 1024 * 1024
SCHEMES = ("http", "https", "package", "repo")


async def gather_inputs(bus: Bus, named: Sequence[str | Path | Input]) -> list[Input]:
    """One Input per file (folders in order of name); what is large is put on the bus first.

    An Input is what was read already. Raises InputError naming what is missing, empty or too large.
    """
    inputs: list[Input] = []
    inline = 0
    for name in named:
        if isinstance(name, Input):
            inline += len(name.data)
            small = len(name.data) <= INLINE_BYTES and inline <= MESSAGE_BYTES
            inputs.append(name if small else await _on_the_bus(bus, name.name, name.data))
            continue
        if urlsplit(str(name)).scheme in SCHEMES:
            inputs.append(Input(name=PurePosixPath(urlsplit(str(name)).path).name, url=str(name)))
            continue
        for path in _files(Path(name)):
            data = _content(path)
            if len(data) <= INLINE_BYTES and inline + len(data) <= MESSAGE_BYTES:
                inline += len(data)
                inputs.append(Input(name=path.name, data=data))
            else:
                inputs.append(await _on_the_bus(bus, path.name, data))
    return inputs


def each_file(named: Sequence[str]) -> tuple[str, ...]:
    """Every file by itself: folders as the files in them, addresses as they are."""
    found: list[str] = []
    for name in named:
        is_address = urlsplit(name).scheme in SCHEMES
        found += [name] if is_address else [str(path) for path in _files(Path(name))]
    return tuple(found)


async def _on_the_bus(bus: Bus, name: str, data: bytes) -> Input:
    sha256 = hashlib.sha256(data).hexdigest()
    objects = await bus.objects()
    if not await objects.has(f"inputs/{sha256}"):
        await objects.put(f"inputs/{sha256}", data)
    return Input(name=name, url=f"repo://inputs/{sha256}", checksum=f"sha256:{sha256}")


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        if not files:
            raise InputError(f"{path} holds no files: expected a folder of inputs")
        yield from files
    elif path.exists():
        yield path
    else:
        raise InputError(f"{path}: no such file or folder (and not an http(s):// address)")


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size <= LIMIT_BYTES:
            raise InputError(f"{path} holds {size} bytes: expected 1 to {LIMIT_BYTES}")
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}") from exc
