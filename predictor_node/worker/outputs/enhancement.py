"""Image enhancement: a tensor back as an image, 0–255, height first and channels last."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WorkerError
from .reading import Reading, pick
from .tensors import value

CHANNELS = (1, 3, 4)


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """Pixels are values times `scale` plus `mean`: what the input's own two did, undone."""
    parameters = output.get("parameters") or {}
    found = pick(rows, output)[0]
    if found.ndim == 2:
        found = found[:, :, np.newaxis]
    elif found.ndim == 3 and found.shape[0] in CHANNELS and found.shape[2] not in CHANNELS:
        found = found.transpose(1, 2, 0)
    if found.ndim != 3 or found.shape[2] not in CHANNELS:
        text = f"the image has the shape {list(found.shape)}"
        raise WorkerError("request", f"{text}; 1, 3 or 4 channels, first or last, are expected")
    scale = np.asarray(parameters.get("scale", 1.0), np.float64)
    pixels = found.astype(np.float64) * scale + np.asarray(parameters.get("mean", 0.0))
    if reading.about.get("color_mode") == "BGR" and pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1]
    image = np.clip(np.rint(np.nan_to_num(pixels)), 0, 255).astype(np.uint8)
    return {"image": value(image, output.get("name", ""), reading)}
