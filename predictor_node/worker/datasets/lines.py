"""Any record of a text file without reading the ones before it: an index of where each begins."""

from __future__ import annotations

import mmap
from array import array
from pathlib import Path


class Records:
    """The records of a text file: its lines, or where `quoted`, lines joined inside quotes.

    The file is mapped into memory, so that what is read lies in the system's cache and nowhere
    else; lines that are empty are no records.
    """

    def __init__(self, path: Path, *, quoted: bool = False) -> None:
        self._places = array("q")
        start, end, inside_quotes = 0, 0, False
        with path.open("rb") as file:
            for line in file:
                end += len(line)
                if quoted and line.count(b'"') % 2:
                    inside_quotes = not inside_quotes
                if inside_quotes:
                    continue
                if line.strip() or end - start > len(line):
                    self._places.extend((start, end))
                start = end
            if start < end:  # an open quote: what remains is one record, and its reader says so
                self._places.extend((start, end))
            # An empty file cannot be mapped.
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if end else b""

    def __len__(self) -> int:
        return len(self._places) // 2

    def text(self, number: int) -> str:
        """One record, without the end of its line."""
        return self.raw(number).decode("utf-8-sig").rstrip("\r\n")

    def raw(self, number: int) -> bytes:
        """One record as it lies in the file, the end of its line included."""
        start, end = self._places[2 * number : 2 * number + 2]
        return self._bytes[start:end]
