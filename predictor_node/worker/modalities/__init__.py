"""What an item can be: for each input type of a manifest, a module of three functions.

    read_parameters(input) -> P
        a manifest's input, checked once; WorkerError("request", …) names what is wrong
    open(item, parameters) -> opened
        an item's bytes as what they are (pixels, samples, text …); WorkerError("input", …)
    tensors(opened, parameters) -> ndarray [rows, *shape]
        what the model is fed; most items give one row, long audio one a window
    about(opened, parameters) -> dict      optional
        what reading the model's outputs needs to know of the item (its size, its rate)
    stacked(arrays, parameters) -> (ndarray [items, *shape], dict) or None     optional
        what `tensors` and `about` give of items that came as arrays, one row each, all at once;
        None where that must be done one by one
    settings(parameters) -> dict           optional
        what a result records of how its inputs were made (the decoder)

Heavy libraries are imported inside the function that needs them.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ..errors import unknown
from . import audio, bytes, image, raw, text

MODALITIES: dict[str, ModuleType] = {
    "image": image,
    "text": text,
    "audio": audio,
    "bytes": bytes,
    "raw": raw,
}
ALIASES = {"code": "bytes", "file": "bytes", "tensor": "raw", "general": "raw"}
FILLED = ("constant", "state")
"""Inputs that no item feeds: see filled.py."""


def modality(given: Mapping[str, Any]) -> ModuleType:
    """The module of a manifest's input."""
    kind = str(given.get("type", ""))
    kind = ALIASES.get(kind, kind)
    if kind not in MODALITIES:
        raise unknown("input type", kind, (*MODALITIES, *ALIASES, *FILLED))
    return MODALITIES[kind]
