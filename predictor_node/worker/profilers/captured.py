"""What is printed within a block goes to a file; what was not asked for goes on to where it went.

Libraries in C print into a buffer of libc's. It is made large and emptied between queries, so that
their lines are whole in the file, whatever Python prints between them.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

STDOUT = 1
STREAM = "__stdoutp" if sys.platform == "darwin" else "stdout"
BUFFER_BYTES = 4 << 20
FULLY = 0  # _IOFBF of glibc, musl and macOS

_buffer = None  # libc keeps writing into it for as long as the process lives


class Captured:
    """File descriptor 1, taken for the length of a block; `mark` says that a query has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends: array[int] = array("q")
        """After each query, how long the file was."""
        self._libc = ctypes.CDLL(None)
        self._kept = self._file = -1

    def __enter__(self) -> Captured:
        self._libc.fflush(None)
        _enlarge(self._libc)
        self._kept = os.dup(STDOUT)
        flags = os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND
        self._file = os.open(self.path, flags, 0o600)
        os.dup2(self._file, STDOUT)
        return self

    def mark(self) -> None:
        self._libc.fflush(None)
        self.ends.append(os.fstat(self._file).st_size)

    def __exit__(self, *error: object) -> None:
        self._libc.fflush(None)
        os.dup2(self._kept, STDOUT)
        os.close(self._kept)
        os.close(self._file)

    def lines(self, wanted: re.Pattern[bytes]) -> Iterator[tuple[int, str]]:
        """(marks before it, line) of those in which this is found; the others are printed now.

        One may begin in the middle: behind the first half of a line that somebody else printed.
        """
        ends, marks, at = self.ends, 0, 0
        others = []
        with self.path.open("rb") as file:
            for raw in file:
                begins, at = at, at + len(raw)
                while marks < len(ends) and begins >= ends[marks]:
                    marks += 1
                split = ours.start() if (ours := wanted.search(raw)) else len(raw)
                others.append(raw[:split])
                if split < len(raw):
                    yield marks, raw[split:].decode(errors="replace")
        _print(b"".join(others))


def _print(text: bytes) -> None:
    while text:
        text = text[os.write(STDOUT, text) :]


def _enlarge(libc: ctypes.CDLL) -> None:
    global _buffer
    if _buffer is None:
        made = ctypes.create_string_buffer(BUFFER_BYTES)
        stdout = ctypes.c_void_p.in_dll(libc, STREAM)
        if libc.setvbuf(stdout, made, FULLY, ctypes.c_size_t(BUFFER_BYTES)) == 0:
            _buffer = made
