"""What is written in several ways and means one thing: frameworks, packages, processors."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A framework's name without what people write differently: `ONNX Runtime`, `onnxruntime`."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def same_framework(one: str, other: str) -> bool:
    """Whether two names mean one framework."""
    return plain(one) == plain(other)


def package_name(name: str) -> str:
    """A package's name as its index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def architecture(name: str) -> str:
    """One name for each architecture: Docker says amd64 where Linux says x86_64."""
    lower = name.lower().replace("-", "_")
    return _ARCHITECTURES.get(lower, lower)


def gibibytes(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 2**30:.1f} GiB"
