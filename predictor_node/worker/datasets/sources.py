"""What readers share: the files of a dataset by role, its labels, and paths that stay inside."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import WorkerError, unknown
from ..job import Item
from ..outputs.labels import read_labels

__all__ = ("Reader", "Source", "read_labels")

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
MAX_UNPACKED_BYTES = 64 << 30


class Reader(Protocol):
    """What every format is read by."""

    labels: list[str]

    def __len__(self) -> int: ...

    def item(self, number: int) -> Item: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset as its manifest describes it, its files on this machine."""

    name: str
    files: Mapping[str, str]
    parameters: Mapping[str, Any]
    labels: list[str]
    folder: str
    _numbers: dict[str, int] = field(default_factory=dict)

    def parameter(self, name: str, default: Any) -> Any:
        """A parameter, of the type of its default; text is read as what is wanted."""
        value = self.parameters.get(name, default)
        try:
            if isinstance(default, bool) and isinstance(value, str):
                return {"true": True, "false": False}[value.lower()]
            return value if default is None else type(default)(value)
        except (KeyError, TypeError, ValueError) as error:
            kind = type(default).__name__
            text = f"dataset {self.name}: parameter {name} is {value!r}; a {kind} is expected"
            raise WorkerError("request", text) from error

    def path(self, role: str) -> Path:
        """The file or folder of a role."""
        if not self.files.get(role):
            raise WorkerError("request", f"dataset {self.name} names no file for {role!r}")
        return Path(self.files[role])

    def has(self, role: str) -> bool:
        return bool(self.files.get(role))

    def plain(self, role: str) -> Path:
        """The file of a role as it can be read from any place: a gzip file is unpacked first."""
        path = self.path(role)
        try:
            with path.open("rb") as file:
                if file.read(2) != GZIP_MAGIC:
                    return path
            unpacked = Path(self.folder) / f"{role}.{os.getpid()}.plain"
            if not unpacked.exists():
                self._unpack(path, unpacked)
            return unpacked
        except (OSError, EOFError) as error:
            raise self.unreadable(role, str(error)) from error

    def _unpack(self, path: Path, unpacked: Path) -> None:
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        draft = unpacked.with_suffix(".draft")
        room = min(MAX_UNPACKED_BYTES, shutil.disk_usage(unpacked.parent).free // 2)
        with gzip.open(path) as packed, draft.open("wb") as file:
            while chunk := packed.read(CHUNK_BYTES):
                room -= len(chunk)
                if room < 0:
                    text = f"dataset {self.name}: {path.name} unpacks to more than there is room"
                    raise WorkerError("asset", f"{text} for in {self.folder}")
                file.write(chunk)
        draft.replace(unpacked)

    def unreadable(self, role: str, why: str) -> WorkerError:
        return WorkerError("asset", f"dataset {self.name}: {role} cannot be read: {why}")

    def truth(self, label: Any, where: str) -> dict[str, Any] | None:
        """What a label means: a name of the table, or a class's number; None where it is empty."""
        text = str(label).strip()
        if not text:
            return None
        if not self._numbers and self.labels:
            self._numbers.update({name: number for number, name in enumerate(self.labels)})
        if text in self._numbers:
            return {"index": self._numbers[text], "label": text}
        number = _whole(text)
        if number is not None and 0 <= number < (len(self.labels) or number + 1):
            return {"index": number, "label": self.labels[number] if self.labels else ""}
        if self.labels:
            fault = unknown(f"label in {where}", text, self.labels)
            raise WorkerError("asset", f"dataset {self.name}: {fault.text}")
        text = f"dataset {self.name}: {where} has the label {text!r}, which is no class's number"
        raise WorkerError("asset", f"{text}; name the classes in the manifest's labels")


def _whole(text: str) -> int | None:
    try:
        value = float(text)
        return int(value) if value.is_integer() else None
    except (ValueError, OverflowError):
        return None


def inside(folder: Path, name: str, where: str) -> Path:
    """The file of this name in a folder, and never one outside of it."""
    path = folder / name
    if not os.path.abspath(path).startswith(os.path.abspath(folder) + os.sep):
        raise WorkerError("asset", f"{where} names {name!r}, which lies outside of the images")
    return path
