"""The embedded system of one data folder: start it, join it, the last one out stops it.

One detached supervisor per folder runs the servers and the services. Every command holds a shared
lock on `users.lock`; the supervisor waits for the exclusive one, which it gets when all have left.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from bus.errors import EmbeddedError
from mlmodelscope.keeping import Kept, keep, nats_unwell
from mlmodelscope.servers import (
    find_mongod,
    find_nats_server,
    free_port,
    restart_mongod,
    restart_nats_server,
    start_mongod,
    start_nats_server,
    stop,
    wait_until_open,
)

START_S = 60.0
STOP_S = 30.0
VARIABLES = (
    "MLMS_ENVIRONMENTS",
    "MLMS_FRAMEWORKS",
    "MLMS_ALLOW_CODE",
    "MLMS_CONTAINERS",
    "MLMS_CONTAINER_MEMORY",
    "MLMS_CONTAINER_NETWORK",
    "MLMS_BUILD_ENVIRONMENTS",
    "MLMS_BUILD_IMAGES",
    "MLMS_OTLP_ENDPOINT",
    "MLMS_OTLP_ALLOW",
)
"""What the system's services are started with: a command that wants others cannot join it."""


@dataclass(frozen=True)
class System:
    """Where the embedded system of a folder answers."""

    bus_url: str
    mongo_url: str
    supervisor: int
    status: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    """VARIABLES as its services were given them."""


# ---------------------------------------------------------------- for commands: join and leave


class Membership:
    """One command's use of a folder's system: begun at once, waited for when it is needed.

    env: the environment variables of the system, if it is we who start it. Raises EmbeddedError
    saying what is missing on this machine and what to do instead.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._folder, self._supervisor = folder, 0
        self._env = os.environ if env is None else env
        folder.mkdir(parents=True, exist_ok=True)
        self._users: int | None = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._users, fcntl.LOCK_SH)  # waits while a supervisor is on its way out
        try:
            self._start_if_nobody_has()
        except BaseException:
            self.leave()
            raise

    def wait(self) -> System:
        """The system, as soon as it answers."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if (system := self._running()) is not None:
                self._check_variables(system)
                return system
            time.sleep(0.01)
        text = f"the embedded servers did not start within {START_S:g} s"
        raise EmbeddedError(f"{text}: see {self._folder}")

    def leave(self) -> None:
        """Use it no more; if nobody else does, wait for its end."""
        if self._users is None:
            return
        os.close(self._users)  # and with it goes the lock
        self._users = None
        _wait_for_end(self._folder)
        if self._supervisor:
            _exit_code(self._supervisor)

    def _running(self) -> System | None:
        if _locked(self._folder / "supervisor.lock"):
            return _read(self._folder)
        code = _exit_code(self._supervisor) if self._supervisor else 0
        if code:
            raise EmbeddedError(_failure(self._folder))
        if code == 0:  # never started, or another supervisor was quicker, and is gone again
            self._start_if_nobody_has()
        return None

    def _check_variables(self, system: System) -> None:
        """A running system does not change: better no answer than that of another one."""
        for name, has in ((name, system.variables.get(name, "")) for name in VARIABLES):
            if (wanted := self._env.get(name, "")) and wanted != has:
                text = f"the system of {self._folder} runs with {name}={has or '(unset)'}"
                raise EmbeddedError(f"{text}, not {wanted}: end it first (Ctrl-C where it is up)")

    def _start_if_nobody_has(self) -> None:
        if not _locked(self._folder / "supervisor.lock"):
            find_nats_server()
            if not self._env.get("MLMS_MONGO_URL"):
                find_mongod()
            self._supervisor = _spawn_supervisor(self._folder, self._env)


@contextmanager
def joined(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[System]:
    """The embedded system of `folder`, started if nobody runs it; left, maybe ended, after."""
    membership = Membership(folder, env)
    try:
        yield membership.wait()
    finally:
        membership.leave()


def _spawn_supervisor(folder: Path, env: Mapping[str, str]) -> int:
    """Start a detached supervisor; its pid. It outlives us if others still need it."""
    log = str(folder / "supervisor.log")
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "mlmodelscope.embedded", str(folder)],
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,  # the command's Ctrl-C is not for the supervisor
    )


def _exit_code(pid: int) -> int | None:
    """The exit code of a child of ours, and its burial; None while it runs."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if found else None


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


# ---------------------------------------------------------------- the supervisor


def supervise(folder: Path) -> None:
    """Run the servers and services of `folder` until nobody uses them, or SIGTERM."""
    # Never closed: they must be held until the process itself has ended.
    lock = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o644)
    users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o644)
    if not _taken(lock):
        return  # another supervisor was quicker
    (folder / "failure.txt").unlink(missing_ok=True)
    (folder / "system.json").unlink(missing_ok=True)
    try:
        _supervise(folder, users)
    except EmbeddedError as exc:
        (folder / "failure.txt").write_text(str(exc))
        raise


def _taken(lock: int) -> bool:
    """Take the lock; False when somebody keeps it. Who only looks at it holds it for an instant."""
    for _ in range(50):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.01)
    return False


def _supervise(folder: Path, users: int) -> None:
    kept: list[Kept] = []
    try:
        mongo_url = os.environ.get("MLMS_MONGO_URL", "")
        if not mongo_url:
            mongod, mongo_url = start_mongod(folder / "mongo")
            kept.append(
                Kept("mongod", mongod, partial(restart_mongod, folder / "mongo", mongo_url))
            )
        monitor = f"127.0.0.1:{free_port()}"
        nats_server, bus_url = start_nats_server(folder / "nats", f"http: {json.dumps(monitor)}\n")
        again = partial(restart_nats_server, folder / "nats")
        unwell = partial(nats_unwell, f"http://{monitor}")
        kept.append(Kept("nats-server", nats_server, again, unwell))
        # The servers come up while this process imports what the services need.
        from bus import loop
        from mlmodelscope import local, logs  # noqa: F401

        logs.to_stderr()
        wait_until_open(nats_server, bus_url, folder / "nats" / "nats.log")
        if len(kept) > 1:
            wait_until_open(kept[0].process, mongo_url, folder / "mongo" / "mongod.log")
        loop.run(_serve(folder, users, (bus_url, mongo_url), kept))
    finally:
        (folder / "system.json").unlink(missing_ok=True)
        for server in reversed(kept):
            stop(server.process)


async def _serve(folder: Path, users: int, urls: tuple[str, str], kept: list[Kept]) -> None:
    from bus.service import until_signalled
    from mlmodelscope import local

    bus_url, mongo_url = urls
    # Its bus asks nobody who they are.
    env = {name: value for name, value in os.environ.items() if name != "MLMS_CREDENTIALS"}
    running = local.system(bus_url, env, mongo_url=mongo_url, home=str(folder))
    async with running as services:
        status = {service.name: service.status_url for service in services}
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        system = System(bus_url, mongo_url, os.getpid(), status, variables)
        draft = folder / "system.json.new"
        draft.write_text(json.dumps(asdict(system)))
        draft.rename(folder / "system.json")
        keeping = asyncio.create_task(keep(kept))
        ends = [asyncio.create_task(_alone(users)), asyncio.create_task(until_signalled())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        keeping.cancel()
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
