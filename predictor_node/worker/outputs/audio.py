"""Audio activity: from one probability a window to the times at which something was heard."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WorkerError
from .classification import sigmoid
from .labels import check_width
from .reading import Reading, pick, transform_of

THRESHOLD = 0.5


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """Windows in a row above the threshold are one interval, with their mean probability."""
    found = pick(rows, output, "probabilities_layer")
    scores = found.reshape(len(found), -1).astype(np.float64)
    if scores.shape[1] > 1:
        check_width(reading.labels, scores.shape[1])
    if transform_of(output) == "sigmoid":
        scores = sigmoid(scores)
    step_s, end_s = reading.about.get("step_s"), reading.about.get("duration_s")
    if step_s is None or end_s is None:
        text = "an audio_activity output tells times, and the model's first input is no audio"
        raise WorkerError("request", f"{text}; an input of type audio is expected first")
    threshold = (output.get("parameters") or {}).get("threshold") or THRESHOLD
    intervals = [
        {
            "start_s": first * step_s,
            "end_s": min(last * step_s, end_s),
            "label": reading.labels[kind] if kind < len(reading.labels) else "",
            "probability": float(scores[first:last, kind].mean()),
        }
        for kind in range(scores.shape[1])
        for first, last in _stretches(scores[:, kind] >= threshold)
    ]
    return {"intervals": sorted(intervals, key=lambda one: one["start_s"])}


def _stretches(heard: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last window of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], heard.astype(np.int8), [0]])))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
