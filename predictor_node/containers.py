"""The Docker engine of this machine, as a node uses it: look at images, run workers, tidy up.

The only file that speaks to Docker. What runs in a container is code from strangers, so it gets no
network, no privileges, a read-only root and only the files that its job needs, unless its limits
say otherwise.
"""

from __future__ import annotations

import asyncio
import io
import os
import platform
import socket
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bus.errors import MLModelScopeError
from predictor_node.downloads import Told
from predictor_node.launching import LAST_WORDS, Limits

if TYPE_CHECKING:
    import docker

SOCKET = "/var/run/docker.sock"
FOLDER, ROLE = "mlmodelscope.folder", "mlmodelscope.role"
"""Labels: whose container it is (a node's folder: two nodes never share one), and what for."""
SMOKE = "mlmodelscope-smoke:1"
OLDEST_API = "1.41"
"""Docker 20.10's: every later engine speaks it, and to say it saves asking."""
LONGEST_S = 60
"""How long one answer of the engine is waited for."""
MOST_PROCESSES = 4096
LOG_BYTES = "1m"
TMP_BYTES = 1 << 30


class ContainerError(MLModelScopeError):
    """A container cannot be had: no engine, no image, or one that a worker cannot run in."""

    kind = "container"


@dataclass(frozen=True)
class ImageSeen:
    """An image that lies here. digest: of its content; repository: as a registry knows it."""

    name: str
    digest: str
    architecture: str
    variables: Mapping[str, str] = field(default_factory=dict)
    layers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Box:
    """A container to be: everything in it that is not in its image.

    visible: files and folders of this machine, at the same places there, read-only; own: the one
    folder that may be written to. line: the folder whose socket the worker speaks by.
    """

    image: str
    command: Sequence[str]
    visible: Sequence[str] = ()
    own: str = ""
    line: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    role: str = "worker"


@dataclass(frozen=True)
class Death:
    """How a container ended."""

    code: int
    out_of_memory: bool
    out: bytes
    last_words: list[str]


LINE = "/mlms"
"""Where a container sees the folder of its node's socket."""


