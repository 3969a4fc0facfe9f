"""Archives from strangers: what is good comes out whole, what is hostile is named and refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.errors import AssetError
from predictor_node.archives import Room, unpack

FILES = {"m/graph.onnx": b"graph" * 1000, "m/deep/er/w.bin": bytes(range(256)), "top.txt": b""}
ROOM = Room(unpacked_bytes=1 << 20, members=100)
Members = list[tuple[tarfile.TarInfo, bytes]]


def tar_of(path: Path, members: Members, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def zip_of(path: Path, members: list[tuple[str, int, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, content in members:
            made = zipfile.ZipInfo(name)
            made.external_attr, made.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(made, content)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_every_kind_comes_out_whole(tmp_path: Path, mode: str) -> None:
    if mode == "zip":
        archive = zip_of(tmp_path / "a", [(n, 0o100644, c) for n, c in FILES.items()])
    else:
        archive = tar_of(tmp_path / "a", [(info(n), c) for n, c in FILES.items()], mode)
    assert unpack(archive, tmp_path / "out", ROOM, "a") == len(FILES)
    assert content_of(tmp_path / "out") == FILES


def test_several_gzip_members_are_one_stream(tmp_path: Path) -> None:
    plain = tar_of(tmp_path / "plain", [(info(n), c) for n, c in FILES.items()]).read_bytes()
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(plain[:5000]) + gzip.compress(plain[5000:]))
    unpack(archive, tmp_path / "out", ROOM, "a")
    assert content_of(tmp_path / "out") == FILES


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    members = [
        (info("v1/w.bin"), b"weights"),
        (info("latest", tarfile.SYMTYPE, "v1"), b""),
        (info("v1/up", tarfile.SYMTYPE, "../v1/w.bin"), b""),
        (info("same", tarfile.LNKTYPE, "v1/w.bin"), b""),
    ]
    unpack(tar_of(tmp_path / "a", members), tmp_path / "out", ROOM, "a")
    assert (tmp_path / "out" / "latest" / "up").read_bytes() == b"weights"
    assert (tmp_path / "out" / "same").samefile(tmp_path / "out" / "v1" / "w.bin")


SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE: dict[str, tuple[Members, str]] = {
    "up": ([(info("../evil"), b"x")], "member '../evil' climbs out"),
    "up-inside": ([(info("a/../../evil"), b"x")], "climbs out"),
    "absolute": ([(info("/tmp/evil"), b"x")], "member '/tmp/evil' climbs out"),
    "dot": ([(info("."), b"x")], "climbs out"),
    "symlink-up": ([(info("l", SYM, "../outside"), b"")], "member 'l' links out"),
    "symlink-absolute": ([(info("l", SYM, "/etc/passwd"), b"")], "links out of the archive"),
    "symlink-to-a-symlink": (
        [(info("a/l", SYM, ".."), b""), (info("b", SYM, "a/l/.."), b"")],
        "member 'b' links out",
    ),
    "through-a-symlink": (
        [(info("d", SYM, "/tmp"), b""), (info("d/evil"), b"x")],
        "is a folder too|links out|lies inside",
    ),
    "hard-link-up": ([(info("l", HARD, "../outside"), b"")], "climbs out"),
    "hard-link-to-a-symlink": (
        [(info("s", SYM, "x"), b""), (info("l", HARD, "s"), b"")],
        "no file before it",
    ),
    "device": ([(info("null", tarfile.CHRTYPE), b"")], "member 'null' is a device"),
    "pipe": ([(info("pipe", tarfile.FIFOTYPE), b"")], "member 'pipe' is a special file"),
    "file-as-folder": ([(info("f"), b"x"), (info("f/g"), b"x")], "lies inside another member"),
    "folder-as-file": ([(info("f/g"), b"x"), (info("f"), b"x")], "is a folder too"),
    "many": ([(info(f"f{i}"), b"") for i in range(101)], "has more than 100 members"),
    "large": ([(info("zeros"), bytes((1 << 20) + 1))], "goes beyond 1048576 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_refused(tmp_path: Path, name: str) -> None:
    members, says = HOSTILE[name]
    archive = tar_of(tmp_path / "a.tar", members)
    (tmp_path / "outside").write_text("untouched")
    with pytest.raises(AssetError, match=says) as caught:
        unpack(archive, tmp_path / "out", ROOM, "http://host/a.tar")
    assert "http://host/a.tar" in str(caught.value)
    assert (tmp_path / "outside").read_text() == "untouched"
    assert not (tmp_path / "evil").exists() and not Path("/tmp/evil").exists()


LINK = stat.S_IFLNK | 0o777
HOSTILE_ZIPS: dict[str, tuple[list[tuple[str, int, bytes]], str]] = {
    "up": ([("../evil", 0o100644, b"x")], "member '../evil' climbs out"),
    "absolute": ([("/tmp/evil", 0o100644, b"x")], "climbs out"),
    "symlink": ([("l", LINK, b"../../etc/passwd")], "member 'l' links out"),
    "pipe": ([("p", stat.S_IFIFO, b"")], "is a special file"),
    "large": ([("z", 0o100644, bytes(2 << 20))], "goes beyond 1048576 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_a_hostile_zip_is_refused(tmp_path: Path, name: str) -> None:
    members, says = HOSTILE_ZIPS[name]
    with pytest.raises(AssetError, match=says):
        unpack(zip_of(tmp_path / "a.zip", members), tmp_path / "out", ROOM, "a.zip")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_ends_at_the_room_whatever_its_headers_say(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """One member that says it is small, and an endless comment of the next one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        huge = info("small")
        huge.pax_headers = {"comment": "0" * (20 << 20)}
        archive.addfile(huge, io.BytesIO(b""))
    bomb = tmp_path / "bomb"
    bomb.write_bytes(compress(buffer.getvalue()))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(AssetError, match="has a header of 2[0-9]{7} bytes"):
        unpack(bomb, tmp_path / "out", ROOM, "bomb")


