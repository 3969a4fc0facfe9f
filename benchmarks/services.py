"""A whole system with each part in a process of its own, as a fleet has it, on temporary data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bus.connection import Bus
from bus.errors import EmbeddedError
from mlmodelscope import servers

READY_S = 120.0
# The same name again replaces the block above it: every message is on the disk when it is
# acknowledged.
DURABLE = "jetstream {{ store_dir: {folder}, sync_interval: always }}\n"


@dataclass(frozen=True)
class Fleet:
    """Where the parts of a running system are. folder: for files that end with it."""

    bus_url: str
    mongo_url: str
    folder: Path


@contextmanager
def running(roles: Sequence[str], *, durable: bool = False) -> Iterator[Fleet]:
    """nats-server, mongod and the services of these roles; ended, and their data gone, after.

    durable: the bus syncs every message to the disk before it acknowledges it.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        store = json.dumps(str(folder / "nats" / "data"))
        extra = DURABLE.format(folder=store) if durable else ""
        nats_server, bus_url = servers.start_nats_server(folder / "nats", extra)
        stack.callback(servers.stop, nats_server)
        mongod, mongo_url = servers.start_mongod(folder / "mongo")
        stack.callback(servers.stop, mongod)
        servers.wait_until_open(nats_server, bus_url, folder / "nats" / "nats.log")
        servers.wait_until_open(mongod, mongo_url, folder / "mongo" / "mongod.log")
        fleet = Fleet(bus_url, mongo_url, folder)
        # The collector first: a node asks it for the time.
        for role in sorted(roles):
            stack.enter_context(service(role, fleet))
        yield fleet


@asynccontextmanager
async def connected(fleet: Fleet) -> AsyncIterator[Bus]:
    """A client's connection to the fleet's bus."""
    bus = await Bus.connect(fleet.bus_url, name="benchmark")
    try:
        await bus.ensure()
        yield bus
    finally:
        await bus.close()


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would lead a command of ours to another system."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLMS_")}
    if "MLMS_CACHE" in os.environ:
        kept["MLMS_CACHE"] = os.environ["MLMS_CACHE"]
    return kept | changes


@dataclass(frozen=True)
class Service:
    """One service's process, and where its status is. ready_s: how long it took to be ready."""

    pid: int
    status_url: str
    ready_s: float


@contextmanager
def service(role: str, fleet: Fleet, *arguments: str) -> Iterator[Service]:
    """One service of a running system, ready; ended after. arguments: of its command."""
    status = f"127.0.0.1:{servers.free_port()}"
    command = [sys.executable, "-m", "mlmodelscope", role, "--bus", fleet.bus_url]
    command += ["--status", status, *arguments]
    if role == "collector":
        command += ["--mongo", fleet.mongo_url]
    log = fleet.folder / f"{role}-{status.rpartition(':')[2]}.log"
    began_s = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment(MLMS_HOME=str(fleet.folder)),
        )
    try:
        _wait_until_ready(process, role, f"http://{status}/readyz", log)
        yield Service(process.pid, f"http://{status}", time.monotonic() - began_s)
    finally:
        servers.stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], role: str, url: str, log: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    why = ""
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            last = log.read_text(errors="replace").strip()[-500:]
            raise EmbeddedError(f"the {role} ended with code {process.returncode}: {last}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except urllib.error.HTTPError as exc:
            why = exc.read().decode(errors="replace").strip()
        except OSError as exc:
            why = str(exc)
        time.sleep(0.02)
    raise EmbeddedError(f"the {role} was not ready within {READY_S:g} s: {why}")
