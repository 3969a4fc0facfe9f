"""Sizes that people write: `20GiB` <-> bytes."""

from __future__ import annotations

from bus.errors import InputError

_UNITS = {"": 1, "B": 1, **{f"{letter}iB": 1 << 10 * n for n, letter in enumerate("KMGT", 1)}}


def read_size(text: str, what: str) -> int:
    """`10GiB`, `512 MiB` or `1000000` as bytes; InputError names the setting."""
    number = text.strip().rstrip("KMGTiB").strip()
    unit = text.strip()[len(number) :].strip()
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size <= 0:
        raise InputError(f"{what} {text!r}: expected a size such as 20GiB, 512MiB or 1000000")
    return size


def size_text(size_bytes: int) -> str:
    """A number of bytes for people: `3.2 GiB`."""
    size, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
