"""Files that people sent: kept on this machine by their SHA-256, within a bound, the oldest out."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import msgspec

from web.problems import ProblemError

NAME = re.compile(r"[^\w. ()+-]+")
SHOWN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
)
"""What a browser may be shown, by how it begins; the rest is bytes to it."""
BYTES = "application/octet-stream"


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was sent. upload: its SHA-256, by which it is named from now on."""

    upload: str
    name: str
    size_bytes: int
    media: str


class Uploads:
    """The uploads of one web server; they end with it."""

    def __init__(self, folder: Path, one_bytes: int, all_bytes: int) -> None:
        self._folder, self.one_bytes, self.all_bytes = folder, one_bytes, all_bytes
        self._known: OrderedDict[str, Upload] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    async def take(self, name: str, pieces: AsyncIterator[bytes]) -> Upload:
        """Keep what comes; ProblemError where it is empty or too large."""
        digest, size, first = hashlib.sha256(), 0, b""
        descriptor, place = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for piece in pieces:
                    size += len(piece)
                    if size > self.one_bytes:
                        text = f"the file is larger than {self.one_bytes} bytes"
                        raise ProblemError(413, "too_large", text)
                    digest.update(piece)
                    first = (first + piece[:16])[:16]
                    file.write(piece)
            if not size:
                raise ProblemError(422, "input", "the file is empty")
            return self.keep(Path(place), digest.hexdigest(), name, size, first)
        finally:
            Path(place).unlink(missing_ok=True)

    def keep(self, place: Path, sha256: str, name: str, size: int, first: bytes) -> Upload:
        """Take a file that lies there, whole; the oldest make room. first: how it begins."""
        name = plain_name(name)
        upload = Upload(upload=sha256, name=name, size_bytes=size, media=_media(first))
        self._known[sha256] = upload
        self._known.move_to_end(sha256)
        place.replace(self._folder / sha256)
        while sum(one.size_bytes for one in self._known.values()) > self.all_bytes:
            old, _ = self._known.popitem(last=False)
            (self._folder / old).unlink(missing_ok=True)
        return upload

    def known(self, sha256: str) -> Upload | None:
        """What was sent, if it is (still) here."""
        return self._known.get(sha256)

    def find(self, sha256: str) -> Upload:
        """What was sent; ProblemError where there is no such upload (any more)."""
        if (upload := self.known(sha256)) is None:
            raise ProblemError(404, "unknown_upload", f"no upload {sha256[:64]}: send it again")
        return upload

    def content(self, sha256: str) -> Path:
        """The file of an upload."""
        self.find(sha256)
        return self._folder / sha256

    def named(self, sha256: str) -> Path:
        """The file under the name that it had, beside nothing else: what a client sends along."""
        upload = self.find(sha256)
        folder = self._folder / f"{sha256}.named"
        folder.mkdir(exist_ok=True)
        path = folder / upload.name
        if not path.exists():
            os.link(self._folder / sha256, path)
        return path


def plain_name(name: str) -> str:
    """The last part of a file's name, of letters that harm nobody."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return NAME.sub("-", last).strip(". -")[:100] or "input"


def _media(first: bytes) -> str:
    return next(
        (media for at, begin, media in SHOWN if first[at : at + len(begin)] == begin), BYTES
    )
