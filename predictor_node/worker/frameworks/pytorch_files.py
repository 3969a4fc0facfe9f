"""Loads PyTorch's file formats, and never a pickle: each becomes a module that can be called."""

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from ..errors import WorkerError, unknown
from . import Spec, constructors
from .pytorch_archive import check_archive

FORMATS = {
    ".pt2": "exported_program",
    ".pt": "torchscript",
    ".ts": "torchscript",
    ".jit": "torchscript",
    ".torchscript": "torchscript",
}
WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
WRAPPERS = ("state_dict", "model_state_dict", "model")
WRITES_FILES = ("aten::save", "aten::from_file")
PRETRAINED = ("weights", "pretrained")


@dataclass(slots=True)
class Network:
    """A module, and what its file says of its tensors: empty where it says nothing."""

    module: Any
    format: str
    parameters: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    """The last parameters that are given by name."""
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)


def load(spec: Spec) -> Network:
    """The network that a manifest describes, on the CPU, ready to predict."""
    name = format_of(spec)
    if name not in LOADERS:
        raise unknown("format of a PyTorch model", name, LOADERS)
    network = LOADERS[name](spec)
    if network.format != "exported_program":  # these are fixed as they were exported
        network.module.eval()
    return network


def format_of(spec: Spec) -> str:
    """As the manifest says, or as the file's ending does."""
    if spec.format or spec.constructor:
        return spec.format or "state_dict"
    file = spec.files.get("graph") or spec.files.get("weights") or ""
    ending = os.path.splitext(file)[1].lower()
    if found := FORMATS.get(ending):
        return found
    name = os.path.basename(file) or "no file"
    text = f"{name} is not a whole PyTorch model: .pt2 (torch.export) or .pt (TorchScript) is"
    if ending in WEIGHTS:
        text += " expected, or a manifest whose model.constructor makes the network"
        raise WorkerError("request", f"{text} for these weights")
    raise WorkerError("request", f"{text} expected; say model.format if the file is one of these")


def _exported(spec: Spec) -> Network:
    import torch

    path = spec.files["graph"]
    with _reading(path):
        check_archive(path)
        program = torch.export.load(path)
        module = program.module()
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature_ = program.graph_signature
    inputs = [_tensor(name, values.get(name)) for name in signature_.user_inputs]
    outputs = [_tensor(name, values.get(name)) for name in signature_.user_outputs]
    names = [each["name"] for each in inputs]
    keywords = _keywords(program, len(names), path)
    return Network(module, "exported_program", names, keywords, inputs, outputs)


def _keywords(program: Any, count: int, path: str) -> list[str]:
    """The inputs that an exported program takes by name; one inside another has no place here."""
    positional, named = program.call_spec.in_spec.children()
    keywords = list(named.context or [])
    if positional.num_children + len(keywords) != count:
        text = f"model file {os.path.basename(path)} takes its tensors inside lists or dicts"
        raise WorkerError("request", f"{text}; export it with one argument a tensor")
    return keywords


def _scripted(spec: Spec) -> Network:
    import torch

    path = spec.files["graph"]
    with _reading(path):
        module = torch.jit.load(path, map_location="cpu")
    for operator in WRITES_FILES:
        if module.inlined_graph.findAllNodes(operator):
            text = f"model file {os.path.basename(path)} uses {operator}, which reads or writes"
            raise WorkerError("asset", f"{text} files of this machine; it is not run")
    arguments = module.forward.schema.arguments[1:]
    return Network(module, "torchscript", [each.name for each in arguments])


def _constructed(spec: Spec) -> Network:
    import torch

    if not spec.constructor:
        text = "a state dict holds weights only: model.constructor must name what makes the network"
        raise WorkerError("request", f"{text} (package.module:function)")
    constructor = constructors.find(spec, torch.nn.Module)
    file = spec.files.get("weights") or spec.files.get("graph") or ""
    if not file and spec.weights == "trained" and not _brings_weights(spec.arguments):
        text = f"{spec.constructor} makes a network with random weights, and no weights are named"
        raise WorkerError("request", f"{text}; give model.weights_path, or say weights: random")
    torch.manual_seed(spec.seed)
    module = constructor.call()
    if not isinstance(module, torch.nn.Module):
        text = f"constructor {spec.constructor} made a {type(module).__name__}"
        raise WorkerError("request", f"{text}; a torch.nn.Module is expected")
    if file:
        _fill(module, _state(file), file)
    taken = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature(module.forward).parameters.values()
    return Network(module, "state_dict", [each.name for each in parameters if each.kind in taken])


LOADERS: Mapping[str, Callable[[Spec], Network]] = {
    "exported_program": _exported,
    "torchscript": _scripted,
    "state_dict": _constructed,
}


def _brings_weights(arguments: Mapping[str, Any]) -> bool:
    given = (str(arguments.get(name) or "").lower() for name in PRETRAINED)
    return any(text not in ("", "none", "null", "false") for text in given)


def _state(path: str) -> Mapping[str, Any]:
    """The tensors of a weights file, by name."""
    import torch

    with _reading(path):
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    for name in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not isinstance(state, Mapping):
        text = f"weights file {os.path.basename(path)} holds a {type(state).__name__}"
        raise WorkerError("asset", f"{text}; a state dict is expected: names and tensors")
    return state


def _fill(module: Any, state: Mapping[str, Any], path: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        text = f"the weights in {os.path.basename(path)} are not those of {type(module).__name__}"
        raise WorkerError("asset", f"{text}: {str(error)[:600]}") from error


class _reading:
    """A file that cannot be read, or that would run code, is the file's fault and says so."""

    def __init__(self, path: str) -> None:
        self._name, self._path = os.path.basename(path), path

    def __enter__(self) -> None:
        if not os.path.exists(self._path):
            text = f"model file {self._name} does not exist ({self._path!r})"
            raise WorkerError("asset", f"{text}; fetch the model again")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, WorkerError) or not isinstance(error, Exception):
            return
        if isinstance(error, ModuleNotFoundError):
            text = f"reading {self._name} needs the package {error.name}"
            raise WorkerError("framework", f"{text}; install it in this environment") from error
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error).lower():
            text = f"model file {self._name} holds more than tensors (a pickle that names Python"
            text = f"{text} code, or is damaged) and is refused: it could run anything"
            raise WorkerError(
                "asset", f"{text}; save a state dict, a .safetensors file or an exported program"
            ) from error
        text = f"model file {self._name} cannot be loaded; torch says: {str(error)[:600]}"
        raise WorkerError("asset", f"{text}; fetch it again and compare its checksum") from error


def _tensor(name: str, value: Any) -> dict[str, Any]:
    if not hasattr(value, "dtype"):
        return {"name": name, "dtype": "", "shape": []}
    shape = [size if isinstance(size, int) else str(size) for size in value.shape]
    return {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": shape}
