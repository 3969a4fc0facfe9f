"""What this machine is and can measure, and what it lacks, with the reason."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import socket
import struct
import sys
from pathlib import Path

from bus.messages import LEVELS, Device, FrameworkSeen

RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
PARANOID = "kernel.perf_event_paranoid"
PERF_ATTR_BYTES = 112


def machine_id() -> str:
    """An id that the nodes of one machine share, and that says nothing about it."""
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        try:
            if words := path.read_bytes().strip():  # images have an empty one
                return hashlib.sha256(words).hexdigest()[:16]
        except OSError:
            continue
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16]


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Physical memory in bytes; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def architecture() -> str:
    """The processor's architecture in the manifests' words (amd64, arm64, ppc64le …)."""
    names = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
    return names.get(platform.machine(), platform.machine())


def cpu_name() -> str:
    """The processor's own name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def devices() -> tuple[list[Device], dict[str, str]]:
    """What computes here, and why what is missing is missing."""
    found = [Device(kind="cpu", name=cpu_name(), memory_bytes=memory_bytes(), count=cores())]
    gpus, why_not = _gpus()
    return found + gpus, ({"gpu": why_not} if why_not else {})


def _gpus() -> tuple[list[Device], str]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        return [], f"NVML: {exc}"
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            name = str(pynvml.nvmlDeviceGetName(handle))
            found.append(Device(kind="gpu", name=name, memory_bytes=memory))
        return found, "" if found else "NVML sees no device"
    finally:
        pynvml.nvmlShutdown()


def unmeasurable() -> dict[str, str]:
    """What this machine cannot measure, and why: shown beside every result."""
    reasons: dict[str, str] = {}
    if not RAPL.exists():
        reasons["power"] = "no RAPL interface (intel-rapl is not under /sys/class/powercap)"
    elif not os.access(RAPL, os.R_OK):
        reasons["power"] = f"{RAPL} may not be read by this user"
    if why_not := _no_counters():
        reasons["counters"] = why_not
    return reasons


def _no_counters() -> str:
    """Why the processor's own counters cannot be read: asked of the kernel, for this process."""
    number = {"x86_64": 298, "aarch64": 241}.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return "perf events are read on Linux, x86-64 or arm64, only"
    # struct perf_event_attr: hardware, its size, cycles; disabled, without kernel and hypervisor.
    attributes = struct.pack("=IIQ24xQ", 0, PERF_ATTR_BYTES, 0, 0b1100001)
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(number, attributes.ljust(PERF_ATTR_BYTES, b"\0"), 0, -1, -1, 0)
    if found >= 0:
        os.close(found)
        return ""
    code = ctypes.get_errno()
    if code in (errno.EACCES, errno.EPERM):
        return f"perf_event_open is not permitted ({PARANOID} forbids it, or a container does)"
    if code == errno.ENOENT:
        return "this processor, or the virtual machine that it is, offers no hardware counters"
    return f"perf_event_open: {os.strerror(code)}"


def frameworks_seen(described: dict[str, object], environment: str) -> list[FrameworkSeen]:
    """The frameworks that a worker of an environment says it can load, and how deep it looks."""
    entries, looking = described.get("frameworks"), described.get("profilers")
    able = [one for one in (looking if isinstance(looking, list) else []) if not one["unavailable"]]
    return [
        FrameworkSeen(
            name=str(entry["name"]),
            version=str(entry["version"]),
            devices=[str(device) for device in entry.get("devices", [])],
            providers=[str(provider) for provider in entry.get("providers", [])],
            environment=environment,
            packages={str(name): str(found) for name, found in entry.get("packages", {}).items()},
            levels=[
                level
                for level in LEVELS
                if any(
                    one["level"] == level
                    and entry["name"] in (one["frameworks"] or [entry["name"]])
                    for one in able
                )
            ],
        )
        for entry in (entries if isinstance(entries, list) else [])
    ]
