"""Where and on what it was measured: without it no number means anything."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlmodelscope import servers
from predictor_node import capabilities

PACKAGES = ("mlmodelscope", "onnxruntime", "numpy", "nats-py", "pymongo", "msgpack", "uvloop")


def describe() -> dict[str, str]:
    """The machine and the software, in lines that people read."""
    count = capabilities.cores()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": capabilities.cpu_name(),
        "cores": f"{count}, shared by both sides, the services and whatever else runs here; "
        "nothing is pinned",
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()) + " (1, 5, 15 minutes, before)",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "servers": f"{_said_by(servers.find_nats_server())}; {_said_by(servers.find_mongod())}",
        "data": f"on {_file_system(Path(tempfile.gettempdir()))}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _said_by(server: Path) -> str:
    """The first line of what a server says of its version."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True).stdout
    return said.strip().splitlines()[0] if said.strip() else f"{server.name} (unknown version)"


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on: fsync means little on some."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    holding = [m for m in mounts if folder.resolve().is_relative_to(m[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else "an unknown file system"
