"""Fits what the manifest says to what the opened model says, and makes the batches."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import WorkerError, unknown
from .measure import Batch
from .models import Opened
from .outputs import check_output
from .pipeline import ImageParameters, read_parameters

MAX_BATCHES_BYTES = 1 << 30


def build_batches(tensors: Sequence[np.ndarray], name: str, size: int, queries: int) -> list[Batch]:
    """Every different batch that cycling through the tensors gives, made before the loop.

    No more than the queries use, and no more than fit into a gigabyte: then fewer are repeated.
    """
    count = len(tensors)
    fitting = max(1, MAX_BATCHES_BYTES // max(1, size * tensors[0].nbytes))
    different = min(count // math.gcd(count, size), queries, fitting)
    return [
        {name: np.stack([tensors[(first * size + place) % count] for place in range(size)])}
        for first in range(different)
    ]


def filled_batches(
    tensors: Sequence[np.ndarray], name: str, size: int
) -> Iterator[tuple[int, Batch]]:
    """Every tensor once: the place of a batch's first one, and the batch.

    A last batch that is not full is filled from the first tensors: a fixed batch size needs it.
    """
    count = len(tensors)
    for first in range(0, count, size):
        picked = [tensors[(first + place) % count] for place in range(size)]
        yield first, {name: np.stack(picked)}


def of_one_shape(tensors: Sequence[np.ndarray], hint: str) -> None:
    """Tensors that are to share a batch must be alike; `hint` says what else can be done."""
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) > 1:
        text = f"the inputs become tensors of {len(shapes)} shapes, which cannot share a batch"
        raise WorkerError("request", f"{text}; {hint}, or resize them alike")


def image_input(inputs: Sequence[Mapping[str, Any]]) -> ImageParameters:
    if len(inputs) != 1:
        text = f"the model has {len(inputs)} inputs; exactly one can be fed from an item"
        raise WorkerError("request", text)
    if inputs[0].get("type") != "image":
        raise unknown("input type", inputs[0].get("type"), ["image"])
    return read_parameters(inputs[0].get("parameters") or {})


def one_output(outputs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The output that predictions are read from: the first."""
    if not outputs:
        raise WorkerError("request", "the model has no outputs; its manifest must name one")
    check_output(outputs[0])
    return outputs[0]


def input_name(wanted: Mapping[str, Any], model: Opened, made: str) -> str:
    """The model's own name of the input that the manifest describes; `made`: its element type."""
    declared = {each["name"]: each for each in model.handle.inputs}
    name = wanted.get("name") or (wanted.get("parameters") or {}).get("input_layer") or ""
    if not name and len(declared) == 1:
        (name,) = declared
    if name not in declared:
        raise unknown("input of the model", name, declared)
    if (dtype := declared[name]["dtype"]) and dtype != made:
        text = f"the model's input {name} takes {dtype}; the manifest makes {made}"
        raise WorkerError("request", f"{text}: set its element_type")
    return name


def output_index(output: Mapping[str, Any], model: Opened) -> int:
    names = [each["name"] for each in model.handle.outputs]
    if not output.get("name"):
        return 0
    if output["name"] not in names:
        raise unknown("output of the model", output["name"], names)
    return names.index(output["name"])
