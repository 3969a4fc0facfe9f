"""Whole numbers out of text by array arithmetic: a table's cells, many rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ZERO, NINE, COMMA, LINE = b"09,\n"
STRANGE = (b'"', b"\r", b"\xef\xbb\xbf")
"""Quotation marks, other ends of lines, a byte-order mark: what `csv` and `utf-8-sig` are for."""
MOST_DIGITS = 3
"""Of a pixel; what is longer is read cell by cell."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Where each cell of some rows lies: [rows, columns]; `ends` is the byte behind it."""

    text: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def column(self, number: int) -> list[str]:
        """One cell of every row, as it is written."""
        raw = self.text.tobytes()
        starts, ends = self.starts[:, number].tolist(), self.ends[:, number].tolist()
        return [raw[start:end].decode() for start, end in zip(starts, ends, strict=True)]

    def numbers(self, first: int, count: int) -> np.ndarray | None:
        """Some cells of every row as numbers; None where one is not 1 to 3 digits alone."""
        starts, ends = self.starts[:, first : first + count], self.ends[:, first : first + count]
        widths = ends - starts
        if starts.shape[1] != count or not 1 <= widths.min() <= widths.max() <= MOST_DIGITS:
            return None
        digits = self.text - ZERO  # other bytes wrap around to 10 and more
        found = np.zeros(starts.shape, np.uint16)
        for place in range(int(widths.max())):
            here = digits[np.maximum(ends - 1 - place, starts)]
            there = place < widths
            if np.any(here[there] > NINE - ZERO):
                return None
            found += np.where(there, here, 0).astype(np.uint16) * 10**place
        return found


def cells_of(rows: list[bytes]) -> Cells | None:
    """The cells of rows of equally many, parted by commas; None where there is anything else."""
    raw = b"\n".join(rows) + b"\n"
    if any(mark in raw for mark in STRANGE):
        return None
    text = np.frombuffer(raw, np.uint8)
    marks = np.flatnonzero((text == COMMA) | (text == LINE))
    if len(marks) % len(rows):
        return None
    ends = marks.reshape(len(rows), -1)
    lines = np.cumsum([len(row) + 1 for row in rows]) - 1
    if not np.array_equal(ends[:, -1], lines):
        return None
    starts = np.empty_like(ends)
    starts[:, 1:] = ends[:, :-1] + 1
    starts[0, 0], starts[1:, 0] = 0, lines[:-1] + 1
    return Cells(text, starts, ends)
