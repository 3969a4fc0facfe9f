"""A folder (a SavedModel, say) as one file that travels: the same folder gives the same bytes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def packed(folder: Path) -> Iterator[Path]:
    """A tar of a folder, in which it lies under its own name; gone when the block ends."""
    with TemporaryDirectory(prefix="mlmodelscope-") as place:
        path = Path(place) / f"{folder.resolve().name}.tar"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    name = f"{folder.resolve().name}/{file.relative_to(folder).as_posix()}"
                    archive.add(file, name, recursive=False, filter=_plain)
        yield path


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from machine to machine."""
    member.mtime, member.uid, member.gid = 0, 0, 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
