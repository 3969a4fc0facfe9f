"""A file's bytes as numbers: the first and the last ones, padded; what file types are told by.

The beginning is padded at its end and the ending at its beginning. With `strip`, white space
before the beginning and after the ending is passed over, within `block` bytes of either side
(0: all of the file): as Magika extracts its features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import WorkerError
from ..job import Item
from . import fields
from .source import content


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesParameters:
    """How a file becomes a row of numbers. beginning and ending 0: all of its bytes."""

    element_type: str = "int32"
    dimensions: tuple[int, ...] = ()
    beginning: int = 0
    ending: int = 0
    padding: int = 0
    strip: bool = False
    block: int = 0


def read_parameters(input: Mapping[str, Any]) -> BytesParameters:
    parameters = fields.read(BytesParameters, "bytes", input)
    length = parameters.beginning + parameters.ending
    promised = parameters.dimensions
    fields.refuse(
        "bytes",
        {
            f"beginning {parameters.beginning}, ending {parameters.ending}, block "
            f"{parameters.block}: numbers from 0 are expected": min(
                parameters.beginning, parameters.ending, parameters.block
            )
            < 0,
            f"dimensions are {list(promised)}; beginning and ending make [{length}]": bool(
                promised and length and promised not in ((length,), (fields.ANY_SIZE,))
            ),
        },
    )
    return parameters


def open(item: Item, parameters: BytesParameters) -> bytes:
    data = content(item)
    if not data:
        raise WorkerError("input", f"input {item.name} is empty; a file with content is expected")
    return data


def tensors(opened: bytes, parameters: BytesParameters) -> np.ndarray:
    """One row: beginning, then ending; or every byte."""
    size = min(parameters.block or len(opened), len(opened))
    first, last = opened[:size], opened[len(opened) - size :]
    if parameters.strip:
        first, last = first.lstrip(), last.rstrip()
    if parameters.beginning or parameters.ending:
        row = np.full(parameters.beginning + parameters.ending, parameters.padding, np.int64)
        begin = np.frombuffer(first[: parameters.beginning], np.uint8)
        end = np.frombuffer(last[max(0, len(last) - parameters.ending) :], np.uint8)
        row[: begin.size] = begin
        row[row.size - end.size :] = end if parameters.ending else row[row.size :]
    else:
        row = np.frombuffer(opened.strip() if parameters.strip else opened, np.uint8)
    row = row.astype(parameters.element_type)
    fields.check_row("bytes", row, parameters.dimensions, parameters.element_type)
    return row[np.newaxis]
