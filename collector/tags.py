"""The distinct tag maps of a timeline, end to end in one buffer: where every span has others, too.

A Python object for each distinct map would cost more than the map. The latest MOST_KNOWN are known
again when they come again; what comes again after so many others has a second number.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

MOST_KNOWN = 20_000
"""About 4 MB of memory, whatever the size of the timeline."""


class Tags(Sequence[bytes]):
    """Raw MessagePack maps by number."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._text = bytearray()
        self._ends: array[int] = array("q", [0])

    def number(self, raw: bytes | memoryview) -> int:
        """The number of a map; a new one if it is not among the known."""
        found = self._known.get(key := bytes(raw))
        if found is not None:
            return found
        number = len(self._ends) - 1
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()  # what repeats is soon known again, what does not fills no memory
        self._known[key] = number
        self._text += key
        self._ends.append(len(self._text))
        return number

    def forget(self) -> None:
        """Nothing more comes: knowing again is not needed any more."""
        self._known = {}

    def firsts(self) -> NDArray[np.uint8]:
        """The first byte of each, which says what it is; 0: it is empty."""
        ends = np.frombuffer(self._ends, np.int64)
        begins, empty = ends[:-1], ends[:-1] == ends[1:]
        text = np.frombuffer(bytes(self._text[:1]) if not len(self._text) else self._text, np.uint8)
        found = np.zeros(len(begins), np.uint8)
        found[~empty] = text[begins[~empty]]
        return found

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"tags {index} of {len(self)}")
        return bytes(self._text[self._ends[index] : self._ends[index + 1]])

    def __iter__(self) -> Iterator[bytes]:
        return (self[index] for index in range(len(self)))
