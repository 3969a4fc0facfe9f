"""What a model's output tensors say: softmax where asked, the best classes, their labels."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import WorkerError, unknown

WORDNET_ID = re.compile(r"^n\d{8}\s+")
TRANSFORMS = ("", "none", "softmax")
SUM_ERROR = 1e-3
FEATURE_VALUES = 8192  # 64 KiB as numbers: what is larger does not travel inside a message


def read_labels(path: str) -> list[str]:
    """Class names by index, from a JSON list, a JSON map of index to name, or lines of text."""
    try:
        text = Path(path).read_text("utf-8-sig")
        found = json.loads(text) if text.lstrip()[:1] in ("[", "{") else text.splitlines()
    except (OSError, ValueError) as error:
        text = f"labels file {Path(path).name} cannot be read: {error}"
        raise WorkerError("asset", f"{text}; a JSON list or map, or lines, are expected") from error
    if isinstance(found, dict):
        numbered = {int(index): name for index, name in found.items() if str(index).isdecimal()}
        if sorted(numbered) != list(range(len(found))):
            text = (
                f"labels file {Path(path).name} is a map whose keys are not 0 to {len(found) - 1}"
            )
            raise WorkerError("asset", text)
        found = [numbered[index] for index in range(len(numbered))]
    # Keras writes {"0": ["n01440764", "tench"]}: the readable name is the last one.
    names = [str(name[-1] if isinstance(name, list) and name else name).strip() for name in found]
    while names and not names[-1]:
        names.pop()
    return [WORDNET_ID.sub("", name) for name in names]


def check_width(labels: list[str], width: int) -> None:
    """Labels and output must be equally many: a shifted table names every class wrongly."""
    if not labels or len(labels) == width:
        return
    text = f"there are {len(labels)} labels, and the model's output has {width} values"
    if abs(len(labels) - width) == 1:
        more, less = ("labels", "output") if len(labels) > width else ("output", "labels")
        text += f": the {more} probably begin with a background class that the {less} have not"
    raise WorkerError("request", f"{text}; give the labels with which the model was trained")


def softmax(row: np.ndarray) -> np.ndarray:
    """Scores as probabilities; what already is a distribution stays as it is."""
    row = row.astype(np.float64)
    if np.all(row >= 0) and abs(row.sum() - 1) <= SUM_ERROR:
        return row
    powers = np.exp(row - row.max())
    return powers / powers.sum()


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


def classification(
    row: np.ndarray, output: Mapping[str, Any], labels: list[str], top_k: int
) -> dict[str, Any]:
    flat = row.reshape(-1)
    check_width(labels, flat.size)
    if output.get("parameters", {}).get("transform") == "softmax":
        flat = softmax(flat)
    return {"classes": best_classes(flat, labels, top_k)}


def feature(
    row: np.ndarray, output: Mapping[str, Any], labels: list[str], top_k: int
) -> dict[str, Any]:
    """The tensor itself, unless it is too large for a message; then its shape alone."""
    small = row.size <= FEATURE_VALUES
    return {
        "classes": [],
        "shape": list(row.shape),
        "values": row.ravel().tolist() if small else [],
    }


Postprocess = Callable[[np.ndarray, Mapping[str, Any], list[str], int], dict[str, Any]]
OUTPUT_TYPES: dict[str, Postprocess] = {"classification": classification, "feature": feature}


def check_output(output: Mapping[str, Any]) -> None:
    """Refuse, before anything is loaded, an output that this version cannot read."""
    if output.get("type") not in OUTPUT_TYPES:
        raise unknown("output type", output.get("type"), OUTPUT_TYPES)
    transform = output.get("parameters", {}).get("transform", "")
    if transform not in TRANSFORMS:
        raise unknown("transform", transform, TRANSFORMS[1:])
