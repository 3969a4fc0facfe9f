"""Downloads from a real server that breaks off, lies, changes its mind, or never ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from bus.connection import Bus
from bus.errors import AssetError
from predictor_node.assets import Assets, Limits
from predictor_node.downloads import Patience

BODY = os.urandom(400_000)
SUM = "sha256:" + hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """A server whose manners a test sets."""

    url: str = ""
    body: bytes = BODY
    etag: str = '"v1"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    """After how many bytes each next answer breaks off."""
    statuses: list[int] = field(default_factory=list)
    """What the next answers are instead."""
    asked: list[str] = field(default_factory=list)
    """The Range of every request."""
    at_once: int = 0
    most_at_once: int = 0
    pause_s: float = 0.0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("Range", ""))
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), reason="Busy")
        start = self._start(request)
        if start is not None and start >= len(self.body):
            return web.Response(status=416)
        response = web.StreamResponse(status=206 if start else 200)
        body = self.body[start or 0 :]
        if self.etag:
            response.headers["ETag"] = self.etag
        if start:
            response.headers["Content-Range"] = (
                f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            )
        response.content_length = len(body)
        await response.prepare(request)
        return await self._send(request, response, body)

    async def _send(
        self, request: web.Request, response: web.StreamResponse, body: bytes
    ) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.pause_s)
            if self.breaks:
                await response.write(body[: self.breaks.pop(0)])
                await asyncio.sleep(0.02)
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(body)
        finally:
            self.at_once -= 1
        return response

    def _start(self, request: web.Request) -> int | None:
        asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
        if not self.ranges or asked is None or condition not in (None, self.etag):
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{tail:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = "http://{}:{}/w.bin".format(*runner.addresses[0][:2])
    yield server
    await runner.cleanup()


@pytest.fixture
def assets(bus: Bus, tmp_path: Path) -> Assets:
    limits = Limits(file_bytes=500_000, downloads=2, patience=Patience(pause_s=0.01, silence_s=2))
    return Assets(tmp_path / "cache", bus, limits)


async def test_a_broken_download_goes_on_where_it_broke(assets: Assets, server: Server) -> None:
    server.breaks = [100_000, 150_000]
    path = await assets.fetch(server.url, SUM)
    assert path.read_bytes() == BODY
    assert server.asked == ["", "bytes=100000-", "bytes=250000-"]


async def test_a_later_fetch_goes_on_too(assets: Assets, server: Server) -> None:
    server.breaks = [10_000, 10_000, 10_000]
    with pytest.raises(AssetError, match=r"in 3 tries .*30000 bytes are kept, the next try goes"):
        await assets.fetch(server.url, SUM)
    assert (await assets.fetch(server.url, SUM)).read_bytes() == BODY
    assert server.asked[-1] == "bytes=30000-" and len(server.asked) == 4


async def test_a_file_that_changed_meanwhile_begins_anew(assets: Assets, server: Server) -> None:
    server.breaks = [10_000, 10_000, 10_000]
    with pytest.raises(AssetError):
        await assets.fetch(server.url)
    server.body, server.etag = BODY[::-1], '"v2"'
    assert (await assets.fetch(server.url)).read_bytes() == BODY[::-1]


async def test_a_server_without_ranges_begins_anew(assets: Assets, server: Server) -> None:
    server.ranges, server.breaks = False, [100_000]
    assert (await assets.fetch(server.url, SUM)).read_bytes() == BODY
    assert server.asked == ["", "bytes=100000-"]


async def test_without_validator_only_what_is_checked_later_goes_on(
    assets: Assets, server: Server
) -> None:
    server.etag, server.breaks = "", [100_000]
    assert (await assets.fetch(server.url)).read_bytes() == BODY
    assert server.asked == ["", ""]
    server.breaks = [100_000]
    assert (await assets.fetch(server.url, SUM)).read_bytes() == BODY
    assert server.asked[2:] == ["", "bytes=100000-"]


async def test_a_part_longer_than_the_file_begins_anew(assets: Assets, server: Server) -> None:
    server.breaks = [300_000, 50_000, 1]
    with pytest.raises(AssetError):
        await assets.fetch(server.url, "")
    server.body = BODY[:1000]
    assert (await assets.fetch(server.url, "")).read_bytes() == BODY[:1000]


async def test_a_wrong_sum_after_a_break_leaves_nothing(
    assets: Assets, server: Server, tmp_path: Path
) -> None:
    server.breaks = [100_000]
    with pytest.raises(AssetError, match=f"sha256 {SUM[7:]}, but the manifest says {'0' * 64}"):
        await assets.fetch(server.url, "sha256:" + "0" * 64)
    files = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.stat().st_size]
    assert files == []


async def test_busy_servers_are_asked_again(assets: Assets, server: Server) -> None:
    server.statuses = [503, 500]
    assert (await assets.fetch(server.url, SUM)).read_bytes() == BODY
    server.statuses = [503, 502, 504]
    with pytest.raises(AssetError, match="could not be fetched in 3 tries .answered 504 Busy"):
        await assets.fetch(f"{server.url}?other")


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_plain_no_is_not_asked_again(assets: Assets, server: Server, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(AssetError, match=f"answered {status}"):
        await assets.fetch(server.url)
    assert len(server.asked) == 1


async def test_what_is_too_large_is_refused_before_it_comes(
    assets: Assets, server: Server, tmp_path: Path
) -> None:
    server.body = bytes(500_001)
    with pytest.raises(AssetError, match=r"has 500001 bytes.* at most 500000 .MLMS_FILE_LIMIT"):
        await assets.fetch(server.url)
    assert not list((tmp_path / "cache" / "parts").iterdir())


async def test_a_few_at_a_time(assets: Assets, server: Server) -> None:
    server.pause_s = 0.05
    await asyncio.gather(*(assets.fetch(f"{server.url}?{n}", SUM) for n in range(6)))
    assert server.most_at_once == 2


async def test_progress_tells_bytes(assets: Assets, server: Server) -> None:
    told: list[tuple[int, int]] = []
    await assets.fetch(server.url, SUM, lambda text, done, total: told.append((done, total)))
    assert told[0] == (0, 0) and told[-1][1] == len(BODY)
    assert len(told) == 2, "at most twice a second"
