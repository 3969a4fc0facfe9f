"""A manifest from a person's own file: its files are put on the bus, so that any node has them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from bus import subjects
from bus.connection import Bus
from bus.errors import InputError
from bus.messages import Manifest
from manifests.catalog import read

LIMIT_BYTES = 4 << 30


def is_file(model: str) -> bool:
    """Whether a person means a manifest file: `x.yml`, `x.yaml`, or a path."""
    return model.endswith((".yml", ".yaml"))


async def from_file(bus: Bus, path: Path) -> Manifest:
    """Read and check a manifest; relative graph and weights paths become objects on the bus.

    Raises ManifestError with every fault, InputError naming a file that is not there.
    """
    if not path.exists():
        raise InputError(f"{path}: no such manifest")
    manifest = read(path)
    resources = manifest.model
    changed = {}
    for field, check in (("graph_path", "graph_checksum"), ("weights_path", "weights_checksum")):
        named = getattr(resources, field)
        if named and "://" not in named and not resources.base_url:
            url, checksum = await _upload(bus, path.parent / named, f"{path}: model.{field}")
            changed[field] = url
            changed[check] = getattr(resources, check) or checksum
    return msgspec.structs.replace(manifest, model=msgspec.structs.replace(resources, **changed))


async def _upload(bus: Bus, path: Path, where: str) -> tuple[str, str]:
    if not path.is_file():
        raise InputError(f"{where}: no such file: {path} (paths are relative to the manifest)")
    if path.stat().st_size > LIMIT_BYTES:
        raise InputError(f"{where}: {path} is larger than {LIMIT_BYTES} bytes")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"models/{sha256}/{path.name}"
    objects = await bus.objects(subjects.MODEL_OBJECTS)
    if not await objects.has(name):
        await objects.put(name, path)
    return f"repo://{name}", f"sha256:{sha256}"
