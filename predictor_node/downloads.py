"""Downloads over http(s) that go on where they broke off, and that know when to stop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bus.errors import AssetError

CHUNK_BYTES = 1 << 18
TELL_EVERY_S = 0.5
AGAIN = (408, 429, 500, 502, 503, 504)
"""Answers after which the same question may be answered otherwise."""

Told = Callable[[str, int, int], None]
"""Hears what is done, and how many bytes of how many (0: unknown) there are."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and with which pauses, a download is tried; how long a silence may be."""

    tries: int = 3
    pause_s: float = 0.5
    """Before the second try; doubled before each further one."""
    silence_s: float = 60.0


class _Broken(Exception):
    """This try has failed; another may not."""


@dataclass(slots=True)
class _Part:
    """What is there of a file, and what tells whether the server still has the same one."""

    path: Path
    url: str
    validator: str = ""
    total: int = 0

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def recall(self) -> None:
        try:
            note = json.loads(self.note.read_text())
            if note["url"] == self.url:
                self.validator, self.total = str(note["validator"]), int(note["total"])
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.forget()

    def remember(self) -> None:
        note = {"url": self.url, "validator": self.validator, "total": self.total}
        self.note.write_text(json.dumps(note))

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.validator, self.total = "", 0


class Downloads:
    """The downloads of one process: a few at a time, each up to a size."""

    def __init__(self, most_bytes: int, at_once: int, patience: Patience) -> None:
        self._most_bytes, self._patience = most_bytes, patience
        self._turn = asyncio.Semaphore(at_once)

    async def fetch(self, url: str, into: Path, checked: bool, told: Told) -> None:
        """The file behind `url`; what is there of it when it fails stays in `into`.

        checked: a checksum follows, so that a server without validators may be trusted to go on.
        """
        part = _Part(into, url)
        part.recall()
        why = ""
        async with self._turn:
            for number in range(self._patience.tries):
                if number:
                    await asyncio.sleep(self._patience.pause_s * 2 ** (number - 1))
                try:
                    await self._try(part, checked, told)
                    part.note.unlink(missing_ok=True)
                    return
                except _Broken as exc:
                    why = str(exc)
                except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                    why = str(exc) or type(exc).__name__
        had = f"; {part.size} bytes are kept, the next try goes on there" if part.size else ""
        raise AssetError(f"{url} could not be fetched in {self._patience.tries} tries ({why}){had}")

    async def _try(self, part: _Part, checked: bool, told: Told) -> None:
        have = part.size if part.validator or checked else 0
        headers = {"Accept-Encoding": "identity"}  # lengths and ranges are of the file itself
        if have:
            headers["Range"] = f"bytes={have}-"
            if part.validator:
                headers["If-Range"] = part.validator
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=10, sock_read=self._patience.silence_s
        )
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(part.url, headers=headers) as answer,
        ):
            if answer.status == 416:
                part.forget()
                raise _Broken("the server has less than is here already")
            if answer.status in AGAIN:
                raise _Broken(f"answered {answer.status} {answer.reason}")
            if answer.status not in (200, 206):
                raise AssetError(f"{part.url} answered {answer.status} {answer.reason}")
            self._begin(part, answer, have)
            await self._read(part, answer, told)
        if part.total and part.size != part.total:
            raise _Broken(f"{part.size} bytes came of {part.total}")

    def _begin(self, part: _Part, answer: aiohttp.ClientResponse, have: int) -> None:
        """Go on where the server does, or begin anew where it begins anew."""
        start, total = _range(answer) if answer.status == 206 else (0, answer.content_length or 0)
        goes_on = answer.status == 206 and start == have and part.total in (0, total)
        if answer.status == 206 and not goes_on:
            part.forget()
            raise _Broken("the file has changed on the server")
        if not goes_on:
            part.forget()
        if total > self._most_bytes:
            part.forget()
            raise self._too_large(part.url, f"has {total} bytes")
        part.total, part.validator = total, _validator(answer)
        part.remember()

    async def _read(self, part: _Part, answer: aiohttp.ClientResponse, told: Told) -> None:
        done, told_s = part.size, 0.0
        with part.path.open("ab") as file:
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                done += len(chunk)
                if done > self._most_bytes:
                    part.forget()
                    raise self._too_large(part.url, "goes on")
                file.write(chunk)
                if (now_s := time.monotonic()) - told_s >= TELL_EVERY_S:
                    told(f"downloading {part.url}", done, part.total)
                    told_s = now_s

    def _too_large(self, url: str, has: str) -> AssetError:
        return AssetError(
            f"{url} {has}, and this node fetches at most {self._most_bytes} (MLMS_FILE_LIMIT)"
        )


def _validator(answer: aiohttp.ClientResponse) -> str:
    """What If-Range may be asked with: a strong ETag, else the date of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _range(answer: aiohttp.ClientResponse) -> tuple[int, int]:
    """Start and total of `Content-Range: bytes 100-199/200`; (-1, 0) where it is not readable."""
    span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    start = span.partition("-")[0]
    return int(start) if start.isdigit() else -1, int(total) if total.isdigit() else 0
