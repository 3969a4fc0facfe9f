"""The cache folder, shared by every process on a machine: entries, locks, and what is in use.

An entry is a file or a folder that never changes, under a name made from a checksum. It appears
whole, by a rename, and goes whole. Who uses entries holds a lease on them: a file that names them
and that is locked as long as its process lives, so that a killed process holds nothing.

    files/ab/…  folders/ab/…  inline/ab/…    what was fetched, unpacked, sent along
    models/…                                 a model's files side by side: links to the above
    wheels/…  npm/…  parts/…                 packages, and downloads that broke off
    environments/…                           virtual environments, each installed on demand
    locks/  leases/  drafts/                 who does what at the moment
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

NESTED = ("files", "folders", "inline")
"""Kinds whose entries lie one level deeper, so that no folder holds too many."""
KINDS = (*NESTED, "models", "wheels", "npm", "parts", "environments")
LOOK_AGAIN_S = (0.005, 0.05)
"""The first and the longest pause between two looks at a lock that somebody holds."""


class Lease:
    """What one user has in hand: nothing of it is evicted until release()."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        self._path = folder / uuid.uuid4().hex
        self._held: set[str] = set()

    def add(self, entry: str) -> None:
        """Hold an entry (`files/ab/ab12…`), whether it is there yet or not."""
        if entry in self._held:
            return
        if self._file is None:
            self._file = self._begin()
        self._held.add(entry)
        os.write(self._file, f"{entry}\n".encode())

    def release(self) -> None:
        """Hold nothing any more."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
        self._held.clear()

    def _begin(self) -> int:
        """The lease's file, locked before anybody can see it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{self._path.name}"
        file = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        fcntl.flock(file, fcntl.LOCK_EX)
        draft.rename(self._path)
        return file

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Cache:
    """One cache folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, kind: str, name: str) -> Path:
        """Where an entry lies, or would."""
        folder = self.root / kind
        return (folder / name[:2] if kind in NESTED else folder) / name

    def entry(self, place: Path) -> str:
        """An entry's name in leases."""
        return place.relative_to(self.root).as_posix()

    def lease(self) -> Lease:
        """To be released by whoever asked for it."""
        return Lease(self.root / "leases")

    def claim(self, place: Path, lease: Lease) -> bool:
        """Hold an entry, and say whether it is there; if so, it is the last one to be evicted."""
        with self.gate(fcntl.LOCK_SH):
            lease.add(self.entry(place))
            try:
                os.utime(place, follow_symlinks=False)
            except FileNotFoundError:
                return False
            except PermissionError:
                pass  # another user's: it is used all the same, and only its age is not told
            return place.exists()

    def store(self, draft: Path, place: Path) -> None:
        """What was made as a draft becomes the entry, unless somebody was faster."""
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.replace(place)
        except OSError:
            if not place.is_dir():  # a folder that is there cannot be replaced, and need not be
                raise

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A path on the cache's own disk for what is not whole yet; gone afterwards."""
        place = self.root / "drafts" / uuid.uuid4().hex
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield place
        finally:
            remove(place)

    @contextmanager
    def gate(self, how: int) -> Iterator[None]:
        """Shared by those who claim an entry, exclusive for who takes one away: both are short."""
        self.root.mkdir(parents=True, exist_ok=True)
        file = os.open(self.root / ".gate", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, how)
            yield
        finally:
            os.close(file)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """One at a time, among the tasks and the processes of this machine."""
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pause_s, longest_s = LOOK_AGAIN_S
        while (file := try_lock(path)) is None:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(file)


def try_lock(path: Path) -> int | None:
    """The locked file, or None while somebody holds it. Closing it ends the lock."""
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it last has removed it: a lock on a file without a name keeps nobody out.
        if os.fstat(file).st_ino == os.stat(path).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(file)
    return None


def remove(path: Path) -> None:
    """A file, a link or a folder, if it is there; links are removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
