"""What this machine is and can measure, and what it lacks, with the reason."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
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


FEATURES = {
    "avx512f": "avx512",
    "amx_tile": "amx",
    "asimd": "neon",
    "asimddp": "dotprod",
    "sse4_2": "sse4.2",
    **{same: same for same in ("avx", "avx2", "fma", "f16c", "avx_vnni", "neon", "sve", "sve2")},
    **{same: same for same in ("avx512_vnni", "avx512_bf16", "avx512_fp16", "bf16", "vsx")},
    **{same: same for same in ("amx_bf16", "amx_int8", "amx_fp16", "i8mm")},
}
"""What /proc/cpuinfo calls a feature that a request may ask for, and what we call it."""


def cpu_features(cpuinfo: str) -> list[str]:
    """The features of the processor that `cpuinfo` describes: x86 has flags, ARM Features."""
    for line in cpuinfo.splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return sorted({FEATURES[word] for word in words.split() if word in FEATURES})
    return []


def read_cpuinfo() -> str:
    """What the system says of its processors, or nothing."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def disk_bytes(folder: Path) -> int:
    """What is free on the disk of a folder, in two binary digits: so alike nodes stay alike."""
    try:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
    except OSError:
        return 0
    dropped = max(0, free.bit_length() - 2)
    return free >> dropped << dropped


def distribution() -> str:
    """The operating system's name and version, as it calls itself: debian 12."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".strip()


def boot_id() -> str:
    """What tells one running machine from every other, in each of its containers alike."""
    try:
        words = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        return hashlib.sha256(words).hexdigest()[:16]
    except OSError:
        return machine_id()


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
            capability = _capability(handle)
            found.append(Device(kind="gpu", name=name, memory_bytes=memory, capability=capability))
        return found, "" if found else "NVML sees no device"
    finally:
        pynvml.nvmlShutdown()


def _capability(handle: object) -> str:
    import pynvml

    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    except pynvml.NVMLError:
        return ""
    return f"{major}.{minor}"


def interconnect() -> str:
    """What joins the GPUs to the host and each other: pcie4, nvlink; empty: no GPU, or unknown."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ""
    try:
        words: set[str] = set()
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            words |= {f"pcie{pynvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)}"}
            if _linked(handle):
                words.add("nvlink")
        return " ".join(sorted(words))
    except pynvml.NVMLError:
        return " ".join(sorted(words))
    finally:
        pynvml.nvmlShutdown()


def _linked(handle: object) -> bool:
    """Whether the first NVLink of a GPU is up."""
    import pynvml

    try:
        return bool(pynvml.nvmlDeviceGetNvLinkState(handle, 0))
    except pynvml.NVMLError:
        return False


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
            settings=[str(name) for name in entry.get("settings", [])],
            packages=_text(described.get("packages")) | _text(entry.get("packages")),
            python=str(described.get("python", "")),
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


def _text(found: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
