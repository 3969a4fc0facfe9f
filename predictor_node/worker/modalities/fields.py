"""Reads a manifest's parameters into a modality's dataclass; what it does not know is refused."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from ..errors import WorkerError, unknown

P = TypeVar("P")
EVERYONES = ("input_layer",)
"""What every input may say and only the feeding of the model looks at."""
ELEMENT_TYPES = ("float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool")
ANY_SIZE = -1


def read(kind: type[P], what: str, input: Mapping[str, Any]) -> P:
    """The input's parameters; empty ones mean the default of `kind`, lists become tuples."""
    given = input.get("parameters") or {}
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # any dataclass
    for name in given:
        if name not in known and name not in EVERYONES:
            raise unknown(f"{what} parameter", name, known)
    chosen = {k: v for k, v in given.items() if k in known and v not in ("", None)}
    read = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()})
    element_type = getattr(read, "element_type", ELEMENT_TYPES[0])
    if element_type not in ELEMENT_TYPES:
        raise unknown("element_type", element_type, ELEMENT_TYPES)
    return read


def refuse(what: str, faults: Mapping[str, Any]) -> None:
    """Raise for the first fault (text -> whether it is there)."""
    for text, wrong in faults.items():
        if wrong:
            raise WorkerError("request", f"{what} input: {text}")


def check_row(name: str, row: np.ndarray, dimensions: tuple[int, ...], element_type: str) -> None:
    """One row must be as the manifest describes it; without dimensions any shape is right."""
    wanted = np.dtype(element_type)
    fits = not dimensions or (
        len(dimensions) == row.ndim
        and all(want in (ANY_SIZE, got) for want, got in zip(dimensions, row.shape, strict=True))
    )
    if row.dtype == wanted and fits:
        return
    expected = f"{wanted.name} {list(dimensions) if dimensions else 'of any shape'}"
    text = f"input {name}: expected {expected}, got {row.dtype.name} {list(row.shape)}"
    raise WorkerError("input", f"{text}; the item must be what the manifest's dimensions say")


def normalized(
    row: np.ndarray, mean: float | tuple[float, ...], scale: float | tuple[float, ...]
) -> np.ndarray:
    """(row - mean) / scale in float32, or the row as it is where both change nothing."""
    if mean == 0 and scale == 1:
        return row
    shift, width = np.asarray(mean, np.float32), np.asarray(scale, np.float32)
    made: np.ndarray = (row.astype(np.float32) - shift) / width
    return made
