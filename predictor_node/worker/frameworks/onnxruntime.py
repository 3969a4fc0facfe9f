"""ONNX Runtime: a model opened with exactly the settings, and on exactly the device, asked for."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from ..errors import WorkerError, unknown
from . import Layers, Spec, onnxruntime_macs
from .onnx_precision import precision_of
from .onnxruntime_profile import read_layers
from .settings import known_only, one_of, same_precision, thread_count

PROVIDERS = {"cpu": ["CPUExecutionProvider"], "gpu": ["CUDAExecutionProvider"]}
OPTIMIZATIONS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
EXECUTIONS = {
    "sequential": ort.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": ort.ExecutionMode.ORT_PARALLEL,
}
SETTINGS = (
    *("threads", "inter_op_threads", "graph_optimization"),
    *("provider", "execution", "precision"),
)
CONCURRENT = True  # several threads may predict at once
ASSIGNMENT = "session.record_ep_graph_assignment_info"  # of ONNX Runtime 1.24 and later
DTYPES = {"float": "float32", "double": "float64"}  # the other names are numpy's own
ERRORS_ONLY = 3
THREADS = Path("/proc/self/task")
# What the files are to blame for. Everything else is the framework's or the machine's.
FILE_ERRORS = (state.InvalidProtobuf, state.NoSuchFile, state.InvalidGraph, state.NoModel)
FILE_WORDS = ("external", "load model from")


@dataclass(slots=True)
class Handle:
    """An open session; `run` is bound once, so that predict looks nothing up."""

    session: ort.InferenceSession
    run: Callable[..., list[np.ndarray]]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    settings: dict[str, Any]
    profiling: bool
    providers: dict[str, list[str]]
    """Where each node of the graph really runs; empty where this version cannot say."""
    graph: str = ""
    """The file."""


def open(spec: Spec) -> Handle:
    options = _options(spec)
    providers = _providers(spec)
    precision = precision_of(spec.files["graph"])
    same_precision(spec, precision, "give a file that was converted to the precision you want")
    graph = _beside_weights(spec)
    threads_before = _thread_count()
    session = _session(spec, graph, options, providers)
    if session.get_providers()[0] != providers[0]:
        text = f"ONNX Runtime took {session.get_providers()} instead of {providers[0]}"
        raise WorkerError("framework", f"{text}; see its own words in the worker's log")
    # A pool of n threads starts n - 1. Asked for none, ONNX Runtime chooses n and does not say it.
    started = _thread_count() - threads_before + 1
    return Handle(
        session=session,
        run=session.run,
        inputs=[_tensor(tensor) for tensor in session.get_inputs()],
        outputs=[_tensor(tensor) for tensor in session.get_outputs()],
        settings={
            "device": spec.device,
            "providers": session.get_providers(),
            "intra_op_threads": options.intra_op_num_threads or started,
            "inter_op_threads": options.inter_op_num_threads or 1,
            "execution": _execution_of(options),
            "graph_optimization": spec.settings.get("graph_optimization", "all"),
            "precision": precision,
        },
        profiling=spec.profile,
        providers=_assigned(session),
        graph=graph,
    )


def predict(handle: Handle, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return handle.run(None, batch)


def native(handle: Handle, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The batch as ONNX Runtime's own tensors, made once: predict then converts nothing."""
    return {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in batch.items()}


def insides(spec: Spec, batch: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, Any]]:
    """Every node's output, of the graph as its file has it; needs the package onnx."""
    from .onnxruntime_insides import run_inside

    return run_inside(spec, batch, _options(spec), _providers(spec))


def close(handle: Handle) -> None:
    if handle.profiling:  # nobody read the profile: its file must not stay behind
        Path(handle.session.end_profiling()).unlink(missing_ok=True)
    del handle.run, handle.session


def layers(
    handle: Handle, starts_ns: np.ndarray, durations_ns: np.ndarray, warmup_count: int
) -> Layers:
    """ONNX Runtime's own record of the nodes that it ran; ends the profiling of this handle."""
    start_ns = handle.session.get_profiling_start_time_ns()
    profile = Path(handle.session.end_profiling())
    handle.profiling = False
    try:
        return read_layers(profile, start_ns, starts_ns, durations_ns, warmup_count)
    finally:
        profile.unlink(missing_ok=True)


def multiply_adds(handle: Handle, batch: Mapping[str, np.ndarray]) -> tuple[int, str]:
    """Those of one call, counted on the file's graph."""
    shapes = {name: values.shape for name, values in batch.items()}
    return onnxruntime_macs.multiply_adds(handle.graph, shapes)


