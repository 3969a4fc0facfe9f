"""A manifest from a person's own file: the files that it names are put on the bus, for any node."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.errors import InputError
from bus.messages import Manifest, ModelResources
from manifests.catalog import read
from mlmodelscope.packed_folder import packed

LIMIT_BYTES = 4 << 30
S = TypeVar("S", bound=Struct)


def is_file(model: str) -> bool:
    """Whether a person means a manifest file: `x.yml`, `x.yaml`, or a path."""
    return model.endswith((".yml", ".yaml"))


async def from_file(bus: Bus, path: Path) -> Manifest:
    """Read and check a manifest; every file that it names by a path becomes an object on the bus.

    These are the graph, the weights or their archive, labels, tokenizers and samples, each with
    its checksum. A person's own file may name any path of theirs. Raises ManifestError with every
    fault, InputError naming each file that is not there, with the field that names it.
    A graph that is a folder travels as an archive.
    """
    manifest = await asyncio.to_thread(whole, path)
    return await _sent(_Sender(bus, path), manifest)


def whole(path: Path) -> Manifest:
    """Read and check a manifest whose files lie beside it; the errors are those of from_file."""
    if not path.exists():
        raise InputError(f"{path}: no such manifest")
    manifest = read(path)
    missing = [
        f"{path}: {field}: no such file: {path.parent / named} (paths are relative to the manifest)"
        for field, named in named_files(manifest)
        if not _is_there(path.parent / named, field, manifest)
    ]
    if missing:
        raise InputError("\n".join(missing))
    return manifest


def _is_there(path: Path, field: str, manifest: Manifest) -> bool:
    """Whether a file is there; a graph alone may be a folder, which travels as an archive."""
    if field == "model.graph_path" and not manifest.model.weights_path and path.is_dir():
        return any(path.iterdir())
    return path.is_file()


def named_files(manifest: Manifest) -> list[tuple[str, str]]:
    """Every field that names a file by its path, and the path."""
    model = manifest.model
    named = []
    if model.is_archive:
        named.append(("model.base_url", model.base_url))
    elif not _is_address(model.base_url):
        for name in ("graph_path", "weights_path"):
            named.append((f"model.{name}", _under(model.base_url, getattr(model, name))))
    for index, one in enumerate(manifest.inputs):
        named.append((f"inputs[{index}].parameters.tokenizer", one.parameters.tokenizer))
    for index, output in enumerate(manifest.outputs):
        for name in ("url", "features_url"):
            named.append((f"outputs[{index}].parameters.{name}", getattr(output.parameters, name)))
    named += [(f"samples[{index}].url", one.url) for index, one in enumerate(manifest.samples)]
    return [(field, path) for field, path in named if path and not _is_address(path)]


def _is_address(text: str) -> bool:
    return "://" in text


def _under(base: str, path: str) -> str:
    """A path inside a folder; an address, or nothing, stays what it is."""
    return f"{base.rstrip('/')}/{path}" if base and path and not _is_address(path) else path


async def _sent(sender: _Sender, manifest: Manifest) -> Manifest:
    inputs = [
        replace(one, parameters=await sender.sent(one.parameters, "tokenizer"))
        for one in manifest.inputs
    ]
    outputs = []
    for output in manifest.outputs:
        parameters = await sender.sent(output.parameters, "url", "checksum")
        parameters = await sender.sent(parameters, "features_url", "features_checksum")
        outputs.append(replace(output, parameters=parameters))
    samples = [await sender.sent(one, "url", "checksum") for one in manifest.samples]
    model = await _sent_model(sender, manifest.model)
    return replace(manifest, inputs=inputs, outputs=outputs, samples=samples, model=model)


async def _sent_model(sender: _Sender, model: ModelResources) -> ModelResources:
    if model.is_archive:
        return await sender.sent(model, "base_url", "archive_checksum")
    if _is_address(model.base_url):
        return model
    graph, weights = (_under(model.base_url, p) for p in (model.graph_path, model.weights_path))
    model = replace(model, base_url="", graph_path=graph, weights_path=weights)
    if graph and not _is_address(graph) and (folder := sender.beside(graph)).is_dir():
        with packed(folder) as archive:
            url, checksum = await sender.upload(archive, "graph_path")
        return replace(
            model,
            base_url=url,
            is_archive=True,
            archive_checksum=checksum,
            graph_path=folder.resolve().name,
        )
    model = await sender.sent(model, "graph_path", "graph_checksum")
    return await sender.sent(model, "weights_path", "weights_checksum")


@dataclass(frozen=True, slots=True)
class _Sender:
    """Puts files on the bus, beside which manifest they lie."""

    bus: Bus
    manifest: Path

    async def sent(self, part: S, field: str, checksum: str = "") -> S:
        """A part of a manifest whose `field` is an address: the file's, once it is on the bus.

        The author's own checksum stays: the node refuses what is not the file that was meant.
        """
        named: str = getattr(part, field)
        if not named or _is_address(named):
            return part
        checksum = checksum or f"{field}_checksum"
        url, found = await self.upload(self.beside(named), field)
        changed: dict[str, Any] = {field: url, checksum: getattr(part, checksum) or found}
        return replace(part, **changed)

    def beside(self, named: str) -> Path:
        """The file that a manifest's path means."""
        return self.manifest.parent / named

    async def upload(self, path: Path, field: str) -> tuple[str, str]:
        """A file's address on the bus and its checksum, once it is there."""
        try:
            if path.stat().st_size > LIMIT_BYTES:
                raise InputError(f"{self.manifest}: {field}: {path} is larger than {LIMIT_BYTES} B")
            sha256 = await asyncio.to_thread(_sha256, path)
        except OSError as exc:
            raise InputError(f"{self.manifest}: {field}: {path}: {exc.strerror}") from exc
        name = f"models/{sha256}/{path.name}"
        objects = await self.bus.objects(subjects.MODEL_OBJECTS)
        if not await objects.has(name):
            await objects.put(name, path)
        return f"repo://{name}", f"sha256:{sha256}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
