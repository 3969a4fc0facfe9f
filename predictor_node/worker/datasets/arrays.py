"""numpy and package: items as rows of an array, from a file or from a library's own function."""

from __future__ import annotations

import importlib
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from ..job import Item
from .sources import Source
from .stack import Stack

PACKAGED = {
    "sklearn.datasets:load_digits": 16.0,
    "sklearn.datasets:load_iris": 0.0,
    "sklearn.datasets:load_wine": 0.0,
    "sklearn.datasets:load_breast_cancer": 0.0,
}
"""The functions that may be called: they read what lies inside their package, and nothing else.
The number: which value is white, for images; 0: the rows are tensors."""


class Rows:
    """Items by the first axis of one array, labels by the same place of another."""

    def __init__(self, source: Source, items: Any, labels: Any, names: list[str]) -> None:
        self._source, self._items, self._labels = source, items, labels
        self.labels = names
        if items.ndim < 2 or (labels is not None and labels.shape[:1] != items.shape[:1]):
            found = f"items are {list(items.shape)}"
            found += f", labels {list(labels.shape)}" if labels is not None else ""
            text = f"dataset {source.name}: {found}; [N, …] and [N] are expected"
            raise WorkerError("asset", text)

    def __len__(self) -> int:
        return len(self._items)

    def item(self, number: int) -> Item:
        name = f"{self._source.name}#{number}"
        return Item(name, array=np.array(self._items[number]), truth=self._truth(number, name))

    def stack(self, numbers: Sequence[int]) -> Stack:
        names = [f"{self._source.name}#{number}" for number in numbers]
        truths = [self._truth(*named) for named in zip(numbers, names, strict=True)]
        return Stack(names, np.asarray(self._items[np.asarray(numbers)]), truths)

    def _truth(self, number: int, name: str) -> dict[str, Any] | None:
        if self._labels is None:
            return None
        label = np.asarray(self._labels[number])
        if label.ndim:
            text = f"{name} has labels of shape {list(label.shape)}; one class is expected"
            raise WorkerError("asset", text)
        return self._source.truth(label.item(), name)


class Numpy(Rows):
    """An .npy of items with another of labels beside it, or an .npz of both; never pickles."""

    def __init__(self, source: Source) -> None:
        data = source.plain("data")
        labels = None
        if zipfile.is_zipfile(data):
            items = _member(source, data, source.parameter("items", "images"))
            needed = "labels" in source.parameters
            labels = _member(source, data, source.parameter("labels", "labels"), needed)
        else:
            items = _array(source, "data", data)
            if source.has("labels"):
                labels = _array(source, "labels", source.plain("labels"))
        super().__init__(source, items, labels, source.labels)


def _array(source: Source, role: str, path: Path) -> Any:
    """An array that stays in its file until a row of it is asked for."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        text = f"{error}; an .npy file of numbers is expected"
        raise source.unreadable(role, text) from error


def _member(source: Source, path: Path, name: str, needed: bool = True) -> Any:
    """One array of an .npz, unpacked beside, so that it need not be in memory as a whole."""
    with zipfile.ZipFile(path) as archive:
        names = [each.removesuffix(".npy") for each in archive.namelist()]
        if name not in names:
            if not needed:
                return None
            raise unknown(f"array of dataset {source.name}", name, names)
        unpacked = Path(source.folder) / f"array-{names.index(name)}.npy"
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(f"{name}.npy") as packed, unpacked.open("wb") as file:
            shutil.copyfileobj(packed, file)
    return _array(source, "data", unpacked)


class Package(Rows):
    """What a function of an installed package gives: one of a short list."""

    def __init__(self, source: Source) -> None:
        function = str(source.parameter("function", ""))
        if function not in PACKAGED:
            raise unknown("function of a package", function, PACKAGED)
        module, _, name = function.partition(":")
        try:
            made = getattr(importlib.import_module(module), name)()
        except ImportError as error:
            text = f"dataset {source.name} is made by {function}, and it cannot be imported here"
            raise WorkerError("asset", f"{text}: {error}; install the package") from error
        white = PACKAGED[function]
        items = made.images * (255 / white) if white else made.data.astype(np.float32)
        items = np.rint(items).astype(np.uint8) if white else items
        names = source.labels or [str(name) for name in made.target_names]
        super().__init__(source, items, made.target, names)
