"""What this machine is and can measure, and what it lacks, with the reason."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from pathlib import Path

from bus.messages import LEVELS, Device, FrameworkSeen
from predictor_node.worker.profilers import hardware, rapl


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
    """What this machine cannot measure, and why, as the profilers say it: beside every result."""
    reasons = {"power": rapl.available(), "counters": hardware.available()}
    return {what: why for what, why in reasons.items() if why}


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
