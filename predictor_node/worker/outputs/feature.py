"""Features: a tensor as it is, or one vector of a text: over its tokens, of unit length."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from .reading import Reading, pick
from .tensors import value

POOLINGS = ("none", "mean", "cls")


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """The item's features, without the batch's dimension where it has one row."""
    parameters = output.get("parameters") or {}
    found = pick(rows, output)
    features = found[0] if len(found) == 1 else found
    pooling = parameters.get("pooling", "none")
    if pooling != "none":
        features = _pooled(features, pooling, reading)
    if parameters.get("normalize"):
        lengths = np.linalg.norm(features.astype(np.float64), axis=-1, keepdims=True)
        features = (features / np.maximum(lengths, 1e-12)).astype(features.dtype)
    return {"tensors": [value(features, output.get("name", ""), reading)]}


def _pooled(tokens: np.ndarray, pooling: str, reading: Reading) -> np.ndarray:
    """Of [tokens, size] one vector; tokens that only fill a text up do not count."""
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
    if tokens.ndim != 2:
        text = f"pooling {pooling} of an output of shape {list(tokens.shape)}"
        raise WorkerError("request", f"{text}; [tokens, size] is expected")
    if pooling == "cls":
        return tokens[0]
    mask = np.asarray(reading.about.get("mask", np.ones(len(tokens))), np.float64)
    if len(mask) != len(tokens):
        text = f"there are {len(mask)} tokens, and the output has {len(tokens)} rows"
        raise WorkerError("request", f"{text}; equally many are expected to take their mean")
    mean = (tokens * mask[:, np.newaxis]).sum(axis=0) / max(mask.sum(), 1.0)
    return mean.astype(tokens.dtype)
