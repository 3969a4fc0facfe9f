"""What a model's layers gave for one input: a sample of each, enough to see where two runs part.

The setting `layer_outputs` asks for it. A framework's module gives the layers by its function
`insides(spec, batch)`; it opens the model anew for that, so that nothing that is measured changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .errors import WorkerError

SETTING = "layer_outputs"
SAMPLED = 1_024
"""Numbers of a layer that are told, evenly spaced; both sides of a comparison take the same."""
MOST_LAYERS = 5_000


def is_wanted(settings: Mapping[str, Any]) -> bool:
    """The setting, checked: 1 or 0."""
    given = str(settings.get(SETTING, 0))
    if given not in ("0", "1"):
        text = f"{SETTING} is {given!r}; 1 (tell them) or 0 is expected"
        raise WorkerError("request", text)
    return given == "1"


def sampled(layers: Iterable[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """(name, operator, output) of each layer, as what is told of it; only numbers are."""
    told: list[dict[str, Any]] = []
    for name, operator, output in layers:
        array = np.asarray(output)
        if array.dtype.kind not in "biuf" or not array.size:
            continue
        if len(told) == MOST_LAYERS:
            break
        flat = array.ravel()
        places = np.linspace(0, flat.size - 1, min(flat.size, SAMPLED)).astype(np.intp)
        told.append(
            {
                "name": name,
                "operator": operator,
                "dtype": str(array.dtype),
                "shape": list(array.shape),
                "low": float(flat.min()),
                "high": float(flat.max()),
                "mean": float(flat.mean(dtype=np.float64)),
                "sample": flat[places].astype("<f4").tobytes(),
            }
        )
    return told
