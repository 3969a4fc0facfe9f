"""csv and jsonl: a row an item, its content in columns (pixels, a text) or in a file it names."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from ..job import Item
from .digits import cells_of
from .lines import Records
from .sources import Source, inside
from .stack import Stack


@dataclass(frozen=True, slots=True)
class Pixels:
    """Which columns are an image, row after row; maximum becomes 255."""

    height: int
    width: int
    first: int = 0
    channels: int = 1
    maximum: float = 255.0

    def image(self, cells: list[str]) -> np.ndarray:
        """The image's pixels, 0–255: [height, width] or [height, width, channels]."""
        count = self.count
        told = cells[self.first : self.first + count]
        if len(told) != count:
            raise ValueError(f"{len(told)} pixels; {count} are expected")
        # Four times as fast as numpy's own reading of text.
        return self.images(np.fromiter(map(float, told), np.float32, count)[np.newaxis])[0]

    @property
    def count(self) -> int:
        return self.height * self.width * self.channels

    def images(self, values: np.ndarray) -> np.ndarray:
        """Images of [images, cells] numbers."""
        if self.maximum != 255:
            values = values.astype(np.float32) * np.float32(255 / self.maximum)
        if values.dtype.kind == "f":
            values = np.rint(values)
        shape = (self.height, self.width, self.channels)
        pixels = values.clip(0, 255).astype(np.uint8)
        return pixels.reshape(-1, *(shape if self.channels > 1 else shape[:2]))


class Csv:
    """A table with or without a header; columns by name, or by number from 0."""

    def __init__(self, source: Source) -> None:
        self._source, self.labels = source, source.labels
        self._delimiter = source.parameter("delimiter", ",").replace("\\t", "\t")
        header = source.parameter("header", True)
        try:
            path = source.plain("data")
            self._records = Records(path, quoted=True)
            self._names = self._cells(0) if header and len(self._records) else []
            self._first = 1 if header else 0
        except (OSError, UnicodeDecodeError) as error:
            raise source.unreadable("data", str(error)) from error
        self._columns = {
            role: self._column(given)
            for role in ("label", "file", "text", "answer")
            if (given := source.parameter(f"{role}_column", ""))
        }
        pixels = source.parameter("pixels", None)
        self._pixels = _pixels(source, pixels) if pixels else None
        if not (self._pixels or self._columns.keys() & {"file", "text"}):
            text = f"dataset {source.name}: say what an item is: pixels, file_column or text_column"
            raise WorkerError("request", text)

    def __len__(self) -> int:
        return len(self._records) - self._first

    def item(self, number: int) -> Item:
        where = f"row {number + self._first + 1}"
        try:
            cells = self._cells(number + self._first)
            values = {role: cells[column] for role, column in self._columns.items()}
            array = self._pixels.image(cells) if self._pixels else None
        except (ValueError, IndexError, csv.Error) as error:
            raise self._source.unreadable("data", f"{where}: {error}") from error
        return made(self._source, number, values, array)

    def stack(self, numbers: Sequence[int]) -> Stack | None:
        """Rows of plain pixels, all at once; others are read one by one, and said to be wrong."""
        if not self._pixels or self._delimiter != "," or "file" in self._columns:
            return None
        raw = [self._records.raw(number + self._first).rstrip(b"\r\n") for number in numbers]
        cells = cells_of(raw)
        if cells is None or max(self._columns.values(), default=0) >= cells.ends.shape[1]:
            return None
        values = cells.numbers(self._pixels.first, self._pixels.count)
        if values is None:
            return None
        images = self._pixels.images(values)
        told = {role: cells.column(column) for role, column in self._columns.items()}
        rows = [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]
        items = [
            made(self._source, number, row, image)
            for number, row, image in zip(numbers, rows or [{}] * len(raw), images, strict=True)
        ]
        return Stack([item.name for item in items], images, [item.truth for item in items])

    def _cells(self, record: int) -> list[str]:
        return next(csv.reader([self._records.text(record)], delimiter=self._delimiter), [])

    def _column(self, given: str) -> int:
        if given in self._names:
            return self._names.index(given)
        if given.isdecimal():
            return int(given)
        raise unknown(f"column of dataset {self._source.name}", given, self._names)


class JsonLines:
    """A JSON object a line."""

    def __init__(self, source: Source) -> None:
        self._source, self.labels = source, source.labels
        try:
            self._records = Records(source.plain("data"))
        except OSError as error:
            raise source.unreadable("data", str(error)) from error
        self._fields = {
            role: given
            for role in ("label", "file", "text", "answer")
            if (given := source.parameter(f"{role}_field", ""))
        }
        if not self._fields.keys() & {"file", "text"}:
            text = f"dataset {source.name}: say what an item is: file_field or text_field"
            raise WorkerError("request", text)

    def __len__(self) -> int:
        return len(self._records)

    def item(self, number: int) -> Item:
        try:
            row = json.loads(self._records.text(number))
            values = {role: row.get(name, "") for role, name in self._fields.items()}
        except (ValueError, AttributeError) as error:
            text = f"line {number + 1} is no JSON object: {error}"
            raise self._source.unreadable("data", text) from error
        return made(self._source, number, values, None)


def made(source: Source, number: int, values: Mapping[str, Any], array: Any) -> Item:
    """The item of a row: its content, and what is true of it."""
    where, name = f"row {number}", f"{source.name}#{number}"
    truth = source.truth(values.get("label", ""), where)
    if answer := str(values.get("answer", "")):
        truth = {**(truth or {}), "text": answer}
    if file := str(values.get("file", "")):
        path = inside(source.path("images"), file, f"dataset {source.name}, {where}")
        return Item(name=file, path=str(path), truth=truth)
    if array is not None:
        return Item(name=name, array=array, truth=truth)
    return Item(name=name, data=str(values.get("text", "")).encode(), truth=truth)


def _pixels(source: Source, given: Mapping[str, Any]) -> Pixels:
    try:
        numbers = {k: float(v) if k == "maximum" else int(v) for k, v in given.items()}
        pixels = Pixels(**numbers)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        text = f"dataset {source.name}: pixels cannot be read: {error}"
        raise WorkerError("request", f"{text}; height and width are expected") from error
    if min(pixels.height, pixels.width, pixels.channels, pixels.maximum) <= 0 or pixels.first < 0:
        text = f"dataset {source.name}: pixels has {dict(given)}; sizes above 0 are expected"
        raise WorkerError("request", text)
    return pixels


def table_of(path: Path, delimiter: str) -> list[list[str]]:
    """A small table as a whole: a labels file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.reader(file, delimiter=delimiter) if row]
