"""The operating system's own counters of this process, each read in one go while a run goes on."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from . import Session, perf_events
from .perf_events import SOFTWARE, Event, Group, NotCounted
from .periodic import NAME

MOST_THREADS = 64
PRESSURE = Path("/proc/pressure")
PRESSURE_NS = 100_000_000
DELAY = "run_delay_ns"
EVENTS = (Event("task_clock_ns", SOFTWARE, 1), Event("cpu_migrations", SOFTWARE, 4))
OWN_THREADS = ("commands", "progress", NAME)
"""The worker's, which have no part in a predict."""


class Counter(Protocol):
    """Numbers that only rise, one a tag."""

    @property
    def tags(self) -> Sequence[str]: ...

    def read(self) -> list[int]: ...


def counters(session: Session, stack: ExitStack) -> list[Counter]:
    """Those that can be read here, the quickest last; the session is told of the others.

    Each reading costs processor time, which the ones read before it count too: the order keeps that
    least, and I/O, which is read last, takes its own reading out again.
    """
    threads = framework_threads()[:MOST_THREADS]
    found: list[Counter] = []
    for make in (_delays, _migrations, lambda *_: Usage(), _io):
        try:
            found.append(make(threads, stack))
        except OSError as error:
            session.unavailable(f"{error.filename}: {error.strerror}")
        except NotCounted as error:
            session.unavailable(f"{' and '.join(event.name for event in EVENTS)}: {error}")
    return found


def framework_threads() -> list[int]:
    """The native ids of all threads but the worker's own helpers."""
    helpers = {t.native_id for t in threading.enumerate() if t.name in OWN_THREADS}
    return [thread for thread in perf_events.threads() if thread not in helpers]


class Usage:
    """The process's own account."""

    tags = ("voluntary_switches", "involuntary_switches", "minor_faults", "major_faults", "cpu_ns")

    def read(self) -> list[int]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_ns = round((used.ru_utime + used.ru_stime) * 1e9)
        return [used.ru_nvcsw, used.ru_nivcsw, used.ru_minflt, used.ru_majflt, cpu_ns]


class Delays:
    """How long this process's threads were runnable and waited for a processor."""

    tags = (DELAY,)

    def __init__(self, files: Sequence[int]) -> None:
        self._last_ns = dict.fromkeys(files, 0)
        self._alive = [*files]

    def read(self) -> list[int]:
        ended = []
        for file in self._alive:
            try:
                # Time on a processor, time waiting for one, time slices.
                self._last_ns[file] = int(os.pread(file, 128, 0).split()[1])
            except ProcessLookupError:  # what this thread waited until now still counts
                ended.append(file)
        if ended:
            self._alive = [file for file in self._alive if file not in ended]
        return [sum(self._last_ns.values())]


class Software:
    """Perf software events of every thread, one group each."""

    tags = tuple(event.name for event in EVENTS)

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups

    def read(self) -> list[int]:
        readings = [perf_events.parse(group.read()).values for group in self._groups]
        return [sum(values) for values in zip(*readings, strict=True)]


class InputOutput:
    """What the process read and wrote: by calls (files, pipes), and from storage itself."""

    tags = (
        "read_bytes",
        "written_bytes",
        "read_calls",
        "write_calls",
        "storage_read_bytes",
        "storage_written_bytes",
    )

    def __init__(self, file: int) -> None:
        self._file, self._own_bytes, self._own_calls = file, 0, 0

    def read(self) -> list[int]:
        raw = os.pread(self._file, 512, 0)
        # "rchar: 1\nwchar: 2\n…": every second word is a number.
        found = [int(word) for word in raw.split()[1:12:2]]
        found[0] -= self._own_bytes
        found[2] -= self._own_calls
        # This reading is counted from the next one on.
        self._own_bytes += len(raw)
        self._own_calls += 1
        return found


class Pressure:
    """For how much of the time somebody on this machine waited for processor, memory or storage."""

    def __init__(self, session: Session, stack: ExitStack, folder: Path = PRESSURE) -> None:
        self._session, self._due_ns = session, 0
        self._files: dict[str, int] = {}
        self._last: dict[str, tuple[int, int]] = {}
        for what in ("cpu", "memory", "io"):
            try:
                self._files[what] = _opened(str(folder / what), stack)
                os.pread(self._files[what], 200, 0)
            except OSError as error:
                self._files.pop(what, None)
                text = f"pressure of {what}: {folder / what}: {error.strerror}"
                session.unavailable(f"{text} (kernels with CONFIG_PSI have it, unless psi=0)")
        self.sample(at_once=True)

    def sample(self, at_once: bool = False) -> None:
        """A sample of each, unless the last one is too recent to say anything."""
        now_ns = self._session.now_ns()
        if now_ns < self._due_ns and not at_once:
            return
        self._due_ns = now_ns + PRESSURE_NS
        for what, file in self._files.items():
            # "some avg10=0.00 avg60=0.00 avg300=0.00 total=<microseconds>\n…"
            total_us = int(os.pread(file, 200, 0).split(b"\n", 1)[0].rpartition(b"=")[2])
            if what in self._last:
                then_ns, then_us = self._last[what]
                percent = min(100.0, 100_000 * (total_us - then_us) / max(1, now_ns - then_ns))
                self._session.add_sample(f"pressure.{what}", "percent", "system", now_ns, percent)
            self._last[what] = (now_ns, total_us)


def _delays(threads: Sequence[int], stack: ExitStack) -> Delays:
    files = []
    for thread in threads:
        task = Path(f"/proc/self/task/{thread}")
        try:
            files.append(_opened(str(task / "schedstat"), stack))
        except FileNotFoundError:
            if task.exists():  # else it has just ended
                raise
    return Delays(files)


def _migrations(threads: Sequence[int], stack: ExitStack) -> Software:
    groups = []
    for thread in threads:
        with suppress(ProcessLookupError):  # it has just ended
            groups.append(Group(EVENTS, thread))
            stack.callback(groups[-1].close)
    return Software(groups)


def _io(threads: Sequence[int], stack: ExitStack) -> InputOutput:
    return InputOutput(_opened("/proc/self/io", stack))


def _opened(path: str, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
