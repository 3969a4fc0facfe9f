"""Which of the known models a person wants to see, and how large each is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bus.errors import InputError
from bus.messages import Manifest

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_PARAMETER_BYTES = {"float16": 2, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class Filters:
    """What a person asks for; what is empty asks for nothing.

    search: words that the name, the description or an attribute must hold, in any order.
    """

    task: str = ""
    framework: str = ""
    max_size: str = ""
    search: str = ""
    weights: str = ""


def chosen(manifests: Iterable[Manifest], filters: Filters) -> list[Manifest]:
    """Those that meet every filter; of unknown size is none that must be small."""
    limit_bytes = bytes_of(filters.max_size) if filters.max_size else None
    return [
        manifest
        for manifest in manifests
        if _same(filters.task, manifest.task)
        and _same(filters.framework, manifest.framework.name)
        and _same(filters.weights, manifest.model.weights)
        and (limit_bytes is None or 0 < size_bytes(manifest) <= limit_bytes)
        and _holds(manifest, filters.search)
    ]


def size_bytes(manifest: Manifest) -> int:
    """How large the weights are: as its attribute `size_bytes` says, or by its `parameters` and
    precision; 0 where neither is known."""
    if size := _whole(manifest.attributes.get("size_bytes")):
        return size
    count = _whole(manifest.attributes.get("parameters"))
    return count * _PARAMETER_BYTES.get(manifest.precision, 4)


def bytes_of(text: str) -> int:
    """`100MB` or `1.5 GiB` as bytes."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"--max-size {text!r}: expected a size such as 100MB or 1.5GiB")
    step = 1024 if match[3] else 1000
    return int(float(match[1]) * step ** _POWERS[match[2].lower()])


def shown_size(size: int) -> str:
    """A size as people read it; nothing where it is not known."""
    if not size:
        return ""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.3g} {unit}"
    return f"{size} B"


def _whole(value: object) -> int:
    try:
        return max(0, int(str(value).replace(",", "").replace("_", "")))
    except ValueError:
        return 0


def _same(wanted: str, has: str) -> bool:
    return not wanted or _plain(wanted) == _plain(has)


def _plain(text: str) -> str:
    """Without what people write differently: ONNX Runtime, object-detection."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _holds(manifest: Manifest, words: str) -> bool:
    if not words:
        return True
    attributes = " ".join(f"{name} {value}" for name, value in manifest.attributes.items())
    parts = (manifest.name, manifest.description, manifest.task, manifest.author, attributes)
    text = " ".join(parts).casefold()
    return all(word in text for word in words.casefold().split())
