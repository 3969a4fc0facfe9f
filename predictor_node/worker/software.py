"""The software around a framework: this Python, its packages, the libraries in memory, variables.

Said once, when an environment is described: what differs between two results may lie here.
"""

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

# Variables that change what frameworks and their libraries do; others may hold secrets.
TELLING = re.compile(
    r"(OMP|GOMP|KMP|MKL|ONEDNN|DNNL|OPENBLAS|BLIS|VECLIB|NUMEXPR|TF|XLA|CUDA|CUDNN|CUBLAS|NVIDIA"
    r"|NCCL|HIP|ROCR|PYTORCH|TORCH|ORT|MALLOC)_\w+|LD_PRELOAD|LD_LIBRARY_PATH|PYTHONHASHSEED"
)
LIBRARY = re.compile(r"(?P<name>[^/]+?)(-[0-9a-f]{8})?\.so(\.(?P<version>[\w.]+))?")
ABOUT = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-py[\d.]+)?\.(dist|egg)-info")
MAPS = Path("/proc/self/maps")


def stack() -> dict[str, Any]:
    """What can be said before anything is imported; the libraries are told when a model is open."""
    return {
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "system": _system(),
        "packages": packages(),
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if TELLING.fullmatch(name)
        },
    }


def _system() -> str:
    """The distribution's name for itself: the kernel is the machine's, whatever the image."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def packages() -> dict[str, str]:
    """Every package on the path: name -> version, told by the names of the folders about them.

    Reading what is in these folders would take a hundred times as long.
    """
    found: dict[str, str] = {}
    for place in filter(os.path.isdir, sys.path):
        for entry in os.scandir(place):
            if match := ABOUT.fullmatch(entry.name):
                # The first on the path is the one that is imported.
                name = re.sub(r"[-_.]+", "-", match["name"]).lower()
                found.setdefault(name, match["version"])
    return dict(sorted(found.items()))


_loaded: dict[str, str] = {}


def loaded(anew: bool) -> dict[str, str]:
    """The same as libraries(), looked for only if there may be new ones."""
    if anew or not _loaded:
        _loaded.update(libraries())
    return _loaded


def system_packages() -> dict[str, str]:
    """What the distribution of an image has installed: Debian's packages, or Alpine's."""
    for file, name, version in (
        (Path("/var/lib/dpkg/status"), "Package: ", "Version: "),
        (Path("/lib/apk/db/installed"), "P:", "V:"),
    ):
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        found: dict[str, str] = {}
        for entry in text.split("\n\n"):
            lines = entry.splitlines()
            names = [line.removeprefix(name) for line in lines if line.startswith(name)]
            versions = [line.removeprefix(version) for line in lines if line.startswith(version)]
            if names and versions:
                found[names[0]] = versions[0]
        return dict(sorted(found.items()))
    return {}


def libraries() -> dict[str, str]:
    """The shared libraries in memory that are no Python extension: name -> version, where said."""
    found = {}
    for path in _mapped():
        match = LIBRARY.fullmatch(os.path.basename(os.path.realpath(path)))
        if match and match["name"].startswith("lib"):
            found[match["name"]] = match["version"] or ""
    kind, version = platform.libc_ver()
    if version:
        found["libc"] = f"{kind} {version}"
    return dict(sorted(found.items()))


def _mapped() -> set[str]:
    try:
        lines = MAPS.read_text(errors="replace").splitlines()
    except OSError:  # no /proc: nothing is said of libraries
        return set()
    places = (line.split(maxsplit=5) for line in lines)
    return {parts[5] for parts in places if len(parts) == 6 and ".so" in parts[5]}
