"""mnist and cifar: images and labels as bytes at fixed places of a file."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ..errors import WorkerError
from ..job import Item
from .sources import Source
from .stack import Stack

IDX_BYTES = 0x08
"""IDX's code for unsigned bytes."""
SIDE, PIXELS = 32, 3 * 32 * 32


class Mnist:
    """The IDX files of MNIST and of those made like it, plain or gzip."""

    def __init__(self, source: Source) -> None:
        self._source, self.labels = source, source.labels
        self._images, self._truths = _idx(source, "images"), _idx(source, "labels")
        shapes = self._images.shape, self._truths.shape
        if self._images.ndim != 3 or shapes[1] != shapes[0][:1]:
            text = f"dataset {source.name}: images are {list(shapes[0])}, labels {list(shapes[1])}"
            raise WorkerError("asset", f"{text}; [N, height, width] and [N] are expected")

    def __len__(self) -> int:
        return len(self._images)

    def item(self, number: int) -> Item:
        name = f"{self._source.name}#{number}"
        truth = self._source.truth(int(self._truths[number]), name)
        return Item(name=name, array=np.array(self._images[number]), truth=truth)

    def stack(self, numbers: Sequence[int]) -> Stack:
        places = np.asarray(numbers)
        names = [f"{self._source.name}#{number}" for number in numbers]
        labels = self._truths[places].tolist()
        truths = [self._source.truth(*told) for told in zip(labels, names, strict=True)]
        return Stack(names, np.asarray(self._images[places]), truths)


def _idx(source: Source, role: str) -> Any:
    path = source.plain(role)
    try:
        with path.open("rb") as file:
            head = file.read(4)
            rank = head[3] if len(head) == 4 else 0
            shape = np.frombuffer(file.read(4 * rank), ">u4").tolist()
    except (OSError, ValueError) as error:
        raise source.unreadable(role, str(error)) from error
    if head[:3] != bytes((0, 0, IDX_BYTES)) or not 1 <= rank <= 3:
        text = f"it begins with {head.hex()}; an IDX file of bytes begins with 000008"
        raise source.unreadable(role, text)
    wanted = 4 + 4 * rank + math.prod(shape)
    if (size := path.stat().st_size) != wanted:
        raise source.unreadable(role, f"{size} bytes; an IDX file of {shape} has {wanted}")
    return np.memmap(path, np.uint8, "r", 4 + 4 * rank, tuple(shape))


class Cifar:
    """The binary versions of CIFAR-10 and CIFAR-100; `data`, `data2` … one after the other."""

    def __init__(self, source: Source) -> None:
        self._source, self.labels = source, source.labels
        hundred = str(source.parameter("classes", "10")) == "100"
        fine = source.parameter("label", "fine") == "fine"
        self._labels, self._column = (2, 1 if fine else 0) if hundred else (1, 0)
        roles = sorted((role for role in source.files if role.startswith("data")), key=_place)
        self._parts = [self._part(role) for role in roles or ["data"]]
        self._ends = list(accumulate(len(part) for part in self._parts))

    def _part(self, role: str) -> Any:
        path, record = self._source.plain(role), self._labels + PIXELS
        with path.open("rb") as file:
            first = file.read(1)
        size = path.stat().st_size
        if not size or size % record:
            text = f"{size} bytes; records of {record} are expected"
            if first == b"\x80":
                text = "it is a Python pickle, which can run anything: take the binary version"
            raise self._source.unreadable(role, text)
        return np.memmap(path, np.uint8, "r", shape=(size // record, record))

    def __len__(self) -> int:
        return self._ends[-1]

    def item(self, number: int) -> Item:
        name, row = f"{self._source.name}#{number}", self._record(number)
        planes = row[self._labels :].reshape(3, SIDE, SIDE)
        truth = self._source.truth(int(row[self._column]), name)
        return Item(name=name, array=np.ascontiguousarray(planes.transpose(1, 2, 0)), truth=truth)

    def stack(self, numbers: Sequence[int]) -> Stack:
        names = [f"{self._source.name}#{number}" for number in numbers]
        rows = np.stack([self._record(number) for number in numbers])
        planes = rows[:, self._labels :].reshape(-1, 3, SIDE, SIDE)
        labels = rows[:, self._column].tolist()
        truths = [self._source.truth(*told) for told in zip(labels, names, strict=True)]
        return Stack(names, np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), truths)

    def _record(self, number: int) -> Any:
        part = bisect_right(self._ends, number)
        return self._parts[part][number - (self._ends[part - 1] if part else 0)]


def _place(role: str) -> int:
    number = role.removeprefix("data")
    return int(number) if number.isdecimal() else 1
