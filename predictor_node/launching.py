"""A worker process as its node holds it: what it says, what it is told, how it ended.

Where it runs is another matter: here beside the node (Piped), or in a container
(container_worker.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bus.errors import MLModelScopeError

LAST_WORDS = 40
READY_S = 60.0
STREAM_BYTES = 1 << 20


class WorkerDied(MLModelScopeError):
    """The worker process ended before its job did."""

    kind = "worker_died"


class OutOfMemory(WorkerDied):
    """The worker needed more memory than it may have: another attempt would end the same way."""

    kind = "out_of_memory"


@dataclass(frozen=True)
class Limits:
    """What a container may use. memory_bytes 0, cpus 0: what the machine has."""

    memory_bytes: int = 0
    cpus: float = 0.0
    network: bool = False
    gpu: bool = False


@dataclass(frozen=True)
class Needs:
    """What a worker process must be started with: a job that needs other things has another one.

    files: what it reads, and limits: what it may use, count where it does not see this machine.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    limits: Limits = Limits()


class Launched(Protocol):
    """A process that was started; frames come by `reader`."""

    pid: int
    reader: asyncio.StreamReader

    @property
    def alive(self) -> bool:
        """Whether it still runs."""

    def write(self, data: bytes) -> None:
        """Tell it something; one that has ended hears nothing."""

    async def wait(self) -> None:
        """Return when it has ended."""

    async def end(self) -> None:
        """End it now, and let go of everything that was held for it."""

    async def obituary(self) -> WorkerDied:
        """How it ended, once it has."""


class Piped:
    """A process beside the node, on two pipes of its own."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> None:
        self._process, self.reader = process, reader
        self.pid = process.pid
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, command: Sequence[str], variables: Mapping[str, str]) -> Piped:
        """Start `command` with the descriptors that it shall read and write; OSError."""
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                f"--read-fd={to_read}",
                f"--write-fd={from_write}",
                pass_fds=(to_read, from_write),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=variables,
            )
        except OSError:
            os.close(to_write)
            os.close(from_read)
            raise
        finally:
            os.close(to_read)
            os.close(from_write)
        piped = cls(process, asyncio.StreamReader(limit=STREAM_BYTES))
        loop = asyncio.get_running_loop()
        piped._reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(piped.reader), os.fdopen(from_read, "rb")
        )
        piped._writing, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(to_write, "wb")
        )
        return piped

    _reading: asyncio.ReadTransport
    _writing: asyncio.WriteTransport

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    def write(self, data: bytes) -> None:
        """Tell it something."""
        self._writing.write(data)

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    async def end(self) -> None:
        """End it now, and close its pipes."""
        if self.alive:
            self._process.kill()
            await self._process.wait()
        self._reading.close()
        self._writing.close()
        await self._listening

    async def obituary(self) -> WorkerDied:
        """Its exit code or signal, and its last words."""
        code = await self._process.wait()
        await self._listening
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return WorkerDied(f"the worker process {how}{last_of(self._last_words)}")

    async def _listen(self) -> None:
        """Keep the last words that the worker (or its framework) writes to stderr."""
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._last_words.append(line.decode(errors="replace").rstrip())


def last_of(lines: Sequence[str] | deque[str]) -> str:
    """The last line that says something, behind a colon."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""
