"""images, image_folder: files in a folder, labelled by a file, by pictures, or by sub-folders."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import WorkerError, unknown
from ..job import Item
from .sources import Source, inside
from .tables import table_of

NO_CLASS = 65535
VOID = 255
"""In a mask of 8 bits: of no class, as Pascal VOC has it."""


class ImageFolder:
    """A sub-folder a class, its name the label; classes and files in the order of their names."""

    def __init__(self, source: Source) -> None:
        folder = _folder(source)
        classes = sorted(path.name for path in folder.iterdir() if _shown(path) and path.is_dir())
        if not classes:
            text = f"dataset {source.name}: {folder.name} holds no folders; one a class is expected"
            raise WorkerError("asset", text)
        self.labels = source.labels or classes
        if missing := [name for name in classes if name not in self.labels]:
            fault = unknown("class", missing[0], self.labels)
            raise WorkerError("asset", f"dataset {source.name}: {fault.text}")
        numbers = {name: number for number, name in enumerate(self.labels)}
        self._folder = folder
        self._files = [
            (path.relative_to(folder).as_posix(), numbers[name])
            for name in classes
            for path in sorted((folder / name).rglob("*"))
            if path.is_file() and _shown(path)
        ]

    def __len__(self) -> int:
        return len(self._files)

    def item(self, number: int) -> Item:
        name, index = self._files[number]
        truth = {"index": index, "label": self.labels[index]}
        return Item(name=name, path=str(self._folder / name), truth=truth)


class Images:
    """Files of one folder: labels in a file, masks or target pictures in a folder beside it."""

    def __init__(self, source: Source) -> None:
        self._source, self.labels = source, source.labels
        self._folder = _folder(source)
        self._others = {
            role: {path.stem: path for path in sorted(source.path(role).iterdir())}
            for role in ("masks", "targets")
            if source.has(role)
        }
        if source.has("labels"):
            self._files = labels_by_file(source)
        else:
            paths = sorted(p for p in self._folder.rglob("*") if p.is_file() and _shown(p))
            self._files = [(path.relative_to(self._folder).as_posix(), "") for path in paths]

    def __len__(self) -> int:
        return len(self._files)

    def item(self, number: int) -> Item:
        name, label = self._files[number]
        path = inside(self._folder, name, f"dataset {self._source.name}")
        if not path.is_file():
            text = f"dataset {self._source.name}: its labels name {name}, and there is no such file"
            raise WorkerError("asset", text)
        truth = self._source.truth(label, name)
        if "masks" in self._others:
            truth = {**(truth or {}), "map": _mask(self._other("masks", path))}
        if "targets" in self._others:
            truth = {**(truth or {}), "image": _picture(self._other("targets", path))}
        return Item(name=name, path=str(path), truth=truth)

    def _other(self, role: str, path: Path) -> Path:
        found = self._others[role].get(path.stem)
        if found is None:
            text = f"dataset {self._source.name}: {role} holds nothing for {path.name}"
            raise WorkerError("asset", f"{text}; a file {path.stem}.png is expected")
        return found


def labels_by_file(source: Source) -> list[tuple[str, str]]:
    """A labels file as (file, label), in its order: csv, tsv, json, or lines `file label`."""
    path = source.path("labels")
    # Fetched files have lost their endings: what is in them tells.
    try:
        text = path.read_text("utf-8-sig")
        if text.lstrip()[:1] in ("{", "["):
            return _from_json(json.loads(text))
        first = text.split("\n", 1)[0]
        if "\t" in first or "," in first:
            rows = table_of(path, "\t" if "\t" in first else ",")
            return _from_table(source, rows)
        pairs = [line.strip().rsplit(maxsplit=1) for line in text.splitlines() if line.strip()]
        return [(pair[0], pair[1] if len(pair) > 1 else "") for pair in pairs]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise source.unreadable("labels", f"{type(error).__name__}: {error}") from error


def _from_json(found: Any) -> list[tuple[str, str]]:
    if isinstance(found, dict):
        return [(str(name), str(label)) for name, label in found.items()]
    return [(str(row["file"]), str(row.get("label", ""))) for row in found]


def _from_table(source: Source, rows: list[list[str]]) -> list[tuple[str, str]]:
    columns = []
    header = source.parameter("header", True)
    for role, number in (("file", 0), ("label", 1)):
        name = source.parameter(f"{role}_column", role)
        if header and name in rows[0]:
            columns.append(rows[0].index(name))
        elif name.isdecimal() or not header:
            columns.append(int(name) if name.isdecimal() else number)
        else:
            raise unknown(f"column of dataset {source.name}'s labels", name, rows[0])
    file, label = columns
    return [
        (row[file], row[label] if label < len(row) else "") for row in rows[1 if header else 0 :]
    ]


def _folder(source: Source) -> Path:
    folder = source.path("images")
    if not folder.is_dir():
        text = f"dataset {source.name}: images is {folder.name}, which is no folder"
        raise WorkerError("asset", f"{text}; name a folder (…/) or an archive of one")
    return folder


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _mask(path: Path) -> dict[str, Any]:
    """A picture of class numbers as a class map; 255 in one of 8 bits is no class."""
    pixels = _opened(path)
    if pixels.ndim != 2:
        text = f"the mask {path.name} has {pixels.shape[2]} channels; one of class numbers"
        raise WorkerError("asset", f"{text} is expected")
    numbers = pixels.astype("<u2")
    if pixels.dtype == np.uint8:
        numbers[pixels == VOID] = NO_CLASS
    height, width = numbers.shape
    return {"height": height, "width": width, "block": zlib.compress(numbers.tobytes(), 1)}


def _picture(path: Path) -> dict[str, Any]:
    pixels = _opened(path)
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    return {"dtype": "uint8", "shape": list(pixels.shape), "data": pixels.tobytes()}


def _opened(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError) as error:
        raise WorkerError("asset", f"{path.name} cannot be decoded: {error}") from error
