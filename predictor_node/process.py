"""Starts and stops worker processes, and speaks frames with them over a pipe of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgpack

from bus.errors import MLModelScopeError
from predictor_node import worker

FRAME_LIMIT_BYTES = 256 << 20
DESCRIBE_S = 60.0
READY_S = 60.0
LAST_WORDS = 40


class WorkerDied(MLModelScopeError):
    """The worker process ended before its job did."""

    kind = "worker_died"


@dataclass(frozen=True)
class Environment:
    """A Python in which frameworks are installed."""

    name: str = "default"
    python: str = sys.executable

    async def describe(self) -> dict[str, object]:
        """What can be loaded there: {"python", "executable", "frameworks": [...]}."""
        arguments = [f"--plugin={name}={path}" for name, path in plugins().items()]
        process = await asyncio.create_subprocess_exec(
            *self._command("--describe", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), DESCRIBE_S)
            described: dict[str, object] = json.loads(out.splitlines()[-1])
            return described
        except (TimeoutError, ValueError, IndexError) as exc:
            if process.returncode is None:
                process.kill()
            last = err.decode(errors="replace").strip()[-300:] if process.returncode else exc
            raise WorkerDied(f"{self.python} cannot describe its frameworks: {last}") from exc

    def _command(self, *arguments: str) -> list[str]:
        return [self.python, "-c", worker.BOOTSTRAP, str(Path(worker.__file__).parent), *arguments]


def plugins() -> dict[str, str]:
    """Every framework module found by entry point: name -> its file, not imported here."""
    found = {}
    for entry in entry_points(group="mlmodelscope.frameworks"):
        spec = find_spec(entry.value)
        if spec is not None and spec.origin:
            found[entry.name] = spec.origin
    return found


@dataclass
class Worker:
    """One worker process; frames out by `send`, frames in by `receive`."""

    environment: Environment
    pid: int = 0
    _last_words: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))

    async def start(self) -> None:
        """Start the process and wait for its first word."""
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        command = self.environment._command(f"--read-fd={to_read}", f"--write-fd={from_write}")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                pass_fds=(to_read, from_write),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        finally:
            os.close(to_read)
            os.close(from_write)
        self.pid = self._process.pid
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=1 << 20)
        self._reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), os.fdopen(from_read, "rb")
        )
        self._writing, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(to_write, "wb")
        )
        self._listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait_for(self.receive(), READY_S)
        except TimeoutError as exc:
            await self.kill()
            raise WorkerDied(f"the worker said nothing within {READY_S:g} s") from exc

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.pid > 0 and self._process.returncode is None

    def send(self, frame: dict[str, Any]) -> None:
        """Tell the worker something; one that has ended hears nothing, and receive() says so."""
        body = msgpack.packb(frame, use_bin_type=True)
        try:
            self._writing.write(len(body).to_bytes(4, "big") + body)
        except (OSError, RuntimeError):
            pass  # uvloop: the pipe is closed, for the worker has ended; receive() says how

    async def receive(self) -> dict[str, Any]:
        """The worker's next frame; WorkerDied, with its exit code and last words, at its end."""
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            if size > FRAME_LIMIT_BYTES:
                raise WorkerDied(f"the worker sent a frame of {size} bytes: not read further")
            frame = msgpack.unpackb(await self._reader.readexactly(size), raw=False)
        except asyncio.IncompleteReadError as exc:
            raise WorkerDied(await self._obituary()) from exc
        if not isinstance(frame, dict):
            raise WorkerDied(f"the worker sent {type(frame).__name__} where a map was expected")
        return frame

    async def stop(self) -> None:
        """Ask the worker to end; insist after a moment."""
        if self.alive:
            self.send({"do": "exit"})
            try:
                await asyncio.wait_for(self._process.wait(), 2.0)
            except TimeoutError:
                pass
        await self.kill()

    async def kill(self) -> None:
        """End the worker now."""
        if self.alive:
            self._process.kill()
            await self._process.wait()
        self._reading.close()
        self._writing.close()
        await self._listening

    async def _obituary(self) -> str:
        code = await self._process.wait()
        await self._listening
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        last = next((line for line in reversed(self._last_words) if line.strip()), "")
        return f"the worker process {how}{': ' + last if last else ''}"

    async def _listen(self) -> None:
        """Keep the last words that the worker (or its framework) writes to stderr."""
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._last_words.append(line.decode(errors="replace").rstrip())
