"""Linux perf events by the system call: counters of one thread, read together as a group.

Counters that do not fit into the processor at once take turns. The kernel says for how much of its
time a group counted, and `between` scales by that; a group that never had its turn counted nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

SYSCALL = {"x86_64": 298, "aarch64": 241, "ppc64le": 319, "riscv64": 241}
HARDWARE, SOFTWARE, CACHE = 0, 1, 3
ATTRIBUTE_BYTES = 112
DISABLED, EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 0, 1 << 5, 1 << 6
ENABLED_TIME, RUNNING_TIME, AS_GROUP = 1, 2, 8
CLOSE_ON_EXEC = 8
ENABLE, WHOLE_GROUP = 0x2400, 1
PARANOID = "kernel.perf_event_paranoid"


@dataclass(frozen=True, slots=True)
class Event:
    """A counter under a name of ours, by its numbers in linux/perf_event.h."""

    name: str
    kind: int
    number: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A group's counters at one moment, and for how long it was wanted and did count, in ns."""

    enabled_ns: int
    running_ns: int
    values: tuple[int, ...]


class NotCounted(Exception):
    """An event that the kernel does not count here; the text is the reason."""


def parse(raw: bytes) -> Reading:
    """What a read of a group's first descriptor gives: count, two times, the values."""
    count, enabled_ns, running_ns = struct.unpack_from("=QQQ", raw)
    return Reading(enabled_ns, running_ns, struct.unpack_from(f"={count}Q", raw, 24))


def between(first: Reading, second: Reading) -> tuple[list[int] | None, float]:
    """What each counter counted between two readings, and the share of the time that it did.

    None: the thread ran and the group never had its turn, so that nothing is known.
    """
    enabled_ns = second.enabled_ns - first.enabled_ns
    running_ns = second.running_ns - first.running_ns
    counted = [late - early for early, late in zip(first.values, second.values, strict=True)]
    if running_ns >= enabled_ns:
        return counted, 1.0
    if running_ns <= 0:
        return None, 0.0
    return [round(value * enabled_ns / running_ns) for value in counted], running_ns / enabled_ns


class Group:
    """Events of one thread (0: the calling one), counted at the same time; close it.

    ProcessLookupError: the thread has ended meanwhile; NotCounted: any other reason.
    """

    def __init__(self, events: Sequence[Event], thread: int = 0, flags: int = 0) -> None:
        self.events = events
        self._descriptors: list[int] = []
        try:
            for event in events:
                leader = self._descriptors[0] if self._descriptors else -1
                self._descriptors.append(_open(event, thread, leader, flags))
            _control(self._descriptors[0], ENABLE)
        except BaseException:
            self.close()
            raise
        self._leader, self.size = self._descriptors[0], 24 + 8 * len(events)

    def read(self) -> bytes:
        """The counters as the kernel gives them: parsing can wait."""
        return os.read(self._leader, self.size)

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def why_not(event: Event, flags: int = 0) -> str:
    """Why this event cannot be counted for this process here, or nothing: the kernel is asked."""
    try:
        Group([event], flags=flags).close()
    except NotCounted as error:
        return str(error)
    return ""


def threads() -> list[int]:
    """The native ids of this process's threads."""
    return sorted(int(name) for name in os.listdir("/proc/self/task"))


def _open(event: Event, thread: int, leader: int, flags: int) -> int:
    number = SYSCALL.get(platform.machine())
    if sys.platform != "linux" or number is None:
        raise NotCounted("perf events are known of Linux on x86-64, arm64, ppc64le and riscv64")
    reads = ENABLED_TIME | RUNNING_TIME | AS_GROUP
    # Only a group's first event is switched; the others count when it does.
    bits = flags | (DISABLED if leader < 0 else 0)
    attributes = struct.pack(
        "=IIQQQQQ", event.kind, ATTRIBUTE_BYTES, event.number, 0, 0, reads, bits
    ).ljust(ATTRIBUTE_BYTES, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(number, attributes, thread, -1, leader, CLOSE_ON_EXEC)
    if found < 0:
        if (code := ctypes.get_errno()) == errno.ESRCH:
            raise ProcessLookupError(code, "the thread has ended")
        raise NotCounted(_reason(code, event))
    return int(found)


def _control(descriptor: int, request: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioctl(descriptor, request, WHOLE_GROUP) < 0:
        raise NotCounted(f"ioctl of a perf event: {os.strerror(ctypes.get_errno())}")


def _reason(code: int, event: Event) -> str:
    if code in (errno.EACCES, errno.EPERM):
        return f"perf_event_open is not permitted ({PARANOID} forbids it, or a container does)"
    if code in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        if event.kind == SOFTWARE:
            return f"this kernel has no event {event.name}"
        return "this processor, or the virtual machine that it is, offers no hardware counters"
    if code == errno.EMFILE:
        return "there are too few file descriptors for an event a thread (ulimit -n)"
    return f"perf_event_open: {os.strerror(code)}"
