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
NEEDED = ("numpy", "msgpack", "pillow")


class WorkerDied(MLModelScopeError):
    """The worker process ended before its job did."""

    kind = "worker_died"


def plugins() -> dict[str, str]:
    """Every framework module found by entry point: name -> its file, not imported here."""
    return _brought("mlmodelscope.frameworks")


def profilers() -> dict[str, str]:
    """Every profiler found by entry point, in the same way."""
    return _brought("mlmodelscope.profilers")


def _brought(group: str) -> dict[str, str]:
    found = {}
    for entry in entry_points(group=group):
        spec = find_spec(entry.module)
        if spec is not None and spec.origin:
            found[entry.name] = spec.origin
    return found


@dataclass
class Environment:
    """A Python in which frameworks are installed: the node's own one, or another's."""

    name: str = "default"
    python: str = sys.executable
    allow_code: bool = False
    """Whether a manifest's own code may run in it."""
    plugins: dict[str, str] = field(default_factory=plugins)
    """Framework -> its module's file: what is offered to it; once described, what it can load."""
    profilers: dict[str, str] = field(default_factory=profilers)
    """Profiler -> its module's file: likewise, those that cannot work there among them."""
    settings: dict[str, list[str]] = field(default_factory=dict)
    """Framework -> the settings that its module names, once described."""

    async def describe(self) -> dict[str, Any]:
        """What is there: {"python", "executable", "frameworks", "unusable", "profilers"}."""
        offered = [f"--plugin={name}={path}" for name, path in self.plugins.items()]
        offered += [f"--profiler={name}={path}" for name, path in self.profilers.items()]
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command("--describe", *offered),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self.variables(),
            )
        except OSError as exc:
            raise self.not_startable(exc) from exc
        out, err = b"", b""
        try:
            out, err = await asyncio.wait_for(process.communicate(), DESCRIBE_S)
            described: dict[str, Any] = json.loads(out.splitlines()[-1])
        except TimeoutError as exc:
            text = f"{self.python} said nothing of its frameworks within {DESCRIBE_S:g} s"
            raise WorkerDied(text) from exc
        except (ValueError, IndexError) as exc:
            last = (err.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            hint = f"a worker needs {', '.join(NEEDED)} there"
            raise WorkerDied(
                f"{self.python} cannot describe its frameworks ({hint}): {last[-300:]}"
            ) from exc
        finally:
            if process.returncode is None:
                process.kill()
        self.plugins = {seen["name"]: seen["plugin"] for seen in described["frameworks"]}
        self.profilers = {seen["name"]: seen["plugin"] for seen in described["profilers"]}
        self.settings = {seen["name"]: seen["settings"] for seen in described["frameworks"]}
        return described

    def command(self, *arguments: str) -> list[str]:
        """How a worker is started there."""
        return [self.python, "-c", worker.BOOTSTRAP, str(Path(worker.__file__).parent), *arguments]

    def variables(self) -> dict[str, str]:
        """The environment variables of a worker there: what leads our Python leads no other's."""
        ours = () if self.python == sys.executable else ("PYTHONPATH", "PYTHONHOME")
        return {name: value for name, value in os.environ.items() if name not in ours}

    def not_startable(self, exc: OSError) -> WorkerDied:
        """Why there is no process: said of the Python, which is what a person can mend."""
        text = f"{self.python} cannot be started: {exc.strerror}"
        return WorkerDied(f"{text}; environment {self.name} needs a Python there")


@dataclass
class Worker:
    """One worker process; frames out by `send`, frames in by `receive`."""

    environment: Environment
    more_variables: dict[str, str] = field(default_factory=dict)
    """Environment variables that must be set before the process starts."""
    pid: int = 0
    _last_words: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))

    async def start(self) -> None:
        """Start the process and wait for its first word; what is left of one before is put away."""
        await self.kill()
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        command = self.environment.command(f"--read-fd={to_read}", f"--write-fd={from_write}")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                pass_fds=(to_read, from_write),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=self.environment.variables() | self.more_variables,
            )
        except OSError as exc:
            os.close(to_write)
            os.close(from_read)
            raise self.environment.not_startable(exc) from exc
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

    async def with_variables(self, variables: dict[str, str]) -> None:
        """A worker that began with other variables is ended: a library reads them but once."""
        if variables != self.more_variables:
            await self.kill()
            self.more_variables = variables

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
        """End the worker now, if there is one."""
        if not self.pid:
            return
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
        if code == -signal.SIGKILL:
            how += " (the kernel does so when memory runs out)"
        last = next((line for line in reversed(self._last_words) if line.strip()), "")
        return f"the worker process {how}{': ' + last if last else ''}"

    async def _listen(self) -> None:
        """Keep the last words that the worker (or its framework) writes to stderr."""
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._last_words.append(line.decode(errors="replace").rstrip())
