"""How many system calls of which kind a run makes, by strace: dear, so only for whom asks."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import Session

LEVEL = "full"
ALONE = True
"""It slows every call, and what other profilers read is made of calls."""
PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
SET_TRACER, ANYONE, NOBODY = 0x59616D61, ctypes.c_ulong(-1 & 0xFFFFFFFFFFFFFFFF), ctypes.c_ulong(0)
ATTACH_S = 10.0
ATTACHED = b" attached"


@dataclass(frozen=True, slots=True)
class Calls:
    """One kind of system call in a run. seconds: processor time in the kernel."""

    name: str
    calls: int
    seconds: float


def available() -> str:
    if sys.platform != "linux":
        return "strace is for Linux"
    if shutil.which("strace") is None:
        return "strace is not installed"
    scope = PTRACE_SCOPE.read_text().strip() if PTRACE_SCOPE.exists() else "0"
    if scope == "3" or (scope == "2" and os.geteuid() != 0):
        return f"no process may be traced here ({PTRACE_SCOPE} is {scope})"
    return ""


def wanted(settings: Mapping[str, Any]) -> str:
    asked = settings.get("syscalls")
    if asked == "strace":
        return ""
    if asked == "bpftrace":
        return (
            "bpftrace is not used: it needs root and the kernel's BTF, which containers seldom "
            "have; strace counts the same calls: --setting profile.syscalls=strace"
        )
    return "strace slows every system call: ask for it with --setting profile.syscalls=strace"


@contextmanager
def profile(session: Session) -> Iterator[None]:
    table = Path(session.folder) / f"strace-{session.run.index}.txt"
    _let_trace(ANYONE)
    try:
        process = _attach(table)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)  # it lets go, and writes what it counted
            process.communicate(timeout=ATTACH_S)
    finally:
        _let_trace(NOBODY)
    now_ns = session.now_ns()
    for each in read_table(table.read_text()):
        session.add_sample(f"syscalls.{each.name}", "calls", LEVEL, now_ns, each.calls)
        session.add_sample(f"syscalls.{each.name}.time", "seconds", LEVEL, now_ns, each.seconds)


def read_table(text: str) -> list[Calls]:
    """What `strace -c` writes: % time, seconds, usecs/call, calls, errors (or nothing), name."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) not in (5, 6) or not words[3].isdigit() or words[-1] == "total":
            continue
        found.append(Calls(words[-1], int(words[3]), float(words[1])))
    return found


def _attach(table: Path) -> subprocess.Popen[bytes]:
    command = ["strace", "-f", "-c", "-o", str(table), "-p", str(os.getpid())]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stderr is not None
    first = process.stderr.readline()
    if ATTACHED not in first:
        process.kill()
        process.communicate()
        raise OSError(f"strace could not attach: {first.decode(errors='replace').strip()}")
    return process


def _let_trace(who: ctypes.c_ulong) -> None:
    """Yama lets only ancestors trace, and strace is a child: it has to be allowed by name."""
    ctypes.CDLL(None).prctl(SET_TRACER, who, 0, 0, 0)
