"""What is used least recently goes first; what is in use stays; nothing outside is touched."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from predictor_node.cache import Cache
from predictor_node.eviction import keep_within

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def put(cache: Cache, name: str, size: int, used_s: float, kind: str = "files") -> Path:
    place = cache.place(kind, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folders":
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "file").write_bytes(bytes(size))
    else:
        place.write_bytes(bytes(size))
    os.utime(place, (used_s, used_s))
    return place


def test_the_least_recently_used_go_first(cache: Cache) -> None:
    old, folder, new = (
        put(cache, "aa1", 100, 1000),
        put(cache, "bb2", 100, 2000, "folders"),
        put(cache, "cc3", 100, 3000),
    )
    assert keep_within(cache, 300).entries == 0
    evicted = keep_within(cache, 200)
    assert (evicted.entries, evicted.freed_bytes, evicted.kept_bytes) == (1, 100, 200)
    assert (old.exists(), folder.exists(), new.exists()) == (False, True, True)
    keep_within(cache, 100)
    assert (folder.exists(), new.exists()) == (False, True)
    keep_within(cache, 0)
    assert not new.exists() and cache.root.exists()


def test_what_is_claimed_is_the_last_to_go(cache: Cache) -> None:
    first, second = put(cache, "aa1", 100, 1000), put(cache, "bb2", 100, 2000)
    with cache.lease() as lease:
        assert cache.claim(first, lease)
    keep_within(cache, 100)
    assert first.exists() and not second.exists()


def test_what_is_in_use_stays_until_it_is_released(cache: Cache) -> None:
    place = put(cache, "aa1", 100, 1000)
    with cache.lease() as lease:
        cache.claim(place, lease)
        assert keep_within(cache, 0).kept_bytes == 100
        assert place.exists()
    keep_within(cache, 0)
    assert not place.exists()


def test_a_file_with_two_links_counts_once(cache: Cache) -> None:
    place = put(cache, "aa1", 100, 1000)
    model = cache.place("models", "m")
    model.mkdir(parents=True)
    os.link(place, model / "graph.onnx")
    os.utime(model, (2000, 2000))
    other = put(cache, "bb2", 100, 3000)
    assert keep_within(cache, 200).entries == 0
    evicted = keep_within(cache, 150)
    assert (evicted.entries, evicted.freed_bytes) == (2, 100), "one link alone frees nothing"
    assert other.exists() and not model.exists()


def test_links_are_never_followed_out(cache: Cache, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(bytes(10_000))
    put(cache, "aa1", 10, 1000)
    (cache.root / "folders" / "zz").mkdir(parents=True)
    (cache.root / "folders" / "zz" / "zz9").symlink_to(outside)
    inside = put(cache, "cc3", 1, 1000, "folders")
    (inside / "out").symlink_to(outside)
    assert keep_within(cache, 9_000).entries == 0, "what lies outside is not counted"
    keep_within(cache, 0)
    assert (outside / "precious").stat().st_size == 10_000
    assert not inside.exists()


def test_foreign_files_beside_the_entries_are_left_alone(cache: Cache) -> None:
    cache.root.mkdir()
    (cache.root / "README").write_text("mine")
    (cache.root / "other").mkdir()
    (cache.root / "other" / "file").write_text("mine too")
    keep_within(cache, 0)
    assert (cache.root / "README").exists() and (cache.root / "other" / "file").exists()


def test_old_drafts_of_the_killed_go(cache: Cache) -> None:
    drafts = cache.root / "drafts"
    drafts.mkdir(parents=True)
    for name, age_s in (("old", 2 * 24 * 3600), ("young", 60)):
        (drafts / name).write_bytes(b"x")
        os.utime(drafts / name, (time.time() - age_s,) * 2)
    keep_within(cache, 10)
    assert [p.name for p in drafts.iterdir()] == ["young"]


# ------------------------------------------------------------------ several processes

HOLDER = """
import sys
from pathlib import Path
from predictor_node.cache import Cache
cache = Cache(Path(sys.argv[1]))
lease = cache.lease()
print(cache.claim(cache.place("files", "aa1"), lease), flush=True)
sys.stdin.read()
"""
FETCHER = """
import asyncio, sys
from pathlib import Path
from predictor_node.assets import Assets
async def main():
    path = await Assets(Path(sys.argv[1]), None).fetch(sys.argv[2])
    print(path)
asyncio.run(main())
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )


def test_another_process_holds_it_as_long_as_it_lives(cache: Cache) -> None:
    place = put(cache, "aa1", 100, 1000)
    with start(HOLDER, cache.root) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        keep_within(cache, 0)
        assert place.exists()
        holder.kill()
        holder.wait()
    keep_within(cache, 0)
    assert not place.exists()
    assert not list((cache.root / "leases").iterdir()), "the dead one's lease is gone too"


async def test_several_processes_fetch_it_once(tmp_path: Path) -> None:
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        await asyncio.sleep(0.5)  # long enough for all of them to want it
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nweights")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    processes = [
        start(FETCHER, tmp_path / "cache", f"http://127.0.0.1:{port}/w.bin") for _ in range(3)
    ]
    said = await asyncio.gather(*(asyncio.to_thread(p.communicate) for p in processes))
    server.close()
    await server.wait_closed()
    paths = {out.strip() for out, _ in said}
    assert asked == 1 and len(paths) == 1
    assert Path(paths.pop()).read_bytes() == b"weights"
    assert not list((tmp_path / "cache" / "locks").iterdir())


async def test_a_lock_is_one_at_a_time(cache: Cache) -> None:
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        async with cache.lock("name"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(8)))
    assert most == 1
