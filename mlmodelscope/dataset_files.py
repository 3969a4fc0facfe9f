"""A dataset from a person's own disk, and the way of its files to the node that runs it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.errors import InputError
from bus.messages import DatasetFile, DatasetManifest
from manifests.datasets import read_dataset
from mlmodelscope.packed_folder import packed

LIMIT_BYTES = 256 << 20
"""What one file or folder may hold to be sent along; larger ones must lie where the node is."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_own(dataset: str) -> bool:
    """Whether a person means something on their disk: a manifest file, a folder, or any path."""
    is_path = dataset.startswith((".", "/", "~")) or dataset.endswith((".yml", ".yaml", "/"))
    return is_path or Path(dataset).is_dir()


async def dataset_from_disk(bus: Bus, path: Path) -> DatasetManifest:
    """A dataset's manifest, or a folder with a sub-folder a class; its files can then be had.

    Raises ManifestError with every fault, InputError naming what is missing or too large.
    """
    if path.is_dir():
        files = {"images": DatasetFile(url=f"{path.resolve()}/")}
        name = path.resolve().name.replace("@", "-") or "images"
        dataset = DatasetManifest(name=name, version="0.0.0", format="image_folder", files=files)
        return replace(dataset, files=await _sent(bus, dataset, Path("/")))
    if not path.exists():
        raise InputError(f"{path}: no such dataset: expected a manifest (.yml) or a folder")
    dataset = read_dataset(path)
    labels, checksum = dataset.labels_url, dataset.labels_checksum
    if labels and "://" not in labels:
        labels, found = await _file(bus, path.parent / labels, f"{path}: labels_url")
        checksum = checksum or found
    files = await _sent(bus, dataset, path.parent)
    return replace(dataset, files=files, labels_url=labels, labels_checksum=checksum)


def missing(path: Path, dataset: DatasetManifest) -> list[str]:
    """The files of a manifest that do not lie where it says, each with its field."""
    return [
        f"{path}: {field}: no such file or folder: {path.parent / url} (paths are relative to the "
        "manifest)"
        for field, url in named_files(dataset)
        if not (path.parent / url).exists()
    ]


def named_files(dataset: DatasetManifest) -> list[tuple[str, str]]:
    """Every field that names a file by its path, and the path."""
    named = {f"files.{role}": file.url for role, file in dataset.files.items()}
    named["labels_url"] = dataset.labels_url
    return [(field, url) for field, url in named.items() if url and "://" not in url]


async def _sent(bus: Bus, dataset: DatasetManifest, folder: Path) -> dict[str, DatasetFile]:
    """The files with addresses that a node can fetch; paths are relative to the manifest."""
    files = {}
    for role, file in dataset.files.items():
        if "://" in file.url:
            files[role] = file
            continue
        place, where = folder / file.url, f"{dataset.name}: files.{role}"
        if place.is_dir():
            files[role] = await _folder(bus, place, where)
            continue
        url, checksum = await _file(bus, place, where)
        files[role] = replace(file, url=url, checksum=file.checksum or checksum)
    return files


async def _file(bus: Bus, path: Path, where: str) -> tuple[str, str]:
    if not path.is_file():
        raise InputError(f"{where}: no such file: {path} (paths are relative to the manifest)")
    if path.stat().st_size > LIMIT_BYTES:
        return _in_place(bus, path, where), ""
    return await put_file(bus, path)


async def _folder(bus: Bus, path: Path, where: str) -> DatasetFile:
    """Where bus and node are on this machine the folder is read in place; else it is sent."""
    if _is_local(bus):
        return DatasetFile(url=_in_place(bus, path, where) + "/")
    if sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) > LIMIT_BYTES:
        return DatasetFile(url=_in_place(bus, path, where) + "/")
    with packed(path) as archive:
        url, checksum = await put_file(bus, archive)
    return DatasetFile(url=url, checksum=checksum, is_archive=True, path=path.resolve().name)


def _in_place(bus: Bus, path: Path, where: str) -> str:
    if not _is_local(bus):
        text = f"{where}: {path} holds more than {LIMIT_BYTES >> 20} MiB, too much to send along"
        raise InputError(f"{text}: put it at an http(s):// address that the nodes reach")
    return path.resolve().as_uri()


def _is_local(bus: Bus) -> bool:
    return (urlsplit(bus.url.split(",")[0]).hostname or "") in LOOPBACK


async def put_file(bus: Bus, path: Path) -> tuple[str, str]:
    """A file's address on the bus and its checksum, once it is there."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"models/{sha256}/{path.name}"
    objects = await bus.objects(subjects.MODEL_OBJECTS)
    if not await objects.has(name):
        await objects.put(name, path)
    return f"repo://{name}", f"sha256:{sha256}"
