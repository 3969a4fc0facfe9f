"""One running executable: frames to its standard input, from its standard output, and its end.

Its standard error goes to the worker's log, line by line, and its last line into the error that
tells of its death. It lives in a process group of its own, on a leash (leash.py).
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import leash
from ..errors import WorkerError
from ..frames import LENGTH, MAX_FRAME_BYTES, FrameError, pack, unpack

END_S = 1.0
LINE_BYTES = 2000
PIPE_BYTES = 1 << 20
SET_PIPE_BYTES = 1031  # F_SETPIPE_SZ
KINDS = ("input", "asset", "framework", "request")


class Child:
    """The process. `ask` says something and hears the answer; it ends by `end`."""

    def __init__(self, name: str, executable: str) -> None:
        self._name, self._executable = name, executable
        _check_file(name, executable)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), executable],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._writing = self._process.stdin.fileno()
        self._reading = self._process.stdout.fileno()
        for descriptor in (self._writing, self._reading):
            _widen(descriptor)
        self._asked = ""
        self._broken = ""
        self._last_words = ""
        self._listening = threading.Thread(target=self._listen, name=name, daemon=True)
        self._listening.start()

    def ask(self, command: dict[str, Any], expected: str, timeout_s: float = 0) -> dict[str, Any]:
        """The executable's answer to a command; 0: however long it takes."""
        payload = pack(command)
        self.write(command["do"], [LENGTH.pack(len(payload)), payload])
        return self.hear(expected, timeout_s)

    def write(self, do: str, parts: Sequence[Any]) -> None:
        """Write one frame's parts, bytes and arrays, none of which is copied."""
        if self._broken:
            raise WorkerError("framework", self._broken)
        self._asked = do
        try:
            written = os.writev(self._writing, parts)
            # All of it in one call, unless a signal came in between.
            if written < sum(memoryview(part).nbytes for part in parts):
                rest = memoryview(b"".join(memoryview(p).cast("B") for p in parts))[written:]
                while rest:
                    rest = rest[os.write(self._writing, rest) :]
        except BrokenPipeError as error:
            raise self._lost(self._how_it_ended()) from error

    def hear(self, expected: str, timeout_s: float = 0) -> dict[str, Any]:
        """The answer, which must be `expected`; `failed` becomes the error that it describes."""
        until_s = time.monotonic() + timeout_s if timeout_s else 0.0
        header = self._read(LENGTH.size, until_s)
        (length,) = LENGTH.unpack(header)
        if length > MAX_FRAME_BYTES:
            text = f"sent a frame of {length} bytes; at most {MAX_FRAME_BYTES} are accepted"
            if header.isascii():
                text += f" (it begins with {bytes(header)!r}: logs belong on standard error)"
            raise self._lost(text)
        try:
            answer = unpack(self._read(length, until_s))
        except FrameError as error:
            raise self._lost(f"sent what cannot be read: {error}") from error
        said = answer.get("said")
        if said == "failed":
            kind = answer.get("kind")
            text = f"{self._name} says: {answer.get('text') or 'no reason given'}"
            raise WorkerError(kind if kind in KINDS else "framework", text)
        if said != expected:
            raise self._lost(f"said {said!r}; {expected!r} was expected")
        return answer

    def fault(self, text: str) -> WorkerError:
        """An answer that could be read and is wrong: what the executable says counts no more."""
        return self._lost(f"answered wrongly: {text}")

    def end(self) -> None:
        """Ask the executable to end, wait a moment, and insist."""
        if not self._broken:
            with contextlib.suppress(WorkerError):
                self.ask({"do": "close"}, "closed", END_S)
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(0 if self._broken else END_S)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._listening.join(END_S)

    def _read(self, count: int, until_s: float) -> bytearray:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            if until_s:
                left_s = max(0.0, until_s - time.monotonic())
                if not select.select([self._reading], [], [], left_s)[0]:
                    raise self._lost("did not answer in time")
            if not (got := os.readv(self._reading, [view])):
                raise self._lost(self._how_it_ended())
            view = view[got:]
        return data

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return "closed its standard output and went on running"
        self._listening.join(END_S)
        return f"was killed by {_signal(-code)}" if code < 0 else f"ended with code {code}"

    def _lost(self, how: str) -> WorkerError:
        text = f"the executable {Path(self._executable).name} of framework {self._name}, asked to"
        text += f" {self._asked}, {how}"
        if self._last_words:
            text += f"; its last line on standard error: {self._last_words}"
        self._broken = text
        return WorkerError("framework", text)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _listen(self) -> None:
        """Pass on what the executable writes to standard error, in lines of bounded length."""
        assert self._process.stderr
        with self._process.stderr as stream:
            rest = b""
            while more := stream.read(1 << 16):
                *lines, rest = (rest + more).split(b"\n")
                rest = rest[-LINE_BYTES:]
                self._log(lines)
            self._log([rest])

    def _log(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if text := line[:LINE_BYTES].decode(errors="replace").strip():
                self._last_words = text
                print(f"{self._name}: {text}", file=sys.stderr, flush=True)


def _check_file(name: str, executable: str) -> None:
    if not os.path.isfile(executable):
        text = f"framework {name} has no executable at {executable}"
        raise WorkerError("request", f"{text}; give the path of one, or of a .py module")
    if not os.access(executable, os.X_OK):
        text = f"{executable}, the executable of framework {name}, may not be run"
        raise WorkerError("request", f"{text}: chmod +x it (a Python module's name ends in .py)")


def _widen(descriptor: int) -> None:
    """A larger pipe means fewer changes of process a tensor; not everybody may have one."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, SET_PIPE_BYTES, PIPE_BYTES)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
