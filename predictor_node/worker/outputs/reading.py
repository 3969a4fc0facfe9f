"""What every reader of outputs is given, and how it finds its tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import unknown

T = TypeVar("T")

TRANSFORMS = ("", "none", "softmax", "sigmoid")


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading an item's outputs needs beside them.

    about: what the item's modality says of it (width, height …); full: everything, not top_k;
    folder: where what is too large for a message is put.
    """

    labels: list[str] = field(default_factory=list)
    top_k: int = 5
    full: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."


def pick(rows: Mapping[str, T], output: Mapping[str, Any], layer: str = "") -> T:
    """What belongs to a manifest's output by the name in it or in a parameter; or the first."""
    parameters = output.get("parameters") or {}
    name = (parameters.get(layer) if layer else "") or output.get("name") or ""
    if not name:
        return next(iter(rows.values()))
    if name not in rows:
        raise unknown("output of the model", name, rows)
    return rows[name]


def transform_of(output: Mapping[str, Any]) -> str:
    """softmax, sigmoid or none, under either of its two names."""
    parameters = output.get("parameters") or {}
    given = parameters.get("transform") or parameters.get("probabilities_transform") or "none"
    if given not in TRANSFORMS:
        raise unknown("transform", given, TRANSFORMS[1:])
    return str(given)
