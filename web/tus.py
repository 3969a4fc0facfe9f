"""The resumable upload protocol tus 1.0: what its clients speak, in many languages.

Source: https://tus.io/protocols/resumable-upload, the core with the extensions creation,
creation-with-upload, expiration and termination. What has come whole is an upload as any other: the
answer names its SHA-256, and so does a GET.
"""

from __future__ import annotations

import base64
import binascii
from email.utils import formatdate

from aiohttp import web
from msgspec import Struct

from web.operations import Ask, Handler, Operation
from web.partial_uploads import Partial
from web.problems import ProblemError
from web.uploads import Upload, plain_name

HERE = "/api/v1/tus"
VERSION = "1.0.0"
PIECE = "application/offset+octet-stream"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
ID = {"upload": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}
PIECE_BYTES = 1 << 16


class Coming(Struct, frozen=True, kw_only=True):
    """How much of an upload has come. upload: what it became, once it is whole."""

    offset: int
    size_bytes: int
    upload: Upload | None = None


async def options(ask: Ask) -> web.Response:
    """What this server understands."""
    most = str(ask.state.settings.upload_bytes)
    headers = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Max-Size": most}
    return _answer(204, headers)


async def create(ask: Ask) -> web.Response:
    """Begin an upload, perhaps with its first bytes."""
    _speaks(ask)
    size = _number(ask, "Upload-Length")
    name = _filename(ask.request.headers.get("Upload-Metadata", ""))
    upload_id = ask.state.partial.begin(ask.owner, plain_name(name), size)
    one = ask.state.partial.find(ask.owner, upload_id)
    if ask.request.content_type == PIECE:
        await _take(ask, one, 0)
    headers = {"Location": f"{HERE}/{upload_id}", **_told(one)}
    return _answer(201, headers)


async def offset(ask: Ask) -> web.Response:
    """How much has come."""
    _speaks(ask)
    one = ask.state.partial.find(ask.owner, ask.named("upload"))
    return _answer(200, {"Upload-Length": str(one.size_bytes), **_told(one)})


async def append(ask: Ask) -> web.Response:
    """More of it."""
    _speaks(ask)
    one = ask.state.partial.find(ask.owner, ask.named("upload"))
    if ask.request.content_type != PIECE:
        raise ProblemError(415, "body", f"expected {PIECE} (got {ask.request.content_type[:80]})")
    await _take(ask, one, _number(ask, "Upload-Offset"))
    return _answer(204, _told(one))


async def remove(ask: Ask) -> web.Response:
    """Give it up."""
    _speaks(ask)
    ask.state.partial.drop(ask.owner, ask.named("upload"))
    return _answer(204, {})


async def get(ask: Ask) -> Coming:
    """What it has become: not of the protocol, but for who needs the SHA-256."""
    one = ask.state.partial.find(ask.owner, ask.named("upload"))
    return Coming(offset=one.offset, size_bytes=one.size_bytes, upload=one.upload)


async def _take(ask: Ask, one: Partial, at: int) -> None:
    await ask.state.partial.append(one, at, ask.request.content.iter_chunked(PIECE_BYTES))


def _told(one: Partial) -> dict[str, str]:
    headers = {
        "Upload-Offset": str(one.offset),
        "Upload-Expires": formatdate(one.expires_s, usegmt=True),
    }
    return headers | ({"Upload-Sha256": one.upload.upload} if one.upload is not None else {})


def _answer(status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, headers={"Tus-Resumable": VERSION, **headers})


def _speaks(ask: Ask) -> None:
    if ask.request.headers.get("Tus-Resumable") != VERSION:
        problem = ProblemError(412, "tus", f"expected a header `Tus-Resumable: {VERSION}`")
        problem.headers = {"Tus-Version": VERSION}
        raise problem


def _number(ask: Ask, header: str) -> int:
    text = ask.request.headers.get(header, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ProblemError(400, "tus", f"{header} {text[:40]!r}: expected a number of bytes")
    return int(text)


def _filename(metadata: str) -> str:
    """The value of `filename` (or `name`) in pairs of a key and a base64 value, with commas."""
    pairs = [pair.split() for pair in metadata.split(",")]
    known = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    text = known.get("filename", known.get("name", ""))
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise ProblemError(400, "tus", f"Upload-Metadata: filename: {exc}") from exc


def routes() -> list[tuple[str, str, Operation]]:
    """The protocol has a document of its own; these paths are as it says."""
    one = f"{HERE}/{{upload}}"
    listed: list[tuple[str, str, Handler]] = [
        ("OPTIONS", HERE, options),
        ("OPTIONS", one, options),
        ("POST", HERE, create),
        ("HEAD", one, offset),
        ("PATCH", one, append),
        ("DELETE", one, remove),
        ("GET", one, get),
    ]
    return [
        (
            method,
            path,
            Operation(
                method,
                path,
                handler,
                "",
                role="look" if method == "OPTIONS" else "run",
                parameters=ID,
            ),
        )
        for method, path, handler in listed
    ]
