"""A tensor as it is: .npy, .npz or a JSON list; its element type and shape must be the model's.

An array with one dimension more than the manifest's holds rows: several queries of one item.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import WorkerError
from ..job import Item
from . import fields
from .source import content

NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawParameters:
    """name: the array of an .npz that this input takes (the input's own name)."""

    element_type: str = "float32"
    dimensions: tuple[int, ...] = ()
    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """What an item holds: its arrays by name, `""` where they have none; typed: numbers of JSON, or
    of a dataset, become the model's element type, those of an array file must have it."""

    item: str
    arrays: Mapping[str, np.ndarray]
    typed: bool = True


def read_parameters(input: Mapping[str, Any]) -> RawParameters:
    given = {**(input.get("parameters") or {}), "name": input.get("name", "")}
    parameters = fields.read(RawParameters, "raw", {"parameters": given})
    sizes = f"dimensions are {list(parameters.dimensions)}; sizes from 1, or -1, are expected"
    fields.refuse(
        "raw",
        {
            sizes: any(s < 1 and s != fields.ANY_SIZE for s in parameters.dimensions),
            "scale holds a zero, by which numbers would be divided": not np.all(parameters.scale),
        },
    )
    return parameters


def open(item: Item, parameters: RawParameters) -> Given:
    """The arrays of the file; a pickle inside one is never run."""
    if item.array is not None:
        return Given(item.name, {"": item.array}, typed=False)
    data = content(item)
    try:
        if data.startswith(NPY):
            return Given(item.name, {"": np.load(io.BytesIO(data), allow_pickle=False)})
        if data.startswith(ZIP):
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                return Given(item.name, {name: archive[name] for name in archive.files})
        return Given(item.name, _from_json(item.name, data), typed=False)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        text = f"input {item.name} cannot be read as a tensor: {error}"
        raise WorkerError(
            "input", f"{text}; a whole .npy, .npz or JSON list is expected"
        ) from error


def _from_json(name: str, data: bytes) -> dict[str, np.ndarray]:
    found = json.loads(data)
    if isinstance(found, dict):
        return {key: _numbers(f"{name} {key}", value) for key, value in found.items()}
    return {"": _numbers(name, found)}


def _numbers(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)  # a ragged list raises ValueError here
    if array.dtype.kind not in "biuf":
        raise WorkerError("input", f"input {name} holds {array.dtype}; numbers are expected")
    return array


def tensors(opened: Given, parameters: RawParameters) -> np.ndarray:
    """The rows of the array that this input takes, checked against the manifest."""
    array = _picked(opened, parameters.name)
    if opened.typed:
        _check_type(opened.item, array, parameters)
    array = fields.normalized(array, parameters.mean, parameters.scale)
    array = array.astype(parameters.element_type, copy=False)
    has_rows = parameters.dimensions and array.ndim == len(parameters.dimensions) + 1
    rows = array if has_rows else array[np.newaxis]
    if not len(rows):
        raise WorkerError("input", f"input {opened.item} has no rows; at least one is expected")
    fields.check_row(opened.item, rows[0], parameters.dimensions, parameters.element_type)
    return np.ascontiguousarray(rows)


def stacked(
    arrays: np.ndarray, parameters: RawParameters
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Numbers of a dataset, one row an item, all at once; None where an item is several rows."""
    if parameters.dimensions and arrays.ndim != len(parameters.dimensions) + 1:
        return None
    made = fields.normalized(arrays, parameters.mean, parameters.scale)
    made = made.astype(parameters.element_type, copy=False)
    fields.check_row("an item", made[0], parameters.dimensions, parameters.element_type)
    return np.ascontiguousarray(made), {}


def _picked(opened: Given, name: str) -> np.ndarray:
    if name in opened.arrays:
        return opened.arrays[name]
    if len(opened.arrays) == 1:
        (array,) = opened.arrays.values()
        return array
    text = f"input {opened.item} holds arrays {', '.join(sorted(opened.arrays)) or 'none'}"
    raise WorkerError("input", f"{text}; one named {name!r} is expected")


def _check_type(item: str, array: np.ndarray, parameters: RawParameters) -> None:
    """Numbers that are to be shifted and scaled may come in any type; others only in theirs."""
    changed = parameters.mean != 0 or parameters.scale != 1
    if array.dtype.kind in "biuf" and (changed or array.dtype == np.dtype(parameters.element_type)):
        return
    text = f"input {item}: expected {parameters.element_type} {list(parameters.dimensions)}, got "
    text += f"{array.dtype.name} {list(array.shape)}"
    raise WorkerError("input", f"{text}; save it in the model's element type")
