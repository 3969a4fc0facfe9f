"""What a manifest says of a model's tensors, where a framework's files do not say it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import WorkerError
from . import Spec

LAST = ("NHWC", "HWC")
LAYERS = ("boxes_layer", "classes_layer", "probabilities_layer", "masks_layer")


def inputs_of(spec: Spec, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The manifest's inputs; `names`: the model's own, for those that the manifest leaves out."""
    found = []
    for index, wanted in enumerate(spec.inputs):
        parameters = wanted.get("parameters") or {}
        own = names[index] if index < len(names) else f"input_{index}"
        name = wanted.get("name") or parameters.get("input_layer") or own
        dtype = str(parameters.get("element_type") or "float32")
        found.append(
            {
                "name": name,
                "dtype": "uint8" if dtype == "raw_image" else dtype,
                "shape": _shape(wanted.get("type"), parameters),
            }
        )
    return found


def outputs_of(spec: Spec) -> list[dict[str, Any]]:
    """The tensors that the manifest's outputs name, each once; one without a name is the first."""
    found: dict[str, dict[str, Any]] = {}
    for wanted in spec.outputs:
        parameters = wanted.get("parameters") or {}
        layers = [parameters[key] for key in LAYERS if parameters.get(key)]
        for name in layers or [wanted.get("name") or ""]:
            sizes = [] if len(layers) > 1 else parameters.get("dimensions") or []
            dtype = str(parameters.get("element_type") or "float32")
            found.setdefault(name, {"name": name, "dtype": dtype, "shape": _batched(sizes)})
    if first := found.pop("", None):
        found = found or {"output_0": {**first, "name": "output_0"}}
    return list(found.values()) or [{"name": "output_0", "dtype": "", "shape": []}]


def renamed(own: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model's own tensors under the manifest's names, where it names them all otherwise."""
    mine, theirs = {each["name"] for each in own}, {each["name"] for each in wanted}
    if len(own) != len(wanted) or mine & theirs:
        return own
    return [{**a, "name": b["name"]} for a, b in zip(own, wanted, strict=True)]


def check_batch(declared: Sequence[Mapping[str, Any]], batch: Mapping[str, np.ndarray]) -> None:
    """Raise what is wrong with a batch that a framework has refused, where that can be said."""
    wrong = [text for each in declared if (text := _misfit(each, batch.get(each["name"])))]
    if wrong:
        raise WorkerError("request", "; ".join(wrong))


def _misfit(declared: Mapping[str, Any], given: np.ndarray | None) -> str:
    name, dtype, shape = declared["name"], declared["dtype"], declared["shape"]
    expected = f"input {name}: expected {dtype} [{', '.join(str(size) for size in shape)}]"
    if given is None:
        return f"{expected}, got nothing"
    fits = not shape or (
        len(shape) == given.ndim
        and all(
            not isinstance(size, int) or size == got
            for size, got in zip(shape, given.shape, strict=True)
        )
    )
    if fits and dtype in ("", str(given.dtype)):
        return ""
    return f"{expected}, got {given.dtype} {list(given.shape)}"


def _shape(kind: Any, parameters: Mapping[str, Any]) -> list[int | str]:
    sizes = list(parameters.get("dimensions") or [])
    if kind == "image" and len(sizes) == 3 and parameters.get("layout") in LAST:
        sizes = [*sizes[1:], sizes[0]]
    return _batched(sizes)


def _batched(sizes: Sequence[int]) -> list[int | str]:
    """With the batch before them; empty where the manifest does not say."""
    return ["batch", *(size if size >= 0 else "?" for size in sizes)] if sizes else []
