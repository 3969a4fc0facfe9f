"""Classification: scores as probabilities where asked, the best classes, their labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .labels import check_width
from .reading import Reading, pick, transform_of

SUM_ERROR = 1e-3


def softmax(rows: np.ndarray) -> np.ndarray:
    """Each row's scores as probabilities; one that already is a distribution stays as it is."""
    rows = rows.astype(np.float64)
    if not rows.shape[-1]:
        return rows
    is_one = (rows >= 0).all(axis=-1) & (abs(rows.sum(axis=-1) - 1) <= SUM_ERROR)
    if is_one.all():
        return rows
    powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
    made = powers / powers.sum(axis=-1, keepdims=True)
    return np.where(is_one[..., np.newaxis], rows, made)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Scores as probabilities that do not exclude each other."""
    return 0.5 * (1 + np.tanh(scores.astype(np.float64) / 2))  # exp would overflow


def best(rows: np.ndarray, top_k: int) -> np.ndarray:
    """Where each row's top_k values are, highest first; of equal ones the lower index first."""
    falling = -rows.astype(np.float64)
    if top_k * 4 >= falling.shape[1]:
        return np.argsort(falling, axis=1, kind="stable")[:, :top_k]
    # A partition leaves open which of several equal values it takes: such rows are sorted whole.
    taken = np.sort(np.argpartition(falling, top_k - 1, axis=1)[:, :top_k], axis=1)
    values = np.take_along_axis(falling, taken, axis=1)
    order = np.take_along_axis(taken, np.argsort(values, axis=1, kind="stable"), axis=1)
    open_ = (falling <= values.max(axis=1, keepdims=True)).sum(axis=1) != top_k
    if open_.any():
        order[open_] = np.argsort(falling[open_], axis=1, kind="stable")[:, :top_k]
    return order


def best_classes(row: np.ndarray, labels: list[str], top_k: int) -> list[dict[str, Any]]:
    """The top_k values, highest first, with their labels."""
    order = best(row[np.newaxis], top_k)[0].tolist()
    return [
        {
            "index": index,
            "label": labels[index] if labels else "",
            "probability": float(row[index]),
        }
        for index in order
    ]


def probabilities(found: np.ndarray, output: Mapping[str, Any], reading: Reading) -> np.ndarray:
    """Of the model's scores, [rows, classes], transformed as the manifest says."""
    scores = found.reshape(len(found), -1)
    check_width(reading.labels, scores.shape[1])
    match transform_of(output):
        case "softmax":
            return softmax(scores)
        case "sigmoid":
            return sigmoid(scores)
    return scores


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """One score a class; of an item with several rows (windows) their mean.

    softmax: one class of all; sigmoid: each class for itself, and all above the threshold.
    """
    scores = probabilities(pick(rows, output, "probabilities_layer"), output, reading)
    flat = scores[0] if len(scores) == 1 else scores.mean(axis=0)
    threshold = (output.get("parameters") or {}).get("threshold", 0.0)
    several = transform_of(output) == "sigmoid" and threshold
    top_k = flat.size if reading.full or several else reading.top_k
    classes = best_classes(flat, reading.labels, top_k)
    if threshold:  # scores below 0 are told where nobody asked for less
        classes = [one for one in classes if one["probability"] >= threshold]
    return {"classes": classes}
