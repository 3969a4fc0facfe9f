"""Classification: scores as probabilities where asked, the best classes, their labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .labels import check_width
from .reading import Reading, pick, transform_of

SUM_ERROR = 1e-3


def softmax(row: np.ndarray) -> np.ndarray:
    """Scores as probabilities; what already is a distribution stays as it is."""
    row = row.astype(np.float64)
    if np.all(row >= 0) and abs(row.sum() - 1) <= SUM_ERROR:
        return row
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Scores as probabilities that do not exclude each other."""
    return 0.5 * (1 + np.tanh(scores.astype(np.float64) / 2))  # exp would overflow


def best_classes(row: np.ndarray, labels: list[str], top_k: int) -> list[dict[str, Any]]:
    """The top_k values, highest first; of equal ones the lower index first."""
    order = np.argsort(-row.astype(np.float64), kind="stable")[:top_k]
    return [
        {
            "index": int(index),
            "label": labels[index] if labels else "",
            "probability": float(row[index]),
        }
        for index in order
    ]


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """One score a class; of an item with several rows (windows) their mean.

    softmax: one class of all; sigmoid: each class for itself, and all above the threshold.
    """
    found = pick(rows, output, "probabilities_layer")
    scores = found.reshape(len(found), -1)
    check_width(reading.labels, scores.shape[1])
    if transform_of(output) == "softmax":
        scores = np.stack([softmax(row) for row in scores])
    elif transform_of(output) == "sigmoid":
        scores = sigmoid(scores)
    flat = scores[0] if len(scores) == 1 else scores.mean(axis=0)
    threshold = (output.get("parameters") or {}).get("threshold", 0.0)
    several = transform_of(output) == "sigmoid" and threshold
    top_k = flat.size if reading.full or several else reading.top_k
    classes = best_classes(flat, reading.labels, top_k)
    if threshold:  # scores below 0 are told where nobody asked for less
        classes = [one for one in classes if one["probability"] >= threshold]
    return {"classes": classes}
