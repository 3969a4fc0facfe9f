"""What a dataset's manifest names, as files on this machine, and the dataset in facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from bus.codec import content_digest
from bus.errors import AssetError
from bus.messages import DatasetFile, DatasetManifest
from predictor_node.model_files import Fetch

LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def fetch_dataset(
    dataset: DatasetManifest, bus_url: str, fetch: Fetch, unpacked: Fetch
) -> dict[str, Any]:
    """A dataset in the worker's words, with every file at hand."""
    files = {}
    for role, file in dataset.files.items():
        where = f"dataset {dataset.name}: files.{role}"
        if file.url.startswith("file://"):
            files[role] = in_place(file.url, bus_url, where)
        elif file.is_archive:
            files[role] = _inside(await unpacked(file.url, file.checksum), file, where)
        else:
            files[role] = await fetch(file.url, file.checksum)
    labels = ""
    if dataset.labels_url:
        labels = str(await fetch(dataset.labels_url, dataset.labels_checksum))
    return {
        "name": dataset.name,
        "version": dataset.version,
        "format": dataset.format,
        "files": {role: str(path) for role, path in files.items()},
        "parameters": dataset.parameters,
        "labels": dataset.labels,
        "labels_file": labels,
        "select": msgspec.to_builtins(dataset.select),
    }


def in_place(url: str, bus_url: str, where: str) -> Path:
    """A file:// path, where the bus is on this very machine: others must not look into it."""
    if (urlsplit(bus_url.split(",")[0]).hostname or "") not in LOOPBACK:
        text = f"{where}: {url} is a path of one machine, and this node's bus is not on its own"
        raise AssetError(f"{text}: put it at an http(s):// address, or send it by the bus")
    path = Path(unquote(urlsplit(url).path))
    if not path.exists():
        raise AssetError(f"{where}: {path} is not on this node's machine")
    return path


def _inside(folder: Path, file: DatasetFile, where: str) -> Path:
    """The part of an unpacked archive that is meant."""
    path = (folder / file.path).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.exists():
        there = ", ".join(sorted(found.name for found in folder.iterdir())[:8])
        raise AssetError(f"{where}: {file.path!r} is not in {file.url}, which holds {there}")
    return path


def dataset_facts(dataset: DatasetManifest | None) -> dict[str, str]:
    """What JobStarted says of the dataset."""
    if dataset is None:
        return {}
    return {
        "dataset": dataset.name,
        "dataset_version": dataset.version,
        "dataset_digest": content_digest(dataset),
    }
