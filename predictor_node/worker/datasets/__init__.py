"""Labelled data, item by item: what lies in files becomes items with what is true of them.

A reader is a class with `labels` (class names, empty where they are not known), `__len__` and
`item(number)`: nothing is read before its item is asked for, beyond an index of where things lie.
One whose items are arrays may have `stack(numbers)` too: these items at once, equal to one by one,
or None where they must be read one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import WorkerError, unknown
from ..job import Item
from .arrays import Numpy, Package
from .binary import Cifar, Mnist
from .coco import Coco
from .folders import ImageFolder, Images
from .selection import Selection, read_selection, selected
from .sources import Reader, Source, read_labels
from .stack import Stack
from .tables import Csv, JsonLines

READERS: dict[str, Callable[[Source], Reader]] = {
    "images": Images,
    "image_folder": ImageFolder,
    "coco": Coco,
    "mnist": Mnist,
    "cifar": Cifar,
    "csv": Csv,
    "jsonl": JsonLines,
    "numpy": Numpy,
    "package": Package,
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """The selected items of one dataset, in the order in which they count."""

    name: str
    reader: Reader
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def stack(self, numbers: Sequence[int]) -> Stack | None:
        """These items at once, where the reader can."""
        read = getattr(self.reader, "stack", None)
        return read(numbers) if read is not None else None

    def __iter__(self) -> Iterator[Item]:
        for number in self.numbers:
            yield self.reader.item(number)


def open_dataset(sent: Mapping[str, Any], folder: str, limit: int = 0) -> Dataset:
    """The dataset of a `run` command; `folder`: where what is compressed may be unpacked."""
    name, form = str(sent.get("name", "dataset")), sent.get("format")
    if form not in READERS:
        raise unknown("dataset format", form, READERS)
    if type(limit) is not int or limit < 0:
        raise WorkerError("request", f"limit is {limit!r}; a number of items from 0 is expected")
    labels = [str(label) for label in sent.get("labels") or []]
    if not labels and sent.get("labels_file"):
        labels = read_labels(sent["labels_file"])
    source = Source(name, sent.get("files") or {}, sent.get("parameters") or {}, labels, folder)
    reader = READERS[form](source)
    if not len(reader):
        raise WorkerError("asset", f"dataset {name} holds no items; at least one is expected")
    selection: Selection = read_selection(sent.get("select") or {})
    return Dataset(name, reader, selected(len(reader), selection, limit))