def test_padding_without_end_is_refused(tmp_path: Path) -> None:
    """A member that is left out is read past all the same, and counted."""
    member = info("unwanted")
    archive = tar_of(tmp_path / "a", [(member, bytes(80 << 20)), (info("b"), b"x")], "w:gz")
    with pytest.raises(AssetError, match="holds more than"):
        unpack(
            archive, tmp_path / "out", ROOM, "a", lambda name: "" if name == "unwanted" else name
        )


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive at all", b"PK\x03\x04 half a zip", gzip.compress(b"no tar in here" * 99)],
    ids=["empty", "text", "half-zip", "gzip-of-text"],
)
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(AssetError, match="a is damaged or no archive"):
        unpack(tmp_path / "a", tmp_path / "out", ROOM, "a")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip"])
def test_a_damaged_archive_never_raises_anything_else(tmp_path: Path, mode: str) -> None:
    if mode == "zip":
        good = zip_of(tmp_path / "a", [(n, 0o100644, c) for n, c in FILES.items()])
    else:
        good = tar_of(tmp_path / "a", [(info(n), c) for n, c in FILES.items()], mode)
    content, chance = good.read_bytes(), random.Random(7)
    for number in range(60):
        damaged = bytearray(content[: chance.randrange(1, len(content))])
        for _ in range(chance.randrange(0, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / "damaged").write_bytes(damaged)
        out = tmp_path / f"out{number}"
        try:
            unpack(tmp_path / "damaged", out, ROOM, "damaged")
        except AssetError:
            pass
        assert all(os.path.realpath(p).startswith(str(tmp_path)) for p in out.rglob("*"))


def test_a_password_is_told(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("f", 0o100644, b"x" * 100)])
    content = bytearray(archive.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1  # the flag of an encrypted member
    archive.write_bytes(content)
    with pytest.raises(AssetError, match="cannot be unpacked.*(password|encrypted)"):
        unpack(archive, tmp_path / "out", ROOM, "a.zip")
