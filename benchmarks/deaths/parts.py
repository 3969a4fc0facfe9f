"""The processes of a running system: started, killed, started again.

Each service is started by the command that a person would type.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bus.errors import EmbeddedError
from mlmodelscope import servers

READY_S = 60.0
HIDDEN = ("torch", "tensorflow", "keras", "onnxruntime", "mxnet")
"""Libraries that the nodes here do without: a node that has none of them starts in a second."""


@dataclass
class Part:
    """One process. why_not: why it is not ready, or nothing."""

    name: str
    command: Sequence[str]
    log: Path
    why_not: Callable[[], str]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin; `ready` waits until it can work."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(self.env),
                preexec_fn=_end_with_parent,
            )

    async def ready(self) -> None:
        """Wait until it can work."""
        deadline_s, why = time.monotonic() + READY_S, ""
        while time.monotonic() < deadline_s:
            if not self.runs:
                raise EmbeddedError(f"{self.name} ended while it was starting: {self._last()}")
            if not (why := await asyncio.to_thread(self.why_not)):
                return
            await asyncio.sleep(0.05)
        text = f"{self.name} was not ready within {READY_S:g} s: {why}; it said: {self._last()}"
        raise EmbeddedError(text)

    def _last(self) -> str:
        return self.log.read_text(errors="replace").strip()[-500:] or "nothing"

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it is there, and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def again(self) -> None:
        """Start it once more, and wait until it is ready."""
        self.start()
        await self.ready()

    def stop(self) -> None:
        """Ask it to end; insist after a while."""
        if self.runs:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)
            servers.stop(self._process)


def service(
    role: str, name: str, folder: Path, arguments: Sequence[str], given: Place | None = None
) -> Part:
    """A service's part: `mlmodelscope ROLE …` with its data in a folder of its own."""
    place = given or Place()
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    host, port = place.host, servers.free_port()
    command = [sys.executable, "-m", "mlmodelscope", role, "--status", f"{host}:{port}"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLMS_")}
    hidden = str(without_frameworks(folder))
    path = os.pathsep.join(filter(None, (hidden, kept.get("PYTHONPATH", ""))))
    own = {"MLMS_HOME": str(home), "MLMS_CACHE": str(home / "cache"), "PYTHONPATH": path}
    return Part(
        name=name,
        command=[*place.prefix, *command, *arguments],
        log=folder / f"{name}.log",
        why_not=lambda: _not_ready(f"http://{host}:{port}/readyz"),
        env={**kept, **own, **place.env},
    )


@dataclass(frozen=True)
class Place:
    """Where a service runs. prefix: of its command; host: where its status is asked for."""

    prefix: Sequence[str] = ()
    host: str = "127.0.0.1"
    env: Mapping[str, str] = field(default_factory=dict)


def status_of(part: Part) -> dict[str, Any]:
    """What a service says of itself."""
    address = part.command[part.command.index("--status") + 1]
    with urllib.request.urlopen(f"http://{address}/status", timeout=5) as answer:
        return msgspec.json.decode(answer.read(), type=dict[str, Any])


def without_frameworks(folder: Path) -> Path:
    """A folder that, first on PYTHONPATH, makes a Python one without the large libraries."""
    hidden = folder / "without"
    hidden.mkdir(exist_ok=True)
    for library in HIDDEN:
        (hidden / f"{library}.py").write_text(f'raise ModuleNotFoundError("no {library} here")\n')
    return hidden


def _not_ready(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return ""
    except urllib.error.HTTPError as exc:
        return exc.read().decode(errors="replace").strip()
    except OSError as exc:
        return str(exc)


def _end_with_parent() -> None:
    """Linux: a part must not outlive whoever measures."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
