"""OpenVINO as a framework of MLModelScope, written outside of its tree: ONNX files and OpenVINO IR.

Loaded by path as a member of the worker's package `frameworks`: hence the relative imports.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino

from ..errors import WorkerError, unknown
from . import Spec

DEVICES = {"cpu": "CPU", "gpu": "GPU"}
SETTINGS = ("threads", "precision", "performance")
PRECISIONS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
PERFORMANCES = {"latency": "LATENCY", "throughput": "THROUGHPUT"}
MAX_THREADS = 1024


@dataclass(slots=True)
class Handle:
    """A compiled model and one request of it; `infer` is bound once, for predict."""

    infer: Callable[..., Any]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    settings: dict[str, Any]
    providers: dict[str, list[str]]


def open(spec: Spec) -> Handle:
    core = openvino.Core()
    device, hints = _device(core, spec.device), _hints(spec.settings)
    model = _read(core, spec)
    compiled = core.compile_model(model, device, hints)
    devices = compiled.get_property("EXECUTION_DEVICES")
    return Handle(
        infer=compiled.create_infer_request().infer,
        inputs=[_port(port) for port in model.inputs],
        outputs=[_port(port) for port in model.outputs],
        settings={
            "device": spec.device,
            "providers": devices,
            "intra_op_threads": compiled.get_property("INFERENCE_NUM_THREADS"),
            "streams": compiled.get_property("NUM_STREAMS"),
            "precision": _precision(compiled.get_property("INFERENCE_PRECISION_HINT")),
            "performance": str(compiled.get_property("PERFORMANCE_HINT")).lower(),
        },
        # Asked for one device, OpenVINO compiles every node for it, or refuses.
        providers={devices[0]: _nodes(compiled)} if len(devices) == 1 else {},
    )


def predict(handle: Handle, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return list(handle.infer(batch, share_inputs=True).values())


def close(handle: Handle) -> None:
    del handle.infer


def describe() -> dict[str, Any]:
    """The version as a semantic one: OpenVINO's own goes on with the build."""
    found = openvino.Core().available_devices
    has_gpu = any(name.startswith("GPU") for name in found)
    return {
        "version": openvino.__version__.partition("-")[0],
        "devices": ["cpu", "gpu"] if has_gpu else ["cpu"],
        "providers": found,
    }


def _device(core: openvino.Core, wanted: str) -> str:
    if wanted not in DEVICES:
        raise unknown("device", wanted, DEVICES)
    found = core.available_devices
    if not any(name.startswith(DEVICES[wanted]) for name in found):
        text = f"OpenVINO sees no {DEVICES[wanted]} here, only {', '.join(found) or 'nothing'}"
        raise WorkerError("framework", f"{text}; ask for another device")
    return DEVICES[wanted]


def _hints(settings: Mapping[str, Any]) -> dict[str, Any]:
    for name in settings:
        if name not in SETTINGS:
            raise unknown("setting of openvino", name, (*SETTINGS, "device"))
    precision = settings.get("precision", "float32")
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    performance = settings.get("performance", "latency")
    if performance not in PERFORMANCES:
        raise unknown("performance", performance, PERFORMANCES)
    threads = str(settings.get("threads", 0))
    if not (threads.isascii() and threads.isdecimal() and int(threads) <= MAX_THREADS):
        text = f"setting threads is {threads!r}; a whole number 0–{MAX_THREADS} is expected"
        raise WorkerError("request", f"{text} (0: OpenVINO chooses)")
    return {
        "INFERENCE_NUM_THREADS": int(threads),
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "PERFORMANCE_HINT": PERFORMANCES[performance],
    }


def _precision(found: openvino.Type) -> str:
    names = {short: name for name, short in PRECISIONS.items()}
    return names.get(found.get_type_name(), found.get_type_name())


def _read(core: openvino.Core, spec: Spec) -> openvino.Model:
    """An ONNX graph finds its weights beside it; an .xml is told where its .bin lies."""
    graph, weights = spec.files["graph"], spec.files.get("weights", "")
    try:
        return core.read_model(graph, weights) if graph.endswith(".xml") else core.read_model(graph)
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1]
        text = f"model file {graph} cannot be read; OpenVINO says: {last}"
        raise WorkerError("asset", f"{text}; an .onnx or OpenVINO's .xml is expected") from error


def _port(port: Any) -> dict[str, Any]:
    """An input or output as the model declares it; a free dimension is `?`."""
    shape = [size.get_length() if size.is_static else "?" for size in port.partial_shape]
    return {
        "name": min(port.get_names(), default=""),
        "dtype": str(port.element_type.to_dtype()),
        "shape": shape,
    }


def _nodes(compiled: openvino.CompiledModel) -> list[str]:
    """The names of the nodes that are computed, after OpenVINO's own optimisations."""
    return [
        node.get_friendly_name()
        for node in compiled.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) not in ("Const", "Input", "Output")
    ]