def describe() -> dict[str, Any]:
    """What this environment's ONNX Runtime can use; a GPU counts where its device file is too."""
    providers = ort.get_available_providers()
    has_gpu = PROVIDERS["gpu"][0] in providers and bool(glob("/dev/nvidia[0-9]*"))
    return {
        "version": ort.__version__,
        "devices": ["cpu", "gpu"] if has_gpu else ["cpu"],
        "providers": providers,
    }


def _options(spec: Spec) -> ort.SessionOptions:
    known_only(spec, "onnxruntime", SETTINGS)
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = thread_count(spec, "threads", "onnxruntime")
    options.inter_op_num_threads = thread_count(spec, "inter_op_threads", "onnxruntime")
    several = "parallel" if options.inter_op_num_threads > 1 else "sequential"
    options.execution_mode = EXECUTIONS[one_of(spec, "execution", EXECUTIONS, several)]
    level = one_of(spec, "graph_optimization", OPTIMIZATIONS, "all")
    options.graph_optimization_level = OPTIMIZATIONS[level]
    options.add_session_config_entry(ASSIGNMENT, "1")  # passed over where it is not known
    if spec.profile:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(spec.folder, "onnxruntime")
    return options


def _execution_of(options: ort.SessionOptions) -> str:
    return next(name for name, mode in EXECUTIONS.items() if mode == options.execution_mode)


def _providers(spec: Spec) -> list[str]:
    """The one provider that is wanted: by its name, or as the device's own."""
    if spec.device not in PROVIDERS:
        raise unknown("device", spec.device, PROVIDERS)
    available = ort.get_available_providers()
    if name := str(spec.settings.get("provider", "")):
        if name not in available:
            raise unknown(f"provider of onnxruntime {ort.__version__} here", name, available)
        return [name]
    (wanted,) = PROVIDERS[spec.device]
    if wanted not in available:
        text = f"onnxruntime {ort.__version__} has no {wanted}, only {', '.join(available)}"
        raise WorkerError("framework", f"{text}; install onnxruntime-gpu, or ask for device cpu")
    return [wanted]


def _assigned(session: ort.InferenceSession) -> dict[str, list[str]]:
    """Provider -> the nodes that it runs: a wanted provider may have left some to the CPU's."""
    read = getattr(session, "get_provider_graph_assignment_info", None)
    if read is None:
        return {}
    found: dict[str, list[str]] = {}
    for part in read():
        found.setdefault(part.ep_name, []).extend(node.name for node in part.get_nodes())
    return found


def _beside_weights(spec: Spec) -> str:
    """The graph's path, in a folder where its weights lie too: ONNX Runtime looks nowhere else."""
    graph, weights = Path(spec.files["graph"]), Path(spec.files.get("weights") or "")
    if not spec.files.get("weights") or weights.parent == graph.parent:
        return str(graph)
    both = f"{graph.resolve()}\0{weights.resolve()}".encode()
    folder = Path(spec.folder) / f"model-{hashlib.sha256(both).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (graph, weights):
        target = folder / file.name
        target.unlink(missing_ok=True)
        try:
            # A hard link costs nothing; a symbolic one is refused: it leads out of the folder.
            os.link(file.resolve(), target)
        except FileNotFoundError as error:
            raise WorkerError("asset", f"{file} does not exist; fetch the model again") from error
        except OSError:
            shutil.copyfile(file, target)
    return str(folder / graph.name)


def _session(
    spec: Spec, graph: str, options: ort.SessionOptions, providers: list[str]
) -> ort.InferenceSession:
    try:
        session = ort.InferenceSession(graph, options, providers=providers)
    except FILE_ERRORS as error:
        raise _unusable(spec, error) from error
    except (state.Fail, state.InvalidArgument, state.RuntimeException) as error:
        # Weights that are missing or cut short, and an empty graph, come as one of these.
        if any(words in str(error).lower() for words in FILE_WORDS):
            raise _unusable(spec, error) from error
        raise
    # Left on, a failing GPU session would be remade on the CPU in the middle of a measurement.
    session.disable_fallback()
    return session


def _unusable(spec: Spec, error: Exception) -> WorkerError:
    names = [os.path.basename(path) for path in spec.files.values() if path]
    text = f"model file {' with '.join(names)} cannot be loaded; onnxruntime says: {error}"
    return WorkerError("asset", f"{text}; fetch it again and compare its checksum")


def _thread_count() -> int:
    return len(list(THREADS.iterdir())) if THREADS.is_dir() else 0


def _tensor(tensor: Any) -> dict[str, Any]:
    """A declared input or output; a free dimension is its name, or ? where it has none."""
    dtype = str(tensor.type).removeprefix("tensor(").removesuffix(")")
    shape = ["?" if size is None else size for size in tensor.shape]
    return {"name": tensor.name, "dtype": DTYPES.get(dtype, dtype), "shape": shape}
