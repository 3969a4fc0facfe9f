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
from predictor_node.assets import Assets

Fetch = Callable[[str, str], Awaitable[Path]]
"""Has the file behind (url, checksum) brought here."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's files in the asset cache, the graph and the weights side by side."""

    graph: Path | None
    """None where a constructor makes the network."""
    weights: Path | None
    labels: Path | None
    tokenizers: dict[str, Path]
    """By the address that the manifest's inputs name."""


async def fetch_model(manifest: Manifest, assets: Assets, fetch: Fetch) -> ModelFiles:
    """Have every file of a model at hand, under the names that the graph knows them by."""
    resources = manifest.model
    if not (resources.graph_path or resources.constructor):
        raise AssetError(f"{manifest.name}: model.graph_path is empty: expected the model's file")
    files, names = {}, dict[str, str]()
    for part, path, checksum in (
        ("graph", resources.graph_path, resources.graph_checksum),
        ("weights", resources.weights_path, resources.weights_checksum),
    ):
        if path:
            url = path if "://" in path else f"{resources.base_url.rstrip('/')}/{path}"
            names[part] = PurePosixPath(urlsplit(url).path).name
            files[names[part]] = await fetch(url, checksum)
    folder = await asyncio.to_thread(assets.together, digest(manifest), files)
    places = {part: folder / name for part, name in names.items()}
    return ModelFiles(
        graph=places.get("graph"),
        weights=places.get("weights"),
        labels=await _labels(manifest, fetch),
        tokenizers=await _tokenizers(manifest, fetch),
    )


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
    }


def _input(given: ModelInput, files: ModelFiles) -> dict[str, Any]:
    """An input in the worker's words: its tokenizer is a file here."""
    told: dict[str, Any] = msgspec.to_builtins(given)
    if given.parameters.tokenizer:
        told["parameters"]["tokenizer"] = str(files.tokenizers[given.parameters.tokenizer])
    return told
