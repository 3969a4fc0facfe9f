"""A worker in a container: the same frames, over a socket in a folder that both can see.

The socket keeps what a framework prints apart, and needs no network; when the node dies it closes,
and the worker ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from predictor_node import worker
from predictor_node.containers import LINE, Box, ContainerError, Death, Engine, ImageSeen
from predictor_node.launching import (
    READY_S,
    STREAM_BYTES,
    Launched,
    Limits,
    Needs,
    OutOfMemory,
    WorkerDied,
    last_of,
)
from predictor_node.process import Environment

DESCRIBE_S = 120.0
CONNECTS_S = READY_S
LOOK_AGAIN_S = 0.25
END_S = 5.0
"""A container whose worker has hung up ends within so long, or is ended."""
PYTHONS = ("python3", "python")
NO_PYTHON = "executable file not found"


@dataclass
class ContainerEnvironment(Environment):
    """The Python of an image, for jobs that may see nothing else of this machine."""

    engine: Engine | None = None
    image: ImageSeen | None = None
    limits: Limits = Limits()
    """What its description may use; a job brings its own."""

    async def describe(self) -> dict[str, Any]:
        """What is there, as of every environment; ContainerError says what the image lacks."""
        assert self.image is not None
        offered = [dict(self.plugins), dict(self.profilers)]
        for self.python in PYTHONS:
            self.plugins, self.profilers = map(dict, offered)
            try:
                described = await super().describe()
            except ContainerError as exc:
                if NO_PYTHON not in str(exc):
                    raise
                continue
            except WorkerDied as exc:
                text = str(exc).removeprefix(f"{self.python} ")
                raise ContainerError(f"image {self.image.name}: its {self.python} {text}") from exc
            self.stack = msgspec.structs.replace(
                self.stack,
                image=self.image.name,
                digest=self.image.digest,
                layers=list(self.image.layers),
                variables=dict(self.image.variables),
            )
            return described
        raise ContainerError(
            f"image {self.image.name} has no Python ({' or '.join(PYTHONS)} on its PATH): a worker "
            "needs Python 3.11 or newer with numpy, msgpack and pillow"
        )

    async def _ask(self, arguments: list[str]) -> tuple[bytes, bytes]:
        assert self.engine is not None
        container_id, _ = await self.engine.start(
            self._box(Needs(limits=self.limits), "describe", *arguments, "--image")
        )
        try:
            death = await self.engine.ended(container_id, DESCRIBE_S)
        finally:
            await self.engine.remove(container_id)
        if death.out_of_memory:
            raise OutOfMemory(_too_little(self.limits))
        return death.out, "\n".join(death.last_words).encode()

    async def launch(self, needs: Needs) -> Launched:
        """A worker in a container of its own."""
        assert self.engine is not None and self.scratch is not None
        self.scratch.mkdir(parents=True, exist_ok=True)
        line = Line(self.scratch.parent / f"line-{uuid.uuid4().hex[:12]}")
        try:
            await line.listen()
            box = self._box(needs, "worker", f"--connect={LINE}/{Line.NAME}", line=line)
            container_id, pid = await self.engine.start(box)
        except BaseException:
            line.close()
            raise
        boxed = Boxed(self.engine, container_id, pid, line, needs.limits)
        try:
            await boxed.connected()
        except BaseException:
            await boxed.end()
            raise
        return boxed

    def _box(self, needs: Needs, role: str, *arguments: str, line: Line | None = None) -> Box:
        assert self.image is not None
        ours = str(Path(worker.__file__).parent)
        brought = (*self.plugins.values(), *self.profilers.values())
        outside = {path for path in brought if os.path.exists(path)}
        visible = {ours, *needs.files, *(p for p in outside if not p.startswith(f"{ours}/"))}
        return Box(
            image=self.image.digest,
            command=self.command(*arguments),
            visible=sorted(visible),
            own=str(self.scratch or "") if line else "",
            line=str(line.folder) if line else "",
            variables=needs.variables,
            limits=needs.limits,
            role=role,
        )


class Line(asyncio.StreamReaderProtocol):
    """The node's end of a socket that one worker connects to."""

    NAME = "line"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reader = asyncio.StreamReader(limit=STREAM_BYTES)
        super().__init__(self.reader)
        self.open, self.lost = asyncio.Event(), asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Be there before the worker is."""
        self.folder.mkdir(parents=True, mode=0o700)
        listening = socket.socket(socket.AF_UNIX)
        # A socket's path may be 107 characters long: this one is, wherever the folder lies.
        place = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            listening.bind(f"/proc/self/fd/{place}/{self.NAME}")
        finally:
            os.close(place)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: self, sock=listening)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The worker is there; nobody else is let in."""
        super().connection_made(transport)
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._stop_listening()
        self.open.set()

    def eof_received(self) -> bool:
        """A worker that says no more is gone: nothing is left to be told to it."""
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker is gone."""
        super().connection_lost(exc)
        self.lost.set()

    def write(self, data: bytes) -> None:
        """Tell the worker something."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Hang up, and leave nothing."""
        self._stop_listening()
        if self._transport is not None:
            self._transport.close()
        self.lost.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class Boxed:
    """A worker process in a container, which ends with it."""

    def __init__(
        self, engine: Engine, container_id: str, pid: int, line: Line, limits: Limits
    ) -> None:
        self._engine, self._id, self._line, self._limits = engine, container_id, line, limits
        self.pid, self.reader = pid, line.reader
        self._removed = False

    async def connected(self) -> None:
        """Wait until the worker has called; WorkerDied where its container ends instead."""
        deadline_s = asyncio.get_running_loop().time() + CONNECTS_S
        while not self._line.open.is_set():
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._line.open.wait()
            except TimeoutError:
                if not await self._engine.running(self._id):
                    raise await self.obituary() from None
                if asyncio.get_running_loop().time() > deadline_s:
                    text = f"the worker in the container did not call within {CONNECTS_S:g} s"
                    raise WorkerDied(text) from None

    @property
    def alive(self) -> bool:
        """Whether it still holds the line."""
        return not self._line.lost.is_set()

    def write(self, data: bytes) -> None:
        """Tell it something."""
        self._line.write(data)

    async def wait(self) -> None:
        """Return when it has hung up."""
        await self._line.lost.wait()

    async def end(self) -> None:
        """End the container now, and remove it."""
        self._line.close()
        if not self._removed:
            self._removed = True
            await self._engine.remove(self._id)

    async def obituary(self) -> WorkerDied:
        """What the engine says of its end; a container that was removed cannot be asked."""
        if self._removed:
            return WorkerDied("the worker's container was ended by its node")
        try:
            return self._told(await self._engine.ended(self._id, END_S))
        except ContainerError as exc:
            return WorkerDied(f"the worker's container hung up: {exc}")

    def _told(self, death: Death) -> WorkerDied:
        last = last_of(death.last_words)
        if death.out_of_memory:
            return OutOfMemory(f"{_too_little(self._limits)}{last}")
        signalled = death.code - 128
        how = f"was killed by signal {signalled}" if signalled > 0 else f"ended with {death.code}"
        return WorkerDied(f"the worker's container {how}{last}")


def _too_little(limits: Limits) -> str:
    has = f"{limits.memory_bytes / 2**20:.0f} MiB" if limits.memory_bytes else "the machine's"
    return (
        f"the worker's container was killed, for it needed more memory than its {has} (exit 137, "
        "OOMKilled): ask for more with --setting container.memory=SIZE"
    )
