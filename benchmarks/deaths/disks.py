"""Small disks that can be filled: a tmpfs mounted for a part's data."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FILLER = "filler"
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Disk:
    """A file system of its own."""

    folder: Path

    def fill(self) -> None:
        """Leave not a byte."""
        piece = bytes(PIECE_BYTES)
        with (self.folder / FILLER).open("ab", buffering=0) as file:
            while piece:
                try:
                    file.write(piece)
                except OSError:
                    piece = piece[: len(piece) // 2]

    def clear(self) -> None:
        """Give the room back."""
        (self.folder / FILLER).unlink(missing_ok=True)


def why_not() -> str:
    """Why nothing can be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "mounting a small disk takes root"
    try:
        with disk(1 << 20):
            return ""
    except subprocess.CalledProcessError as exc:
        return f"{' '.join(exc.cmd)}: {exc.stderr.strip()}"


@contextmanager
def disk(size_bytes: int) -> Iterator[Disk]:
    """A disk of this size; gone after."""
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "deaths", folder]
        subprocess.run(command, check=True, capture_output=True, text=True)
        try:
            yield Disk(Path(folder))
        finally:
            subprocess.run(["umount", "--lazy", folder], capture_output=True)
