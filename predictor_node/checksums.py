"""The sums that files and folders are checked against before use.

A folder's sum is the sha256 of its files' lines `<sha256>  <path>`, sorted: what
`find . -type f -printf '%P\\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum` says in it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from bus.errors import AssetError

EXPECTED = "expected sha256:<64 hex digits>, or md5:<32 hex digits> of a file"
LENGTHS = {"sha256": 64, "md5": 32}


def verify(path: Path, checksum: str, what: str) -> None:
    """Raise AssetError, naming both sums, unless path has the checksum (if one is given)."""
    if not checksum:
        return
    kind, wanted = read_checksum(checksum, what)
    if path.is_dir():
        if kind != "sha256":
            raise AssetError(f"{what}: a folder has no {kind}: expected its sha256")
        found = folder_sum(path)
    else:
        found = file_sum(path, kind)
    if found != wanted:
        raise AssetError(f"{what} has {kind} {found}, but the manifest says {wanted}: not used")


def read_checksum(checksum: str, what: str) -> tuple[str, str]:
    """`sha256:ab12…` as ("sha256", "ab12…"); a bare sum is told by its length."""
    kind, _, digits = checksum.rpartition(":")
    kind, digits = kind.lower(), digits.lower()
    kind = kind or next((k for k, length in LENGTHS.items() if length == len(digits)), "")
    if len(digits) != LENGTHS.get(kind) or set(digits) - set("0123456789abcdef"):
        raise AssetError(f"{what}: checksum {checksum!r}: {EXPECTED}")
    return kind, digits


def file_sum(path: Path, kind: str = "sha256") -> str:
    """The sum of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def folder_sum(folder: Path) -> str:
    """The sha256 of a folder: of every file's content and path, whatever the order on the disk."""
    lines = sorted(
        f"{file_sum(folder / name)}  {name}\n".encode(errors="surrogateescape")
        for name in _files(folder)
    )
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _files(folder: Path) -> Iterator[str]:
    """Paths inside, with `/`; links to files count as files, links to folders are not entered."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield (Path(parent) / name).relative_to(folder).as_posix()
