"""Keeps the cache under its limit: the entries that were used least recently go first.

What a lease names stays, in whatever process its holder lives. Bytes are counted once however
many links lead to them, and are free when the last of these has gone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from predictor_node.cache import KINDS, NESTED, Cache, remove, try_lock

log = logging.getLogger(__name__)

STALE_S = 24 * 3600.0
"""Drafts that a killed process left are removed after so long."""

Inode = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Evicted:
    """What was done: entries removed, bytes freed, bytes there now."""

    entries: int
    freed_bytes: int
    kept_bytes: int


@dataclass(slots=True)
class _Entry:
    place: Path
    used_ns: int
    inodes: Counter[Inode] = field(default_factory=Counter)


def keep_within(cache: Cache, limit_bytes: int) -> Evicted:
    """Evict until the cache holds at most `limit_bytes`, or all that is left is in use."""
    (cache.root / "locks").mkdir(parents=True, exist_ok=True)
    lock = cache.root / "locks" / "eviction"
    if (file := try_lock(lock)) is None:
        return Evicted(0, 0, 0)  # another process is at it
    try:
        _sweep_drafts(cache)
        return _evict(cache, limit_bytes)
    finally:
        lock.unlink(missing_ok=True)
        os.close(file)


def _evict(cache: Cache, limit_bytes: int) -> Evicted:
    sizes: dict[Inode, int] = {}
    entries = [_look(place, sizes) for place in _places(cache.root)]
    links: Counter[Inode] = Counter()
    for entry in entries:
        links.update(entry.inodes)
    total = sum(sizes.values())
    removed, freed = 0, 0
    for entry in sorted(entries, key=lambda entry: entry.used_ns):
        if total - freed <= limit_bytes:
            break
        if not _take_away(cache, entry):
            continue
        removed += 1
        links.subtract(entry.inodes)
        freed += sum(sizes[inode] for inode in entry.inodes if links[inode] <= 0)
    evicted = Evicted(removed, freed, total - freed)
    if removed:
        log.info("evicted", extra={"entries": removed, "bytes": freed, "left": total - freed})
    if evicted.kept_bytes > limit_bytes:
        log.warning("cache above its limit: the rest is in use", extra={"bytes": total - freed})
    return evicted


def _take_away(cache: Cache, entry: _Entry) -> bool:
    """Remove one entry, unless it is in use or was used since we looked."""
    with cache.draft() as away:
        with cache.gate(fcntl.LOCK_EX):
            if cache.entry(entry.place) in in_use(cache):
                return False
            try:
                if os.lstat(entry.place).st_mtime_ns != entry.used_ns:
                    return False
                entry.place.rename(away)
            except FileNotFoundError:
                return False
        return True  # what was renamed is removed now, when nobody waits for it


def in_use(cache: Cache) -> set[str]:
    """Every entry that a living process holds a lease on; leases of dead ones are removed."""
    held: set[str] = set()
    folder = cache.root / "leases"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if (file := try_lock(path)) is None:
            held.update(path.read_text().splitlines() if path.exists() else ())
            continue
        path.unlink(missing_ok=True)
        os.close(file)
    return held


# ------------------------------------------------------------------ what is there


def _places(root: Path) -> Iterator[Path]:
    for kind in KINDS:
        folders = _inside(root / kind) if kind in NESTED else [root / kind]
        for folder in folders:
            yield from _inside(folder)


def _inside(folder: Path) -> list[Path]:
    try:
        return [Path(item.path) for item in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _look(place: Path, sizes: dict[Inode, int]) -> _Entry:
    """An entry's age, and the files in it; links are not followed."""
    try:
        entry = _Entry(place, os.lstat(place).st_mtime_ns)
    except FileNotFoundError:
        return _Entry(place, 0)
    for path in _files(place):
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue
        inode = (found.st_dev, found.st_ino)
        sizes[inode] = found.st_size
        entry.inodes[inode] += 1
    return entry


def _files(place: Path) -> Iterator[Path]:
    if place.is_symlink() or not place.is_dir():
        yield place
        return
    for parent, _, names in os.walk(place):
        for name in names:
            yield Path(parent) / name


def _sweep_drafts(cache: Cache) -> None:
    old_s = time.time() - STALE_S
    for place in _inside(cache.root / "drafts") + _inside(cache.root / "leases"):
        if place.parent.name == "leases" and not place.name.startswith("."):
            continue
        try:
            if os.lstat(place).st_mtime < old_s:
                remove(place)
        except FileNotFoundError:
            continue
