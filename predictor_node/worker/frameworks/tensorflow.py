"""TensorFlow: SavedModels, Keras models and LiteRT files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from . import Layers, Spec
from .installed import has_gpu, is_installed, model_packages, version_of
from .settings import known_only
from .tensors import check_batch

# TensorFlow itself takes seconds to import: only `open` does.
VERSION = version_of(
    *("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-macos", "tf-nightly"),
    *("tensorflow-intel", "tensorflow-rocm", "tensorflow-aarch64", "tf-nightly-cpu"),
)
SETTINGS = ("threads", "inter_op_threads", "precision", "onednn")
DEVICES = {"cpu": "CPU", "gpu": "GPU"}
FORMATS = {".tflite": "litert", ".keras": "keras", ".h5": "keras", ".hdf5": "keras"}
KNOWN = ("saved_model", "keras", "litert")


@dataclass(slots=True)
class Handle:
    """An open model; `run` takes a batch to the outputs as numpy arrays."""

    run: Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    settings: dict[str, Any]
    providers: dict[str, list[str]] = field(default_factory=dict)
    keep: Any = None
    recorder: Any = None
    """Where the model was opened to be profiled."""
    operators: Callable[[Mapping[str, Any]], list[Any]] | None = None
    """Those of its graph, for inputs of given shapes."""


def open(spec: Spec) -> Handle:
    known_only(spec, "tensorflow", SETTINGS)
    if spec.device not in DEVICES:
        raise unknown("device", spec.device, DEVICES)
    return _litert(spec) if _format(spec) == "litert" else _graph(spec)


def predict(handle: Handle, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    try:
        return handle.run(batch)
    except Exception:
        check_batch(handle.inputs, batch)
        raise


def close(handle: Handle) -> None:
    end = getattr(handle.keep, "close", None)  # a session of the first generation
    if handle.recorder is not None:
        handle.recorder.stop()
    del handle.run, handle.keep, handle.recorder, handle.operators
    if end is not None:
        end()


def layers(
    handle: Handle, starts_ns: np.ndarray, durations_ns: np.ndarray, warmup_count: int
) -> Layers:
    """TensorFlow's own record of the nodes that ran; ends the recording."""
    from .tensorflow_profile import LITERT, read_layers

    if handle.recorder is None:
        return Layers([], reason=LITERT)
    return read_layers(handle.recorder, starts_ns, durations_ns, warmup_count)


def multiply_adds(handle: Handle, batch: Mapping[str, np.ndarray]) -> tuple[int, str]:
    """Those of one call, by the graph as its file has it."""
    from .tensorflow_macs import counted

    if handle.operators is None:
        return -1, "a LiteRT file's operators do not tell their shapes to Python"
    return counted(handle.operators({name: np.shape(batch[name]) for name in batch}))


def spent(spec: Spec) -> str:
    """Why this process cannot take these settings any more; empty where it can."""
    from .tensorflow_process import taken

    return taken(spec, pools=_format(spec) != "litert")


def describe() -> dict[str, Any]:
    """What this environment's TensorFlow can use, without importing it."""
    gpu = has_gpu() and not is_installed("tensorflow-cpu")
    return {
        "version": VERSION,
        "devices": ["cpu", "gpu"] if gpu else ["cpu"],
        "providers": ["CPU", "GPU"] if gpu else ["CPU"],
        "packages": model_packages("tensorflow"),
    }


def _format(spec: Spec) -> str:
    file = spec.files.get("graph") or ""
    name = spec.format or FORMATS.get(os.path.splitext(file)[1].lower(), "")
    name = name or ("keras" if spec.constructor else "saved_model")
    if name not in KNOWN:
        raise unknown("format of a TensorFlow model", name, KNOWN)
    return name


def _litert(spec: Spec) -> Handle:
    from .tensorflow_litert import Interpreter

    if spec.device != "cpu" or str(spec.settings.get("inter_op_threads", 1)) != "1":
        text = "LiteRT runs on a CPU, one operator after the other, with the setting threads only"
        raise WorkerError("request", f"{text}; leave device and inter_op_threads out")
    opened = Interpreter(spec)
    settings = {
        "device": "cpu",
        "format": "litert",
        "library": opened.library,
        "intra_op_threads": opened.threads or "chosen by LiteRT",
        "inter_op_threads": 1,
        "precision": opened.precision,
    }
    return Handle(opened.run, opened.inputs, opened.outputs, settings, keep=opened)


def _graph(spec: Spec) -> Handle:
    from . import tensorflow_graphs as graphs
    from .tensorflow_process import effective, with_pools

    tf = with_pools(spec)
    kind = DEVICES[spec.device]
    if not tf.config.list_physical_devices(kind):
        text = f"tensorflow {VERSION} finds no {kind} here"
        raise WorkerError("framework", f"{text}; install a CUDA build, or ask for device cpu")
    name = _format(spec)
    make = graphs.saved_model if name == "saved_model" else graphs.keras_model
    with tf.device(f"/{kind}:0"):
        graph = make(spec, tf)

    def placed(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with tf.device(f"/{kind}:0"):
            return graph.run(batch)

    # Where TensorFlow sees a GPU it would take it unasked.
    run = placed if tf.config.list_logical_devices("GPU") else graph.run
    recorder = None
    if spec.profile:
        from .tensorflow_profile import Recorder

        recorder = Recorder(tf, run, spec.folder, graph.definition)
    return Handle(
        run=recorder.predict if recorder else run,
        inputs=graph.inputs,
        outputs=graph.outputs,
        settings={
            "device": spec.device,
            "format": name,
            "loader": graph.loader,
            **effective(tf),
            "precision": graph.precision,
        },
        providers=_where(graph.variables),
        keep=graph.keep,
        recorder=recorder,
        operators=graph.operators,
    )


def _where(variables: list[Any]) -> dict[str, list[str]]:
    """The variables that really lie on each device: /job:localhost/…/device:CPU:0 as CPU:0."""
    found: dict[str, list[str]] = {}
    for each in variables:
        device = str(each.device).rpartition("device:")[2]
        if device:
            found.setdefault(device, []).append(getattr(each, "path", None) or each.name)
    return found
