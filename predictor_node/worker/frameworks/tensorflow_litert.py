"""LiteRT (TensorFlow Lite): one flat file, an interpreter with threads of its own."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WorkerError
from . import Spec
from .settings import same_precision, thread_count
from .tensorflow_process import imported
from .tensors import inputs_of, outputs_of, renamed

KINDS = {"float32", "float16", "int8", "uint8", "int16"}


class Interpreter:
    """A model that is resized when a batch of another size comes, before it predicts."""

    def __init__(self, spec: Spec) -> None:
        path = spec.files["graph"]
        threads = thread_count(spec, "threads", "tensorflow")
        make, self.library = _interpreter(spec)
        try:
            self._interpreter = make(model_path=path, num_threads=threads or None)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            text = f"model file {os.path.basename(path)} cannot be loaded; LiteRT says: {error}"
            raise WorkerError(
                "asset", f"{text}; fetch it again and compare its checksum"
            ) from error
        ins, outs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs = renamed([_tensor(each) for each in ins], inputs_of(spec))
        self.outputs = renamed([_tensor(each) for each in outs], outputs_of(spec))
        self.threads = threads
        self.precision = _precision(self._interpreter)
        same_precision(spec, self.precision, "convert the model to the precision that you want")
        names = [each["name"] for each in self.inputs]
        self._fed = [(name, each["index"]) for name, each in zip(names, ins, strict=True)]
        self._read = [each["index"] for each in outs]
        self._shapes = {each["index"]: tuple(each["shape"]) for each in ins}

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Feed a batch, run, read."""
        interpreter, shapes = self._interpreter, self._shapes
        for name, index in self._fed:
            if batch[name].shape != shapes[index]:
                self._resize(batch)
                break
        for name, index in self._fed:
            interpreter.set_tensor(index, batch[name])
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._read]

    def _resize(self, batch: Mapping[str, np.ndarray]) -> None:
        for declared, (name, index) in zip(self.inputs, self._fed, strict=True):
            given = batch[name].shape
            # The batch may be any; another size must be one that the file leaves open.
            wrong = [
                size
                for size, got in zip(declared["shape"][1:], given[1:], strict=False)
                if isinstance(size, int) and size != got
            ]
            if wrong or len(given) != len(declared["shape"]):
                text = f"input {name}: expected {declared['dtype']} {declared['shape']}"
                raise WorkerError("request", f"{text}, got {batch[name].dtype} {list(given)}")
            self._interpreter.resize_tensor_input(index, given)
            self._shapes[index] = tuple(given)
        try:
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError):
            self._shapes = dict.fromkeys(self._shapes, ())  # nothing fits until it was resized
            raise


def _interpreter(spec: Spec) -> tuple[Any, str]:
    """LiteRT's own package where it is installed, or the one inside TensorFlow."""
    imported_before = imported(spec)  # before all others: how oneDNN is used is decided here
    try:
        from ai_edge_litert.interpreter import Interpreter as found

        return found, "ai_edge_litert"
    except ModuleNotFoundError:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it will move to the other package one day
            return imported_before.lite.Interpreter, "tensorflow.lite"


def _tensor(details: Mapping[str, Any]) -> dict[str, Any]:
    shape = [
        int(size) if size >= 0 else ("?" if place else "batch")
        for place, size in enumerate(details.get("shape_signature", details["shape"]))
    ]
    name = str(details["name"]).removeprefix("serving_default_").removesuffix(":0")
    return {"name": name, "dtype": np.dtype(details["dtype"]).name, "shape": shape}


def _precision(interpreter: Any) -> str:
    found = {np.dtype(each["dtype"]).name for each in interpreter.get_tensor_details()} & KINDS
    return next(iter(found)) if len(found) == 1 else "mixed" if found else ""
