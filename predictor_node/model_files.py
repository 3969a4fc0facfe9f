"""What a manifest names, as files on this machine: the graph, the weights, the labels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bus.codec import digest
from bus.errors import AssetError
from bus.messages import Manifest, ModelInput
from predictor_node.assets import AssetsInUse
from predictor_node.checksums import verify

Fetch = Callable[[str, str], Awaitable[Path]]
"""Has what lies behind (url, checksum) brought here: the file, or the archive's folder."""
CODE = (
    "before_preprocess",
    "preprocess",
    "after_preprocess",
    "before_postprocess",
    "postprocess",
    "after_postprocess",
)
"""The manifest's fields that hold Python."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's files in the asset cache, the graph and the weights side by side."""

    graph: Path | None
    """None where a constructor makes the network."""
    weights: Path | None
    labels: Path | None
    tokenizers: dict[str, Path]
    """By the address that the manifest's inputs name."""


async def fetch_model(
    manifest: Manifest, assets: AssetsInUse, fetch: Fetch, unpacked: Fetch
) -> ModelFiles:
    """Have every file of a model at hand, under the names that the graph knows them by."""
    resources = manifest.model
    if not (resources.graph_path or resources.constructor):
        raise AssetError(f"{manifest.name}: model.graph_path is empty: expected the model's file")
    if resources.is_archive:
        places = await _in_archive(manifest, fetch, unpacked)
    else:
        places = await _side_by_side(manifest, assets, fetch)
    return ModelFiles(
        graph=places.get("graph"),
        weights=places.get("weights"),
        labels=await _labels(manifest, fetch),
        tokenizers=await _tokenizers(manifest, fetch),
    )


def _parts(manifest: Manifest) -> list[tuple[str, str, str]]:
    """Each part of a model that has a path: its name, path and checksum."""
    resources, found = manifest.model, []
    for part, path, checksum in (
        ("graph", resources.graph_path, resources.graph_checksum),
        ("weights", resources.weights_path, resources.weights_checksum),
    ):
        if "://" not in path and (path.startswith("/") or ".." in path.split("/")):
            raise AssetError(
                f"{manifest.name}: model.{part}_path {path!r} climbs out: expected a path below "
                f"{'the archive' if resources.is_archive else 'model.base_url'}, without `..`"
            )
        if path:
            found.append((part, path, checksum))
    return found


async def _side_by_side(manifest: Manifest, assets: AssetsInUse, fetch: Fetch) -> dict[str, Path]:
    """Each part fetched by itself, in one folder under its own name."""
    files, names = dict[str, Path](), dict[str, str]()
    for part, path, checksum in _parts(manifest):
        url = path if "://" in path else f"{manifest.model.base_url.rstrip('/')}/{path}"
        names[part] = PurePosixPath(urlsplit(url).path).name
        files[names[part]] = await fetch(url, checksum)
    folder = await assets.together(digest(manifest), files)
    return {part: folder / name for part, name in names.items()}


async def _in_archive(manifest: Manifest, fetch: Fetch, unpacked: Fetch) -> dict[str, Path]:
    """Each part where it lies in the unpacked archive at base_url; a part may be a folder."""
    resources, places = manifest.model, dict[str, Path]()
    parts = _parts(manifest)
    folder = await unpacked(resources.base_url, resources.archive_checksum)
    for part, path, checksum in parts:
        if "://" in path:
            places[part] = await fetch(path, checksum)
            continue
        place = folder / path
        if not place.exists():
            inside = ", ".join(sorted(found.name for found in folder.iterdir())[:8])
            raise AssetError(
                f"{manifest.name}: model.{part}_path {path!r} is not in {resources.base_url}, "
                f"which holds {inside or 'nothing'}"
            )
        await asyncio.to_thread(verify, place, checksum, f"{path} in {resources.base_url}")
        places[part] = place
    return places


async def _labels(manifest: Manifest, fetch: Fetch) -> Path | None:
    parameters = manifest.outputs[0].parameters if manifest.outputs else None
    if parameters is None or not (url := parameters.url or parameters.features_url):
        return None
    return await fetch(url, parameters.checksum or parameters.features_checksum)


async def _tokenizers(manifest: Manifest, fetch: Fetch) -> dict[str, Path]:
    wanted = [given.parameters for given in manifest.inputs if given.parameters.tokenizer]
    return {p.tokenizer: await fetch(p.tokenizer, p.tokenizer_checksum) for p in wanted}


def described(manifest: Manifest, files: ModelFiles) -> dict[str, Any]:
    """A model in the worker's words, for the commands that name one."""
    return {
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "key": digest(manifest),
            "files": {"graph": str(files.graph or ""), "weights": str(files.weights or "")},
            "format": manifest.model.format,
            "constructor": manifest.model.constructor,
            "arguments": manifest.model.arguments,
            "weights": manifest.model.weights,
        },
        "inputs": [_input(given, files) for given in manifest.inputs],
        "outputs": msgspec.to_builtins(manifest.outputs),
        "labels": str(files.labels or ""),
        "code": {name: code for name in CODE if (code := getattr(manifest, name))},
    }


def _input(given: ModelInput, files: ModelFiles) -> dict[str, Any]:
    """An input in the worker's words: its tokenizer is a file here."""
    told: dict[str, Any] = msgspec.to_builtins(given)
    if given.parameters.tokenizer:
        told["parameters"]["tokenizer"] = str(files.tokenizers[given.parameters.tokenizer])
    return told
