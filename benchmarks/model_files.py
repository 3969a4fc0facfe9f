"""The files of the model under measurement, for a side that knows nothing of our cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from platformdirs import user_cache_path

from bus.connection import Bus
from bus.messages import Input, Manifest
from manifests.catalog import Catalog, shipped
from predictor_node.assets import Assets
from predictor_node.worker.job import Item
from predictor_node.worker.modalities import image

MODEL = "EfficientNet-Lite0"


@dataclass(frozen=True)
class ModelFiles:
    """A model that can be opened by hand, and one photo: as a file and as the tensor of it.

    graph: the weights, of a model that a package constructs. framework: the one to ask for, where
    the model is there for several.
    """

    manifest: Manifest
    photo: Input
    graph: Path
    photo_file: Path
    tensor_file: Path
    framework: str = ""


async def fetch(folder: Path, bus: Bus, name: str = MODEL, framework: str = "") -> ModelFiles:
    """The model's files side by side, fetched (once a machine) as a node fetches them."""
    wanted = framework.__eq__ if framework else None
    manifest = Catalog(shipped()).candidates(name, wanted)[0]
    kept = assets(bus)
    model, sample = manifest.model, manifest.samples[0]
    photo_file = await kept.fetch(sample.url, sample.checksum)
    by_hand = folder / "by-hand" / name
    by_hand.mkdir(parents=True)
    parts = ((model.graph_path, model.graph_checksum), (model.weights_path, model.weights_checksum))
    for url, checksum in parts:
        if url:
            part = await kept.fetch(url, checksum)
            (by_hand / _name(url)).write_bytes(part.read_bytes())
    return ModelFiles(
        manifest=manifest,
        photo=Input(name=_name(sample.url), url=sample.url, checksum=sample.checksum),
        graph=by_hand / _name(model.graph_path or model.weights_path),
        photo_file=photo_file,
        tensor_file=_tensor(manifest, photo_file, by_hand / "photo.npy"),
        framework=framework,
    )


def assets(bus: Bus) -> Assets:
    """The cache that nodes of this user share."""
    cache = os.environ.get("MLMS_CACHE")
    return Assets((Path(cache) if cache else user_cache_path("mlmodelscope")) / "assets", bus)


def _tensor(manifest: Manifest, photo: Path, into: Path) -> Path:
    """The very tensor that a worker makes of the photo, as a batch of one."""
    parameters = image.read_parameters(msgspec.to_builtins(manifest.inputs[0]))
    opened = image.open(Item(photo.name, str(photo)), parameters)
    np.save(into, image.tensors(opened, parameters))
    return into


def _name(url: str) -> str:
    return url.rpartition("/")[2]
