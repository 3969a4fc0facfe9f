"""Starts and stops worker processes, and speaks frames with them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgpack
import msgspec

from bus.messages import Stack
from predictor_node import worker
from predictor_node.launching import READY_S, Launched, Needs, Piped, WorkerDied

FRAME_LIMIT_BYTES = 256 << 20
DESCRIBE_S = 60.0
NEEDED = ("numpy", "msgpack", "pillow")


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
    stack: Stack = Stack()
    """The software that is there, once described."""
    scratch: Path | None = None
    """Where a job's folder must lie for a worker there to see it; None: anywhere."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Framework -> why it cannot be loaded there, once described."""

    def __post_init__(self) -> None:
        self.offered_plugins, self.offered_profilers = dict(self.plugins), dict(self.profilers)

    async def describe(self) -> dict[str, Any]:
        """What is there: {"python", "executable", "frameworks", "unusable", "profilers", …}."""
        offered = [f"--plugin={name}={path}" for name, path in self.plugins.items()]
        offered += [f"--profiler={name}={path}" for name, path in self.profilers.items()]
        out, err = await self._ask(["--describe", *offered])
        try:
            described: dict[str, Any] = json.loads(out.splitlines()[-1])
        except (ValueError, IndexError) as exc:
            last = (err.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            hint = f"a worker needs {', '.join(NEEDED)} there"
            raise WorkerDied(
                f"{self.python} cannot describe its frameworks ({hint}): {last[-300:]}"
            ) from exc
        self.plugins = {seen["name"]: seen["plugin"] for seen in described["frameworks"]}
        self.profilers = {seen["name"]: seen["plugin"] for seen in described["profilers"]}
        self.settings = {seen["name"]: seen["settings"] for seen in described["frameworks"]}
        self.unusable = {seen["name"]: seen["text"] for seen in described["unusable"]}
        self.stack = msgspec.convert(described["stack"], Stack)
        return described

    async def _ask(self, arguments: list[str]) -> tuple[bytes, bytes]:
        """What a worker there prints to stdout and stderr."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command(*arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self.variables(),
            )
        except OSError as exc:
            raise self.not_startable(exc) from exc
        try:
            return await asyncio.wait_for(process.communicate(), DESCRIBE_S)
        except TimeoutError as exc:
            text = f"{self.python} said nothing of its frameworks within {DESCRIBE_S:g} s"
            raise WorkerDied(text) from exc
        finally:
            if process.returncode is None:
                process.kill()

    async def launch(self, needs: Needs) -> Launched:
        """A worker process there; it has not spoken yet."""
        try:
            return await Piped.start(self.command(), {**self.variables(), **needs.variables})
        except OSError as exc:
            raise self.not_startable(exc) from exc

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
    needs: Needs = Needs()
    _launched: Launched | None = None

    async def start(self) -> None:
        """Start the process and wait for its first word; what is left of one before is put away."""
        await self.kill()
        self._launched = await self.environment.launch(self.needs)
        try:
            await asyncio.wait_for(self.receive(), READY_S)
        except TimeoutError as exc:
            await self.kill()
            raise WorkerDied(f"the worker said nothing within {READY_S:g} s") from exc

    async def needing(self, needs: Needs) -> None:
        """A worker that began with other things is ended: variables, say, are read but once."""
        if needs != self.needs:
            await self.kill()
            self.needs = needs

    @property
    def pid(self) -> int:
        """The process's number on this machine; 0: there is none."""
        return self._launched.pid if self._launched else 0

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._launched is not None and self._launched.alive

    def send(self, frame: dict[str, Any]) -> None:
        """Tell the worker something; one that has ended hears nothing, and receive() says so."""
        body = msgpack.packb(frame, use_bin_type=True)
        try:
            self._there().write(len(body).to_bytes(4, "big") + body)
        except (OSError, RuntimeError):
            pass  # uvloop: the pipe is closed, for the worker has ended; receive() says how

    async def receive(self) -> dict[str, Any]:
        """The worker's next frame; WorkerDied, with its exit code and last words, at its end."""
        launched = self._there()
        try:
            size = int.from_bytes(await launched.reader.readexactly(4), "big")
            if size > FRAME_LIMIT_BYTES:
                raise WorkerDied(f"the worker sent a frame of {size} bytes: not read further")
            frame = msgpack.unpackb(await launched.reader.readexactly(size), raw=False)
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise await launched.obituary() from exc
        if not isinstance(frame, dict):
            raise WorkerDied(f"the worker sent {type(frame).__name__} where a map was expected")
        return frame

    async def stop(self) -> None:
        """Ask the worker to end; insist after a moment."""
        if self.alive:
            self.send({"do": "exit"})
            try:
                await asyncio.wait_for(self._there().wait(), 2.0)
            except TimeoutError:
                pass
        await self.kill()

    async def kill(self) -> None:
        """End the worker now, if there is one."""
        if self._launched is not None:
            launched, self._launched = self._launched, None
            await launched.end()

    def _there(self) -> Launched:
        if self._launched is None:
            raise WorkerDied("the worker has ended, or was never started")
        return self._launched
