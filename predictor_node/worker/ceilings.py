"""What this machine can do at most: a matrix product for GFLOP/s, a triad for GB/s.

Run as a process of its own (`worker --ceilings`), because a BLAS takes its number of threads once,
from the environment. The best of many short rounds counts: everything that disturbs makes one
slower, and a short one is over before the system gives its processor to somebody else.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PRODUCT_SIZES = (512, 1024)
ROUND_S = 0.6
DTYPES = ("float32", "float64")
ARRAY_BYTES = 256 << 20
BLOCK = 1 << 14  # elements: three blocks of float64 lie in the second-level cache
SEGMENT = 1 << 20
ROUNDS = 6
LAST_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


def ceilings(threads: int) -> list[dict[str, Any]]:
    """Both kinds, with as many threads as the BLAS of this process was told to take."""
    found = [compute(dtype, threads) for dtype in DTYPES]
    return [*found, memory(threads)]


def compute(dtype: str, threads: int) -> dict[str, Any]:
    """GFLOP/s of a square matrix product: 2 n^3 FLOPs, by the BLAS that numpy was built with."""
    value, size = max((_product(size, dtype), size) for size in PRODUCT_SIZES)
    return {
        "kind": "compute",
        "dtype": dtype,
        "threads": threads,
        "value": value,
        "unit": "GFLOP/s",
        "how": f"matrix product of {size:,} x {size:,}, numpy {np.__version__} with {_blas()}",
        "at_ns": time.time_ns(),
    }


def _product(size: int, dtype: str) -> float:
    rng = np.random.default_rng(0)
    left, right = (rng.random((size, size)).astype(dtype) for _ in range(2))
    out = np.empty((size, size), dtype)
    return 2 * size**3 / _best_s(lambda: np.matmul(left, right, out=out)) / 1e9


def memory(threads: int) -> dict[str, Any]:
    """GB/s of the triad a = b + s c (McCalpin's STREAM): 24 bytes an element, as STREAM counts.

    Arrays are walked through in segments, and each segment's best round counts.
    """
    size = min(ARRAY_BYTES, max(_free_bytes() // 16, 32 << 20)) // 8
    arrays = tuple(np.ones(size) for _ in range(3))
    bounds = [*range(0, size, SEGMENT), size]
    segments = list(zip(bounds[:-1], bounds[1:], strict=True))
    with Team(threads) as team:
        rounds = [[_triad_s(team, arrays, *each) for each in segments] for _ in range(ROUNDS)]
    took_s = sum(min(times) for times in zip(*rounds, strict=True))
    cache = _last_cache()
    beside = f", last-level cache of {cache >> 20} MB" if cache else ""
    if cache * 4 > size * 8:
        beside += " (STREAM wants arrays of 4 times that: a part may be the cache's)"
    return {
        "kind": "memory",
        "dtype": "",
        "threads": threads,
        "value": 24 * size / took_s / 1e9,
        "unit": "GB/s",
        "how": f"triad of float64 arrays of {size * 8 >> 20} MB{beside}",
        "at_ns": time.time_ns(),
    }


def _best_s(work: Callable[[], Any]) -> float:
    work()  # pages and threads come now
    best, until_s = float("inf"), time.perf_counter() + ROUND_S
    while time.perf_counter() < until_s:
        began_s = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began_s)
    return best


def _triad_s(team: "Team", arrays: tuple[np.ndarray, ...], begin: int, end: int) -> float:
    """One segment, a part for each thread: block by block, so that what lies between two ufuncs
    stays in the cache and memory sees b, c and a once each."""
    first, second, result = arrays

    def part(number: int, between: np.ndarray) -> None:
        low, high = (begin + (end - begin) * n // team.size for n in (number, number + 1))
        for at in range(low, high, BLOCK):
            stop = min(at + BLOCK, high)
            here = between[: stop - at]
            np.multiply(second[at:stop], 3.0, out=here)
            np.add(first[at:stop], here, out=result[at:stop])

    began_s = time.perf_counter()
    team.all(part)
    return time.perf_counter() - began_s


class Team:
    """Threads that do their parts of the same work at once; this one is the first of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._work: Callable[[int, np.ndarray], None] | None = None
        self._meet = threading.Barrier(size)
        self._between = [np.empty(BLOCK) for _ in range(size)]

    def __enter__(self) -> "Team":
        for number in range(1, self.size):
            threading.Thread(target=self._follow, args=(number,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._work = None
        self._meet.wait()

    def all(self, work: Callable[[int, np.ndarray], None]) -> None:
        """Have every thread do its part; returns when the last one has."""
        self._work = work
        self._meet.wait()
        work(0, self._between[0])
        self._meet.wait()

    def _follow(self, number: int) -> None:
        while True:
            self._meet.wait()
            if self._work is None:
                return
            self._work(number, self._between[number])
            self._meet.wait()


def _blas() -> str:
    try:
        about = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{about['name']} {about['version']}"
    except (KeyError, TypeError, ImportError):
        return "a BLAS that it does not name"


def _free_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def _last_cache() -> int:
    try:
        text = LAST_CACHE.read_text().strip()
        return int(text.rstrip("KM")) << (20 if text.endswith("M") else 10)
    except (OSError, ValueError):
        return 0
