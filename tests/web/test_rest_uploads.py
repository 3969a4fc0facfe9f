"""Uploads that come in parts, by a client of tus; and what is too large, or not whose it is."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from web.partial_uploads import EXPIRES_S, PartialUploads
from web.problems import ProblemError
from web.uploads import Uploads

tus = pytest.importorskip("tusclient.client")
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {"Content-Type": "application/offset+octet-stream"}
SIZE = 3_000_000


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large photo.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * (SIZE // 256))
    return path


async def test_an_upload_goes_on_where_it_was_cut(web_url: str, large: Path) -> None:
    """tuspy sends a part, is gone, and another one of it sends the rest."""
    client = tus.TusClient(f"{web_url}/api/v1/tus")

    def begin() -> str:
        about = {"filename": "../a.png"}
        with large.open("rb") as file:
            one = client.uploader(file_stream=file, chunk_size=1_000_000, metadata=about)
            one.upload_chunk()
            assert one.offset == 1_000_000
            return str(one.url)

    def go_on(url: str) -> None:
        with large.open("rb") as file:
            one = client.uploader(file_stream=file, chunk_size=1_000_000, url=url)
            assert one.offset == 1_000_000
            one.upload()

    url = await asyncio.to_thread(begin)
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            half = await answer.json()
        assert (half["offset"], half["upload"]) == (1_000_000, None)
        await asyncio.to_thread(go_on, url)
        async with session.get(url) as answer:
            upload = (await answer.json())["upload"]
        data = large.read_bytes()
        assert upload == {
            "upload": hashlib.sha256(data).hexdigest(),
            "name": "a.png",
            "size_bytes": len(data),
            "media": "image/png",
        }
        async with session.get(f"{web_url}/api/v1/uploads/{upload['upload']}") as answer:
            assert await answer.read() == data
        async with session.delete(url, headers=TUS) as answer:
            assert answer.status == 204
        async with session.head(url, headers=TUS) as answer:
            assert answer.status == 404


async def test_what_the_protocol_refuses(web_url: str) -> None:
    where = f"{web_url}/api/v1/tus"
    async with aiohttp.ClientSession() as session:

        async def said(method: str, url: str, **more: Any) -> tuple[int, str]:
            async with session.request(method, url, **more) as answer:
                text = await answer.text()
                return answer.status, json.loads(text)["kind"] if text else ""

        async with session.options(where) as answer:
            assert (answer.status, answer.headers["Tus-Version"]) == (204, "1.0.0")
            most = int(answer.headers["Tus-Max-Size"])
        for headers, expected in (
            ({"Upload-Length": "5"}, (412, "tus")),
            (TUS, (400, "tus")),
            (TUS | {"Upload-Length": "-1"}, (400, "tus")),
            (TUS | {"Upload-Length": "0"}, (422, "input")),
            (TUS | {"Upload-Length": str(most + 1)}, (413, "too_large")),
            (TUS | {"Upload-Length": "5", "Upload-Metadata": "filename %%"}, (400, "tus")),
        ):
            assert await said("POST", where, headers=headers) == expected, headers
        sent = TUS | PIECE | {"Upload-Length": "5"}
        async with session.post(where, headers=sent, data=b"ab") as answer:
            assert (answer.status, answer.headers["Upload-Offset"]) == (201, "2")
            assert "GMT" in answer.headers["Upload-Expires"]
            url = web_url + answer.headers["Location"]
        at = TUS | PIECE
        assert await said("PATCH", url, headers=at | {"Upload-Offset": "1"}) == (409, "offset")
        assert await said("PATCH", url, headers=TUS | {"Upload-Offset": "2"}) == (415, "body")
        more: dict[str, Any] = {"headers": at | {"Upload-Offset": "2"}, "data": b"cdefgh"}
        assert await said("PATCH", url, **more) == (413, "too_large")
        assert await said("PATCH", f"{where}/{'0' * 32}", headers=at) == (404, "unknown_upload")
        assert await said("HEAD", f"{where}/..%2f..%2fetc", headers=at) == (422, "")


async def test_nobody_goes_on_with_anothers_and_a_day_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = PartialUploads(tmp_path, Uploads(tmp_path, 1000, 1500))
    name = partial.begin("ann", "a.txt", 900)
    with pytest.raises(ProblemError, match="no upload"):
        partial.find("bob", name)
    with pytest.raises(ProblemError, match="under way take 900 bytes"):
        partial.begin("bob", "b.txt", 700)
    assert len(list(tmp_path.iterdir())) == 1
    now_s = partial.find("ann", name).expires_s
    monkeypatch.setattr("time.time", lambda: now_s + 1.0)
    with pytest.raises(ProblemError, match="begin it again"):
        partial.find("ann", name)
    assert not list(tmp_path.iterdir()) and EXPIRES_S == 86_400


async def test_one_upload_and_all_of_them_have_a_limit(serve: Any) -> None:
    raw = {"Content-Type": "application/octet-stream"}
    async with (
        serve(upload_bytes=1000, uploads_bytes=1500) as url,
        aiohttp.ClientSession(url, headers=raw) as session,
    ):
        async with session.post("/api/v1/uploads", data=bytes(1001)) as answer:
            assert (answer.status, (await answer.json())["kind"]) == (413, "too_large")
        kept = []
        for letter in b"abc":
            async with session.post("/api/v1/uploads", data=bytes([letter]) * 700) as answer:
                kept.append((await answer.json())["upload"])
        statuses = []
        for upload in kept:
            async with session.get(f"/api/v1/uploads/{upload}") as answer:
                statuses.append(answer.status)
        assert statuses == [404, 200, 200]  # the oldest made room
