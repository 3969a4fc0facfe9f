"""Unpacks tar and zip archives that strangers made: nothing outside the folder, nothing endless.

A member that climbs out, a link that leads out, a device, or more bytes or members than allowed
refuses the whole archive; what was written by then is the caller's to remove.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bus.errors import AssetError

CHUNK_BYTES = 1 << 20
HEADER_BYTES = 8 << 20
"""A header of a tar larger than this is no header."""
LINK_BYTES = 4096
_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    ValueError,
)
Wanted = Callable[[str], str]
"""The path under which a member is kept; "" leaves it out."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much may come out of one archive; counted while it comes, whatever the headers say."""

    unpacked_bytes: int = 50 << 30
    members: int = 2_000_000


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    kind: str
    """file, folder, link (hard), symlink or what else the archive calls it."""
    target: str = ""
    read: Callable[[], IO[bytes]] | None = None


def unpack(archive: Path, into: Path, room: Room, what: str, wanted: Wanted = str) -> int:
    """Every member (that is wanted) into a folder; the count of files. AssetError names a bad one.

    what: the archive as people know it, its URL.
    """
    unpacking = _Unpacking(into, room, what)
    try:
        for member in _members(archive, room, what):
            unpacking.take(member, wanted)
        unpacking.link()
    except _DAMAGED as exc:
        raise AssetError(f"{what} is damaged or no archive (tar, tar.gz, zip …): {exc}") from exc
    except (RuntimeError, OSError) as exc:  # a password, an unknown method; or the disk is full
        raise AssetError(f"{what} cannot be unpacked: {exc}") from exc
    return unpacking.files


# ------------------------------------------------------------------ what is in it


def _members(archive: Path, room: Room, what: str) -> Iterator[_Member]:
    with archive.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PK"):
        yield from _of_zip(archive)
        return
    opener = next((o for magic, o in _OPENERS.items() if head.startswith(magic)), None)
    with opener(archive) if opener else archive.open("rb") as plain:
        yield from _of_tar(_Measured(plain, room.unpacked_bytes, what))


def _of_zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16

            def read(info: zipfile.ZipInfo = info) -> IO[bytes]:
                return opened.open(info)

            if info.is_dir():
                yield _Member(info.filename, "folder")
            elif stat.S_ISLNK(mode):
                with read() as file:
                    target = file.read(LINK_BYTES).decode(errors="surrogateescape")
                yield _Member(info.filename, "symlink", target)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                yield _Member(info.filename, f"special file ({stat.filemode(mode)[0]})")
            else:
                yield _Member(info.filename, "file", read=read)


def _of_tar(file: Any) -> Iterator[_Member]:
    with tarfile.open(fileobj=file, mode="r:") as opened:
        while (info := opened.next()) is not None:

            def read(info: tarfile.TarInfo = info) -> IO[bytes]:
                return opened.extractfile(info)  # type: ignore[return-value]

            if info.isdir():
                yield _Member(info.name, "folder")
            elif info.issym():
                yield _Member(info.name, "symlink", info.linkname)
            elif info.islnk():
                yield _Member(info.name, "link", info.linkname)
            elif info.isfile():
                yield _Member(info.name, "file", read=read)
            else:
                kinds = {tarfile.CHRTYPE: "device", tarfile.BLKTYPE: "device"}
                yield _Member(info.name, kinds.get(info.type, "special file"))


class _Measured:
    """A stream that refuses to go beyond its room: compressed zeros, or headers without end."""

    def __init__(self, file: IO[bytes], most_bytes: int, what: str) -> None:
        # Tar pads and has headers: twice the room for content is room for those of small files.
        self._file, self._most, self._what = file, 2 * most_bytes + (64 << 20), what
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > HEADER_BYTES:
            raise AssetError(f"{self._what} has a header of {size} bytes: not unpacked")
        data = self._file.read(size)
        self._at += len(data)
        if self._at > self._most:
            raise AssetError(f"{self._what} holds more than {self._most} bytes: not unpacked")
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or position < self._at:
            self._at = self._file.seek(position, whence)
            return self._at
        while self._at < position:
            if not self.read(min(CHUNK_BYTES, position - self._at)):
                break
        return self._at


# ------------------------------------------------------------------ what becomes of it


class _Unpacking:
    """One archive on its way into one folder."""

    def __init__(self, into: Path, room: Room, what: str) -> None:
        self._into, self._room, self._what = into, room, what
        self._bytes_left, self._members_left = room.unpacked_bytes, room.members
        self._links: list[tuple[str, _Member]] = []
        self.files = 0

    def take(self, member: _Member, wanted: Wanted) -> None:
        """Write one member, or remember it where it is a link."""
        self._members_left -= 1
        if self._members_left < 0:
            raise self._refused(member, f"has more than {self._room.members} members")
        self._checked(member.name, member)
        if member.kind not in ("file", "folder", "link", "symlink"):
            raise self._refused(member, f"is a {member.kind}")
        if member.kind == "link":
            self._checked(member.target, member)
        if not (name := wanted(member.name)):
            return
        name = self._checked(name, member)
        if member.kind == "folder":
            self._place(name, member).mkdir(exist_ok=True)
        elif member.kind == "file":
            self._write(self._place(name, member), member)
        else:
            self._links.append((name, member))
            self.files += 1

    def link(self) -> None:
        """Make the links, last of all: no member could be written through one."""
        made = []
        for name, member in self._links:
            place = self._place(name, member)
            if member.kind == "link":
                source = self._into / member.target
                if source.is_symlink() or not source.is_file():
                    raise self._refused(member, f"links to {member.target!r}, no file before it")
                place.unlink(missing_ok=True)
                os.link(source, place)
                continue
            place.unlink(missing_ok=True)
            place.symlink_to(member.target)
            made.append((place, member))
        root = os.path.realpath(self._into)
        for place, member in made:
            target = os.path.realpath(place)
            if os.path.isabs(member.target) or os.path.commonpath([root, target]) != root:
                raise self._refused(member, f"links out of the archive, to {member.target!r}")

    def _checked(self, name: str, member: _Member) -> str:
        """The name, if it stays inside."""
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or "\0" in name or not name.strip("./"):
            if name.rstrip("/") == "." and member.kind == "folder":
                return "."
            raise self._refused(member, f"climbs out of the archive (as {name!r})")
        return name

    def _place(self, name: str, member: _Member) -> Path:
        place = self._into / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as exc:
            raise self._refused(member, "lies inside another member that is a file") from exc
        if place.is_dir() and member.kind != "folder":
            raise self._refused(member, "is a folder too")
        return place

    def _write(self, place: Path, member: _Member) -> None:
        assert member.read is not None
        with member.read() as source, place.open("wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                self._bytes_left -= len(chunk)
                if self._bytes_left < 0:
                    text = f"goes beyond {self._room.unpacked_bytes} bytes, the most allowed"
                    raise self._refused(member, text)
                file.write(chunk)
        self.files += 1

    def _refused(self, member: _Member, why: str) -> AssetError:
        return AssetError(f"{self._what}: member {member.name!r} {why}: not unpacked")
