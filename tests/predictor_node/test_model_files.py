"""A model's files: side by side, or inside an archive; nothing outside of either."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from bus.connection import Bus
from bus.errors import AssetError
from bus.manifest import FrameworkWanted, Manifest, ModelResources
from predictor_node.assets import Assets, AssetsInUse, Limits
from predictor_node.model_files import ModelFiles, fetch_model

GRAPH, WEIGHTS = b"graph" * 100, b"weights" * 100
Served = tuple[str, dict[str, bytes], list[str]]


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A real server: its address, what it serves by path, and the paths that were asked for."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=files[request.path])

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0][:2]), files, asked
    await runner.cleanup()


@pytest.fixture
def make_assets(bus: Bus, tmp_path: Path) -> Callable[..., Assets]:
    return lambda **limits: Assets(tmp_path / "cache", bus, Limits(**limits))


async def fetched(assets: AssetsInUse, **resources: object) -> ModelFiles:
    manifest = Manifest(
        name="M",
        version="1.0.0",
        framework=FrameworkWanted(name="onnxruntime"),
        model=ModelResources(**resources),  # type: ignore[arg-type]
    )
    return await fetch_model(manifest, assets, assets.fetch, assets.unpacked)


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


async def test_an_archive_is_unpacked_once(
    make_assets: Callable[..., Assets], served: Served
) -> None:
    url, files, asked = served
    archive = packed({"v1/m.onnx": GRAPH, "v1/m.data": WEIGHTS, "v1/beside.bin": b"x"})
    files["/m.tar.gz"] = files["/same.tar.gz"] = archive
    told = {
        "is_archive": True,
        "graph_path": "v1/m.onnx",
        "weights_path": "v1/m.data",
        "graph_checksum": sha256(GRAPH),
    }
    for checksum in ("", sha256(archive)):
        with make_assets().in_use() as assets:
            found = await fetched(
                assets, base_url=f"{url}/m.tar.gz", archive_checksum=checksum, **told
            )
        assert found.graph is not None and found.weights is not None
        assert (found.graph.read_bytes(), found.weights.read_bytes()) == (GRAPH, WEIGHTS)
        assert (found.graph.parent / "beside.bin").exists(), "what the manifest does not name"
    with make_assets().in_use() as assets:
        again = await fetched(
            assets, base_url=f"{url}/same.tar.gz", archive_checksum=sha256(archive), **told
        )
    assert again.graph == found.graph
    assert asked == ["/m.tar.gz"], "known by its sum, it is not asked for again"


async def test_a_folder_inside_an_archive_has_a_sum(
    make_assets: Callable[..., Assets], served: Served
) -> None:
    url, files, _ = served
    files["/m.tgz"] = packed({"saved/saved_model.pb": GRAPH, "saved/variables/v.data": WEIGHTS})
    lines = sorted(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in (("saved_model.pb", GRAPH), ("variables/v.data", WEIGHTS))
    )
    right = sha256("".join(lines).encode())
    told = {"is_archive": True, "base_url": f"{url}/m.tgz", "graph_path": "saved/"}
    with make_assets().in_use() as assets:
        found = await fetched(assets, **told, graph_checksum=right)
        assert found.graph is not None and (found.graph / "saved_model.pb").is_file()
        with pytest.raises(AssetError, match=f"sha256 {right[7:]}, but the manifest says 000"):
            await fetched(assets, **told, graph_checksum="sha256:" + "0" * 64)


CLIMBING = ["../../etc/passwd", "/etc/passwd", "a/../../b", ".."]


@pytest.mark.parametrize("path", CLIMBING)
@pytest.mark.parametrize("part", ["graph_path", "weights_path"])
@pytest.mark.parametrize("is_archive", [True, False])
async def test_paths_that_climb_out_are_refused_before_anything_is_fetched(
    make_assets: Callable[..., Assets], path: str, part: str, is_archive: bool
) -> None:
    paths = {"graph_path": "m.onnx", part: path}
    with make_assets().in_use() as assets, pytest.raises(AssetError, match="climbs out: expected"):
        await fetched(assets, is_archive=is_archive, base_url="http://127.0.0.1:1/m", **paths)


async def test_what_an_archive_lacks_is_named_with_what_it_has(
    make_assets: Callable[..., Assets], served: Served
) -> None:
    url, files, _ = served
    files["/m.tgz"] = packed({"a.onnx": GRAPH, "b.onnx": GRAPH})
    with (
        make_assets().in_use() as assets,
        pytest.raises(AssetError, match="'c.onnx' is not in .*, which holds a.onnx, b.onnx"),
    ):
        await fetched(assets, is_archive=True, base_url=f"{url}/m.tgz", graph_path="c.onnx")


async def test_a_hostile_archive_leaves_nothing(
    make_assets: Callable[..., Assets], served: Served, tmp_path: Path
) -> None:
    url, files, _ = served
    files["/m.tgz"] = packed({"a.onnx": GRAPH, "../../../evil": b"x"})
    with (
        make_assets().in_use() as assets,
        pytest.raises(AssetError, match="'../../../evil' climbs out"),
    ):
        await fetched(assets, is_archive=True, base_url=f"{url}/m.tgz", graph_path="a.onnx")
    assert not list(tmp_path.rglob("evil")) and not list(tmp_path.rglob("a.onnx"))
    assert not list((tmp_path / "cache" / "drafts").iterdir())


async def test_a_folder_lies_beside_files(make_assets: Callable[..., Assets]) -> None:
    import msgpack

    version = ".".join(map(str, msgpack.version))
    folder = f"package://msgpack=={version}/msgpack/"
    with make_assets().in_use() as assets:
        first = await fetched(assets, graph_path=folder, weights_path=f"{folder}__init__.py")
        again = await fetched(assets, graph_path=folder, weights_path=f"{folder}__init__.py")
    assert first.graph is not None and first.weights is not None and first == again
    assert (first.graph / "__init__.py").read_bytes() == first.weights.read_bytes()


async def test_a_job_keeps_its_files_under_any_limit(
    make_assets: Callable[..., Assets], served: Served
) -> None:
    url, files, _ = served
    files |= {"/m/m.onnx": GRAPH, "/m/m.data": WEIGHTS, "/other": bytes(5000)}
    assets = make_assets(cache_bytes=1000)
    with assets.in_use() as used:
        found = await fetched(used, base_url=f"{url}/m", graph_path="m.onnx", weights_path="m.data")
        other = await assets.fetch(f"{url}/other")
        await assets.evict()
        assert found.graph is not None and found.graph.read_bytes() == GRAPH
        assert not other.exists()
    assert (await assets.evict()).kept_bytes <= 1000