class Engine:
    """The engine, for one node; every call is made in a thread, for none of them is quick."""

    def __init__(self, client: docker.DockerClient, folder: Path) -> None:
        self._client, self._folder = client, str(folder)

    # ---------------------------------------------------------------- the engine itself

    @classmethod
    async def found(cls, folder: Path) -> Engine:
        """The engine of this machine, once it has run a container; ContainerError says why not."""
        address = os.environ.get("DOCKER_HOST", "")
        if not address and not os.path.exists(SOCKET):
            raise ContainerError(f"no Docker engine: there is no {SOCKET} (DOCKER_HOST is not set)")
        if not address or address.startswith("unix://"):
            _knock(address.removeprefix("unix://") or SOCKET)
        return await asyncio.to_thread(cls._found, folder)

    @classmethod
    def _found(cls, folder: Path) -> Engine:
        try:
            import docker
        except ImportError as exc:
            text = "the Python package docker is not installed: pip install 'mlmodelscope"
            raise ContainerError(f"{text}[containers]'") from exc
        with _translated("no Docker engine answers"):
            engine = cls(docker.from_env(timeout=LONGEST_S, version=OLDEST_API), folder)
        try:
            with _translated("no Docker engine answers"):
                engine._client.ping()
            with _translated("a Docker engine answers, but runs no container"):
                engine._smoke()
        except BaseException:
            engine.close()
            raise
        return engine

    def close(self) -> None:
        """Speak to it no more."""
        self._client.close()

    def _smoke(self) -> None:
        """Run the smallest program there is: an engine may answer, and yet be unable to run one."""
        program = smallest_program(platform.machine())
        if not program:
            return  # nothing to try it with; the first image will tell
        self._client.api.import_image_from_data(
            _packed({"exit": program}), repository=SMOKE.partition(":")[0], tag=SMOKE.split(":")[1]
        )
        try:
            self._client.containers.run(
                **self._arguments(Box(image=SMOKE, command=["/exit"], role="smoke")), remove=True
            )
        finally:
            self._client.images.remove(SMOKE, force=True)

    async def sweep(self) -> int:
        """End and remove what an earlier life of this node has left; how many there were."""

        def sweep() -> int:
            mine = {"label": f"{FOLDER}={self._folder}"}
            with _translated("the containers of this node cannot be listed"):
                found = self._client.containers.list(all=True, filters=mine, ignore_removed=True)
            for container in found:
                self._remove(container.id)
            return len(found)

        return await asyncio.to_thread(sweep)

    # ---------------------------------------------------------------- images

    async def image(self, name: str, told: Told) -> ImageSeen:
        """An image, fetched if it is not here; ContainerError names it and says why it is not."""
        if (seen := await asyncio.to_thread(self._seen, name)) is not None:
            return seen
        loop = asyncio.get_running_loop()

        def tell(text: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(told, text, done, total)

        await asyncio.to_thread(self._pull, name, tell)
        seen = await asyncio.to_thread(self._seen, name)
        if seen is None:
            raise ContainerError(f"image {name} was fetched and is not here: removed meanwhile?")
        return seen

    async def build(self, dockerfile: str, name: str, told: Told) -> ImageSeen:
        """An image of this Dockerfile, without any file beside it; built once."""
        if (seen := await asyncio.to_thread(self._seen, name)) is not None:
            return seen
        loop = asyncio.get_running_loop()

        def build() -> None:
            with _translated("the manifest's Dockerfile cannot be built"):
                steps = self._client.api.build(
                    fileobj=io.BytesIO(dockerfile.encode()),
                    tag=name,
                    rm=True,
                    forcerm=True,
                    decode=True,
                    labels={ROLE: "image"},
                )
                for step in steps:
                    if error := step.get("error"):
                        raise ContainerError(f"the manifest's Dockerfile cannot be built: {error}")
                    if line := step.get("stream", "").strip():
                        loop.call_soon_threadsafe(told, f"building its image: {line[:120]}", 0, 0)

        await asyncio.to_thread(build)
        return await self.image(name, told)

    def _seen(self, name: str) -> ImageSeen | None:
        from docker.errors import ImageNotFound

        with _translated(f"image {name}"):
            try:
                about = self._client.api.inspect_image(name)
            except ImageNotFound:
                return None
        pairs = (pair.partition("=") for pair in (about["Config"] or {}).get("Env") or ())
        return ImageSeen(
            name=name,
            digest=about["Id"],
            architecture=about["Architecture"],
            variables={key: value for key, _, value in pairs},
            layers=tuple(about["RootFS"].get("Layers") or ()),
        )

    def _pull(self, name: str, told: Told) -> None:
        repository, tag = _parted(name)
        with _translated(f"image {name} is not on this node and cannot be fetched"):
            for step in self._client.api.pull(repository, tag=tag, stream=True, decode=True):
                if error := step.get("error"):
                    text = f"image {name} is not on this node and cannot be fetched: {error}"
                    raise ContainerError(text)
                far = step.get("progressDetail") or {}
                text = f"fetching image {name}: {step.get('status', '')} {step.get('id', '')}"
                told(text.strip(), far.get("current", 0), far.get("total", 0))

    # ---------------------------------------------------------------- containers

    async def start(self, box: Box) -> tuple[str, int]:
        """A container's id, and the process number of its first process here."""

        def start() -> tuple[str, int]:
            with _translated(f"a container of {box.image} cannot be started"):
                container = self._client.containers.create(**self._arguments(box))
            try:
                with _translated(f"a container of {box.image} cannot be started"):
                    container.start()
                    state = self._client.api.inspect_container(container.id)["State"]
            except BaseException:
                self._remove(container.id)
                raise
            return str(container.id), int(state["Pid"])

        return await _whatever_happens(start, lambda made: self._remove(made[0]))

    async def running(self, container_id: str) -> bool:
        """Whether a container has not ended."""

        def running() -> bool:
            with _translated("a container cannot be looked at"):
                return bool(self._client.api.inspect_container(container_id)["State"]["Running"])

        return await asyncio.to_thread(running)

    async def ended(self, container_id: str, timeout_s: float) -> Death:
        """How a container ended; it is waited for. ContainerError where it does not end."""

        def ended() -> Death:
            with _translated("a container does not end"):
                api = self._client.api
                api.wait(container_id, timeout=timeout_s)
                state = api.inspect_container(container_id)["State"]
                words = api.logs(container_id, stdout=False, tail=LAST_WORDS)
                out = api.logs(container_id, stderr=False)
            return Death(
                code=int(state["ExitCode"]),
                out_of_memory=bool(state["OOMKilled"]),
                out=out,
                last_words=words.decode(errors="replace").splitlines(),
            )

        return await asyncio.to_thread(ended)

    async def remove(self, container_id: str) -> None:
        """End a container, whatever it does, and leave nothing of it."""
        await asyncio.to_thread(self._remove, container_id)

    def _remove(self, container_id: str) -> None:
        from docker.errors import APIError

        try:
            self._client.api.remove_container(container_id, v=True, force=True)
        except APIError as exc:
            if exc.status_code not in (404, 409):  # gone, or somebody is at it
                raise ContainerError(f"a container cannot be removed: {exc.explanation}") from exc

    def _arguments(self, box: Box) -> dict[str, Any]:
        from docker.types import DeviceRequest, LogConfig, Mount

        limits = box.limits
        mounts = [Mount(path, path, type="bind", read_only=True) for path in box.visible]
        if box.own:
            mounts.append(Mount(box.own, box.own, type="bind"))
        if box.line:
            mounts.append(Mount(LINE, box.line, type="bind", read_only=True))
        gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if limits.gpu else []
        return {
            "image": box.image,
            "entrypoint": list(box.command[:1]),
            "command": list(box.command[1:]),
            "environment": {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", **box.variables},
            "labels": {FOLDER: self._folder, ROLE: box.role},
            "user": f"{os.getuid()}:{os.getgid()}",
            "working_dir": "/",
            "mounts": mounts,
            "tmpfs": {"/tmp": f"size={TMP_BYTES},mode=1777"},
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "network_mode": "bridge" if limits.network else "none",
            "pids_limit": MOST_PROCESSES,
            "mem_limit": limits.memory_bytes or None,
            "memswap_limit": limits.memory_bytes or None,  # memory alone: none of it on the disk
            "nano_cpus": int(limits.cpus * 1e9) or None,
            "device_requests": gpus,
            "log_config": LogConfig(type="json-file", config={"max-size": LOG_BYTES}),
        }


def _knock(path: str) -> None:
    """Whether somebody listens there: quicker than the library, which takes a while to say no."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as exc:
            raise ContainerError(f"no Docker engine answers at {path}: {exc.strerror}") from exc


async def _whatever_happens(make: Callable[[], Any], undo: Callable[[Any], None]) -> Any:
    """What a thread makes; if nobody waits for it any more, it is undone once it is made."""
    making = asyncio.create_task(asyncio.to_thread(make))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:

        def made(task: asyncio.Task[Any]) -> None:
            if not task.cancelled() and task.exception() is None:
                asyncio.get_running_loop().run_in_executor(None, undo, task.result())

        making.add_done_callback(made)
        raise


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Docker's errors as ours, in words of this engine."""
    import requests
    from docker.errors import APIError, DockerException

    try:
        yield
    except ContainerError:
        raise
    except APIError as exc:
        raise ContainerError(f"{what}: {exc.explanation or exc}") from exc
    except (DockerException, requests.RequestException, OSError) as exc:
        raise ContainerError(f"{what}: {exc}") from exc


def _parted(name: str) -> tuple[str, str]:
    """`registry:5000/team/image:tag` as its repository and tag (or digest)."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    folder, slash, last = name.rpartition("/")
    image, _, tag = last.partition(":")
    return f"{folder}{slash}{image}", tag or "latest"


def _packed(files: Mapping[str, bytes]) -> bytes:
    """A tar of programs."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


_CODE = {
    # exit(0): the system call's number and its argument in registers, then the call.
    "x86_64": (62, bytes.fromhex("b83c00000031ff0f05")),
    "aarch64": (183, bytes.fromhex("a80b8052000080d2010000d4")),
}
"""Machine (and its number in ELF) -> a program that does nothing, and does it well."""
_LOADED_AT, _HEADERS = 0x400000, 64 + 56


def smallest_program(machine: str) -> bytes:
    """An ELF program of 130 bytes that ends with 0; nothing for a machine that is not known.

    The header and the one program header are as elf(5) describes them.
    """
    if machine not in _CODE:
        return b""
    number, code = _CODE[machine]
    size = _HEADERS + len(code)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    for value, width in (
        (2, 2),  # an executable
        (number, 2),
        (1, 4),
        (_LOADED_AT + _HEADERS, 8),  # where it begins
        (64, 8),  # where the program header lies
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
        (0, 6),
        # The program header: one part, to be read and executed.
        (1, 4),
        (5, 4),
        (0, 8),
        (_LOADED_AT, 8),
        (_LOADED_AT, 8),
        (size, 8),
        (size, 8),
        (0x1000, 8),
    ):
        header += value.to_bytes(width, "little")
    return header + code
