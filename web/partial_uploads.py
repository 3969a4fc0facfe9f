"""Uploads that come in parts: what has come stays until the rest follows, or a day has passed."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from web.problems import ProblemError
from web.uploads import Upload, Uploads

EXPIRES_S = 24 * 3600.0
MOST = 1_000
MOST_OF_ONE = 100


@dataclass
class Partial:
    """One upload of which `offset` bytes of `size_bytes` have come. upload: once it is whole."""

    owner: str
    name: str
    size_bytes: int
    path: Path
    expires_s: float
    offset: int = 0
    first: bytes = b""
    digest: Any = field(default_factory=hashlib.sha256)
    busy: bool = False
    upload: Upload | None = None


class PartialUploads:
    """Those of all visitors; only who began one may go on with it."""

    def __init__(self, folder: Path, whole: Uploads) -> None:
        self._folder, self._whole = folder, whole
        self._known: dict[str, Partial] = {}

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, owner: str, name: str, size_bytes: int) -> str:
        """The id of an upload to come; ProblemError where it is too large or too many wait."""
        self._expire()
        if size_bytes > self._whole.one_bytes:
            text = f"the file is larger than {self._whole.one_bytes} bytes"
            raise ProblemError(413, "too_large", text)
        if not size_bytes:
            raise ProblemError(422, "input", "the file is empty")
        waiting = [one for one in self._known.values() if one.upload is None]
        mine = sum(one.owner == owner for one in waiting)
        promised = sum(one.size_bytes for one in waiting)
        if mine >= MOST_OF_ONE or len(waiting) >= MOST:
            raise ProblemError(429, "uploads", f"{mine} uploads wait for their rest: end one first")
        if promised + size_bytes > self._whole.all_bytes:
            text = (
                f"uploads that are under way take {promised} bytes: try again when they have ended"
            )
            raise ProblemError(429, "uploads", text)
        upload_id = secrets.token_hex(16)
        path = self._folder / f"{upload_id}.part"
        path.touch()
        expires_s = time.time() + EXPIRES_S
        self._known[upload_id] = Partial(owner, name, size_bytes, path, expires_s)
        ended = [known for known, one in self._known.items() if one.upload is not None]
        for known in ended[: max(0, len(ended) - MOST)]:
            del self._known[known]
        return upload_id

    def find(self, owner: str, upload_id: str) -> Partial:
        """What has come of it; ProblemError where this owner has none of that id."""
        self._expire()
        found = self._known.get(upload_id)
        if found is None or found.owner != owner:
            raise ProblemError(404, "unknown_upload", f"no upload {upload_id}: begin it again")
        return found

    async def append(self, one: Partial, offset: int, pieces: AsyncIterator[bytes]) -> None:
        """Add what comes, as far as it comes; whole, it is an upload as any other."""
        if one.busy:
            raise ProblemError(423, "locked", "another request is sending to this upload now")
        if offset != one.offset:
            raise ProblemError(
                409, "offset", f"expected the bytes from {one.offset} (got {offset})"
            )
        one.busy = True
        try:
            if one.upload is None:
                with one.path.open("ab") as file:
                    async for piece in pieces:
                        if one.offset + len(piece) > one.size_bytes:
                            text = f"more than the {one.size_bytes} bytes that were announced"
                            raise ProblemError(413, "too_large", text)
                        file.write(piece)
                        one.digest.update(piece)
                        one.first = (one.first + piece[:16])[:16]
                        one.offset += len(piece)
        finally:
            one.busy = False
        if one.upload is None and one.offset == one.size_bytes:
            sha256 = one.digest.hexdigest()
            one.upload = self._whole.keep(one.path, sha256, one.name, one.size_bytes, one.first)

    def drop(self, owner: str, upload_id: str) -> None:
        """Forget it; what is whole stays as the upload that it became."""
        self.find(owner, upload_id).path.unlink(missing_ok=True)
        del self._known[upload_id]

    def _expire(self) -> None:
        now_s = time.time()
        for upload_id, one in [*self._known.items()]:
            if one.expires_s < now_s and not one.busy:
                one.path.unlink(missing_ok=True)
                del self._known[upload_id]
