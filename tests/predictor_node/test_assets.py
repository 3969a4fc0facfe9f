"""Files are fetched once, checked before use, and never leave the cache folder."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from bus import subjects
from bus.connection import Bus
from bus.errors import AssetError, InputError
from bus.sizes import read_size
from predictor_node.assets import Assets, Limits
from predictor_node.downloads import Patience

BODY = b"weights" * 1000
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


class Server:
    """A real HTTP server that counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.path == "/missing":
            return web.Response(status=404, reason="Not Found")
        await asyncio.sleep(0.05)
        return web.Response(body=BODY)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{tail:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = "http://{}:{}".format(*runner.addresses[0][:2])
    yield server
    await runner.cleanup()


@pytest.fixture
def assets(bus: Bus, tmp_path: Path) -> Assets:
    return Assets(tmp_path / "cache", bus, Limits(patience=Patience(pause_s=0.01)))


async def test_the_second_fetch_downloads_nothing(assets: Assets, server: Server) -> None:
    told: list[str] = []

    def tell(text: str, done: int, total: int) -> None:
        told.append(text)

    first = await assets.fetch(f"{server.url}/w.bin", SHA256, tell)
    again = await assets.fetch(f"{server.url}/w.bin", SHA256, tell)
    assert first == again and first.read_bytes() == BODY
    assert server.asked == 1 and set(told) == {f"downloading {server.url}/w.bin"}


async def test_two_who_want_the_same_file_fetch_it_once(assets: Assets, server: Server) -> None:
    paths = await asyncio.gather(*(assets.fetch(f"{server.url}/w.bin", SHA256) for _ in range(5)))
    assert len(set(paths)) == 1 and server.asked == 1


async def test_a_wrong_checksum_refuses_and_names_both_sums(
    assets: Assets, server: Server, tmp_path: Path
) -> None:
    wrong = "sha256:" + "0" * 64
    with pytest.raises(AssetError) as caught:
        await assets.fetch(f"{server.url}/w.bin", wrong)
    assert "0" * 64 in str(caught.value) and SHA256[7:] in str(caught.value)
    left = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert left == [".gate"]


async def test_md5_of_the_original_manifests_is_accepted(assets: Assets, server: Server) -> None:
    md5 = hashlib.md5(BODY).hexdigest()
    assert (await assets.fetch(f"{server.url}/w.bin", md5)).read_bytes() == BODY


async def test_from_an_installed_package_and_from_ourselves(assets: Assets) -> None:
    import msgpack

    version = ".".join(map(str, msgpack.version))
    path = await assets.fetch(f"package://msgpack=={version}/msgpack/__init__.py")
    assert b"msgpack" in path.read_bytes()
    ours = await assets.fetch("package://mlmodelscope/manifests/models/efficientnet-lite0.onnx")
    assert ours.stat().st_size > 100_000


async def test_from_the_bus(assets: Assets, bus: Bus) -> None:
    await (await bus.objects(subjects.MODEL_OBJECTS)).put("models/x/w.bin", BODY)
    await (await bus.objects()).put("inputs/x", BODY)
    assert (await assets.fetch("repo://inputs/x", SHA256)).read_bytes() == BODY
    assert (await assets.fetch("repo://models/x/w.bin", SHA256)).read_bytes() == BODY


async def test_files_of_a_model_lie_side_by_side(assets: Assets, bus: Bus, tmp_path: Path) -> None:
    graph, weights = tmp_path / "1", tmp_path / "2"
    graph.write_bytes(b"g")
    weights.write_bytes(b"w")
    folder = await assets.together("key", {"m.onnx": graph, "m.data": weights})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"m.onnx": b"g", "m.data": b"w"}
    assert await assets.together("key", {"m.onnx": graph, "m.data": weights}) == folder
    with pytest.raises(AssetError):
        await assets.together("key", {"../m.onnx": graph})


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "cannot fetch"),
        ("/etc/passwd", "cannot fetch"),
        ("gopher://x/y", "cannot fetch"),
        ("package://msgpack==1.0/../../etc/passwd", "expected package://NAME==VERSION/PATH"),
        ("package://--index-url=evil/x", "expected package://NAME==VERSION/PATH"),
        ("package://msgpack", "expected package://NAME==VERSION/PATH"),
        ("package://mlmodelscope/../secret", "expected package://NAME==VERSION/PATH"),
        ("package://no-such-package-at-all/x", "no version is pinned"),
        ("package://mlmodelscope/manifests/models/none.onnx", "No such file"),
        ("repo://models/none", "holds no 'models/none'"),
        ("http://127.0.0.1:1/x", "could not be fetched"),
    ],
)
async def test_what_cannot_be_had_is_named(assets: Assets, url: str, says: str) -> None:
    with pytest.raises(AssetError, match=says):
        await assets.fetch(url)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GiB", 20 << 30),
        ("512 MiB", 512 << 20),
        ("1.5KiB", 1536),
        ("7", 7),
        ("9B", 9),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(text, "MLMS_CACHE_LIMIT") == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "0", "ten", "10GB", "nan", "1e999"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(InputError, match="MLMS_CACHE_LIMIT .*expected a size such as 20GiB"):
        read_size(text, "MLMS_CACHE_LIMIT")


async def test_http_errors_are_named(assets: Assets, server: Server) -> None:
    with pytest.raises(AssetError, match="answered 404"):
        await assets.fetch(f"{server.url}/missing")
