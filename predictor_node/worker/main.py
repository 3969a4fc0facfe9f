"""The worker's life: commands come in on one descriptor, what was seen goes out on another."""

import argparse
import json
import os
import queue
import socket
import sys
import threading
import traceback
from typing import Any

from . import frameworks, profilers
from .errors import WorkerError, unknown
from .frames import FrameError, Sender, read_frames
from .held import HeldModels
from .job import read_job
from .models import WarmModels
from .profiling import variables
from .renewal import begin_anew, settings_spent, taken_over
from .runner import run_job
from .software import stack, system_packages
from .stack import stack_packages

MAX_COMMANDS = 64  # the node sends one job at a time; more than this waits in the pipe
NODE_GONE = 0
NOT_UNDERSTOOD = 2


def main(argv: list[str] | None = None) -> int:
    # First of all: whatever a framework prints goes to the log, never between two frames.
    answer = os.dup(1)
    os.dup2(2, 1)
    parser = argparse.ArgumentParser(prog="worker", description="Run models for a predictor node.")
    parser.add_argument("--read-fd", type=int, help="descriptor on which commands come in")
    parser.add_argument("--write-fd", type=int, help="descriptor on which frames go out")
    parser.add_argument("--connect", help="socket that commands come by, in place of descriptors")
    parser.add_argument("--describe", action="store_true", help="say what can be loaded, and end")
    parser.add_argument("--ceilings", type=int, help="say what so many threads can do, and end")
    parser.add_argument("--image", action="store_true", help="and the system's own packages")
    parser.add_argument("--again", type=int, help="descriptor of the command to begin with")
    parser.add_argument("--plugin", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--profiler", action="append", default=[], metavar="NAME=PATH")
    options = parser.parse_args(argv)
    if options.describe:
        described = describe(_pairs(options.plugin), _pairs(options.profiler))
        if options.image:
            described["stack"]["system_packages"] = system_packages()
        with os.fdopen(answer, "w") as out:
            out.write(f"{json.dumps(described)}\n")
        return 0
    if options.ceilings:
        from .ceilings import ceilings

        os.write(answer, f"{json.dumps(ceilings(options.ceilings))}\n".encode())
        return 0
    os.close(answer)
    if options.connect:
        options.read_fd, options.write_fd = connected(options.connect)
    if options.read_fd is None or options.write_fd is None:
        parser.error("--read-fd and --write-fd are needed, or --connect, or --describe")
    return serve(options.read_fd, options.write_fd, options.again)


def connected(path: str) -> tuple[int, int]:
    """Both ways of a connection to the node's socket, which is all that a container has of it."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(path)
    reading = os.dup(line.fileno())
    return reading, line.detach()


def _pairs(given: list[str]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in given)


def describe(offered: dict[str, str], looking: dict[str, str] | None = None) -> dict[str, Any]:
    """This environment's Python, those frameworks whose library it can import, its profilers.

    Of the plugins that the node offers (looking: its profilers), and of those that are installed
    here; the node's own go first, because they are of this worker's version.
    """
    found: dict[str, dict[str, Any]] = {}
    unusable = []
    for name, path in [*offered.items(), *frameworks.installed().items()]:
        if name in found:
            continue
        try:
            module = frameworks.load(name, path)
            settings = list(getattr(module, "SETTINGS", ()))
            about = {"name": name, "plugin": path, "settings": settings}
            found[name] = {**about, **module.describe()}
        except Exception as error:  # a broken library costs only itself, and the node says why
            text = f"{type(error).__name__}: {error}"
            missing = _not_installed(error)
            unusable.append({"name": name, "plugin": path, "text": text, "missing": missing})
    version = ".".join(str(part) for part in sys.version_info[:3])
    return {
        "python": version,
        "executable": sys.executable,
        "packages": stack_packages(),
        "frameworks": list(found.values()),
        "unusable": [each for each in unusable if each["name"] not in found],
        "stack": stack(),
        "profilers": [
            profilers.describe(name, path)
            for name, path in {**profilers.installed(), **(looking or {})}.items()
        ],
    }


def _not_installed(error: Exception) -> bool:
    """Whether a library is not there at all: one whose own parts are missing names a file."""
    return isinstance(error, ModuleNotFoundError) or (
        isinstance(error, ImportError) and error.name is None
    )


class Commands:
    """What the node said, read by a thread so that a cancel is heard while a model runs."""

    def __init__(self, descriptor: int) -> None:
        # Children of a framework must not hold the pipe open when the node has died.
        os.set_inheritable(descriptor, False)
        self._stream = os.fdopen(descriptor, "rb")
        self._waiting: queue.Queue[tuple[dict[str, Any], threading.Event]] = queue.Queue(
            MAX_COMMANDS
        )
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def next(self) -> tuple[dict[str, Any], threading.Event]:
        """The next command, and the flag that a later cancel of it sets."""
        return self._waiting.get()

    def _listen(self) -> None:
        cancelled = threading.Event()
        try:
            for command in read_frames(self._stream):
                if command.get("do") == "cancel":
                    cancelled.set()
                    continue
                # A flag a command: a cancel read before its job has begun is not forgotten.
                cancelled = threading.Event()
                self._waiting.put((command, cancelled))
        except FrameError as error:
            print(f"worker: {error}", file=sys.stderr, flush=True)
            os._exit(NOT_UNDERSTOOD)
        # The node has gone: nobody is left to run for, or to tell.
        os._exit(NODE_GONE)


def serve(read_fd: int, write_fd: int, again: int | None = None) -> int:
    first = taken_over(again) if again is not None else None
    os.set_inheritable(write_fd, False)
    say, commands = Sender(write_fd), Commands(read_fd)
    models, held = WarmModels(), HeldModels()
    try:
        if first is None:
            version = ".".join(str(part) for part in sys.version_info[:3])
            say({"said": "ready", "pid": os.getpid(), "python": version})
        while True:
            command, cancelled = (first, threading.Event()) if first else commands.next()
            if first is None and not held and settings_spent(command):
                begin_anew(command, read_fd, write_fd)
            first = None
            if command.get("do") == "exit":
                held.close_all()
                models.close()
                return 0
            perform(command, models, held, say, cancelled)
    except BrokenPipeError:
        os._exit(NODE_GONE)


def perform(
    command: dict[str, Any],
    models: WarmModels,
    held: HeldModels,
    say: Sender,
    cancelled: threading.Event,
) -> None:
    """Run one command; the one place where its errors are caught and become a frame."""
    try:
        match command.get("do"):
            case "run":
                if not isinstance(sent := command.get("job"), dict):
                    text = f"job is a {type(sent).__name__}; a map is expected"
                    raise WorkerError("request", text)
                run_job(read_job(sent), models, say, cancelled)
            case "prepare":
                say({"said": "prepared", "variables": variables(read_job(command["job"]))})
            case "open":
                say(held.open(command))
            case "predict":
                say(held.predict(command))
            case "close":
                say(held.close(command))
            case other:
                known = ("run", "prepare", "open", "predict", "close", "cancel", "exit")
                raise unknown("command", other, known)
    except BrokenPipeError:
        raise
    except WorkerError as error:
        _failed(say, error.kind, error.text)
    except Exception as error:
        _failed(say, "framework", f"{type(error).__name__}: {error}")


def _failed(say: Sender, kind: str, text: str) -> None:
    say({"said": "failed", "kind": kind, "text": text, "detail": traceback.format_exc()})
