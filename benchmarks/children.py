"""Python processes that a benchmark starts, speaks with over pipes, and never leaves behind."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

LINE_BYTES = 1 << 24


@asynccontextmanager
async def started(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """This Python with these arguments; what it writes to stderr is for people to see."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES, env=env
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: Process) -> bytes:
    """What it says next; nothing when it has ended."""
    assert process.stdout is not None
    return await process.stdout.readline()


async def frame(process: Process) -> bytes:
    """Its next frame (bytes behind a 4-byte big-endian length); IncompleteReadError at its end."""
    assert process.stdout is not None
    size = int.from_bytes(await process.stdout.readexactly(4), "big")
    return await process.stdout.readexactly(size)


def tell(process: Process, text: bytes) -> None:
    """A line for its stdin."""
    assert process.stdin is not None
    process.stdin.write(text + b"\n")
