"""MXNet 1.x: a symbol's JSON with its parameters, or the symbol alone with random ones."""

import ctypes
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from . import Layers, Spec
from .installed import has_gpu, model_packages, version_of
from .mxnet_profile import Recorder
from .settings import known_only, one_of, same_precision, thread_count
from .tensors import check_batch, inputs_of, outputs_of, renamed

VERSION = version_of("mxnet", "mxnet-mkl", "mxnet-cu112", "mxnet-cu102")
SETTINGS = ("threads", "precision")
DEVICES = ("cpu", "gpu")
INITIAL_SCALE = 0.05  # of random weights: small enough that no layer overflows

_threads = 0
"""What the process has now: MXNet keeps one number for all models."""
_own_threads = 0


@dataclass(slots=True)
class Handle:
    """An open network; `run` takes a batch to the outputs as numpy arrays."""

    run: Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
    threads: int
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    settings: dict[str, Any]
    providers: dict[str, list[str]] = field(default_factory=dict)
    recorder: Recorder | None = None
    """Where the model was opened to be profiled."""


def open(spec: Spec) -> Handle:
    known_only(spec, "mxnet", SETTINGS)
    threads = thread_count(spec, "threads", "mxnet")
    one_of(spec, "precision", ("float32", "float16"))
    mx = _library()
    context = _context(mx, spec.device)
    _use_threads(mx, threads or _own_threads)
    symbol = _symbol(mx, spec.files.get("graph") or "")
    given = _parameters(mx, spec, symbol)
    inputs, outputs = _tensors(spec, symbol, given)
    if not given:
        given = _random(mx, spec, symbol, inputs)
    precision = _precision(given)
    same_precision(spec, precision, "give parameters of the precision that you want")
    block = _block(mx, symbol, inputs, given, context)
    run = _runner(mx, block, inputs, context)
    recorder = Recorder(mx, symbol, run, spec.folder) if spec.profile else None
    where = {str(name): str(value.list_ctx()[0]) for name, value in block.collect_params().items()}
    return Handle(
        run=recorder or run,
        threads=_threads,
        inputs=inputs,
        outputs=outputs,
        settings={
            "device": spec.device,
            "format": "symbol",
            "intra_op_threads": _threads,
            "precision": precision,
            "onednn": "on" if mx.runtime.Features().is_enabled("MKLDNN") else "off",
        },
        providers={
            device: [name for name, there in where.items() if there == device]
            for device in dict.fromkeys(where.values())
        },
        recorder=recorder,
    )


def predict(handle: Handle, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    if handle.threads != _threads:
        _use_threads(_library(), handle.threads)  # another model of this process has changed it
    try:
        return handle.run(batch)
    except Exception:
        check_batch(handle.inputs, batch)
        raise


def close(handle: Handle) -> None:
    if handle.recorder is not None:
        handle.recorder.stop()
    del handle.run, handle.recorder


def layers(
    handle: Handle, starts_ns: np.ndarray, durations_ns: np.ndarray, warmup_count: int
) -> Layers:
    """MXNet's record of the operators of each predict; ends the recording."""
    assert handle.recorder is not None
    return handle.recorder.layers(starts_ns, durations_ns, warmup_count)


def describe() -> dict[str, Any]:
    """What this environment's MXNet can use, without importing it."""
    gpu = has_gpu() and "cu" in VERSION
    return {
        "version": VERSION,
        "devices": ["cpu", "gpu"] if gpu else ["cpu"],
        "providers": ["cpu", "gpu"] if gpu else ["cpu"],
        "packages": model_packages("mxnet"),
    }


def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, about names that this MXNet still uses
        import mxnet

    return mxnet


def _context(mx: Any, device: str) -> Any:
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cpu":
        return mx.cpu()
    if not mx.context.num_gpus():
        text = f"mxnet {mx.__version__} finds no GPU here"
        raise WorkerError("framework", f"{text}; install a CUDA build, or ask for device cpu")
    return mx.gpu()


def _use_threads(mx: Any, count: int) -> None:
    """The threads of one operator: OpenMP's, as this version lets them be set while it runs."""
    global _threads, _own_threads
    if not _own_threads:
        given = os.environ.get("OMP_NUM_THREADS", "")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        _own_threads = int(given) if given.isdecimal() and int(given) else cores or 1
    count = count or _own_threads
    if count != (_threads or _own_threads):
        mx.base.check_call(mx.base._LIB.MXSetNumOMPThreads(ctypes.c_int(count)))
    _threads = count


# ------------------------------------------------------------------ files


def _symbol(mx: Any, path: str) -> Any:
    name = os.path.basename(path)
    if not os.path.exists(path):
        raise WorkerError("asset", f"model file {name} does not exist; fetch the model again")
    try:
        return mx.sym.load(path)
    except Exception as error:
        text = f"model file {name} is no symbol of MXNet's (…-symbol.json): {str(error)[:300]}"
        raise WorkerError("asset", f"{text}; fetch it again") from error


def _parameters(mx: Any, spec: Spec, symbol: Any) -> dict[str, Any]:
    """name -> array, without the arg: and aux: that tell trained from running values."""
    path = spec.files.get("weights") or ""
    if not path:
        if spec.weights == "trained":
            text = "an MXNet symbol holds no weights, and the manifest names none"
            raise WorkerError("request", f"{text}; give weights_path, or say weights: random")
        return {}
    name = os.path.basename(path)
    try:
        found = mx.nd.load(path)
    except Exception as error:
        text = f"weights file {name} cannot be loaded; mxnet says: {str(error)[:300]}"
        raise WorkerError("asset", f"{text}; fetch it again and compare its checksum") from error
    if not isinstance(found, dict):
        text = f"weights file {name} holds arrays without names"
        raise WorkerError("asset", f"{text}; the parameters of a symbol are expected")
    given = {each.partition(":")[2] or each: value for each, value in found.items()}
    wanted = {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
    if not wanted & given.keys():
        text = f"the weights in {name} are not those of this symbol: it has {sorted(wanted)[:5]} …"
        raise WorkerError("asset", f"{text}, they are {sorted(given)[:5]} …")
    return {each: value for each, value in given.items() if each in wanted}


def _tensors(
    spec: Spec, symbol: Any, given: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    declared = inputs_of(spec)
    names = {each["name"] for each in declared}
    arguments = symbol.list_arguments()
    # A loss layer's label is an argument too: nobody gives it, and prediction does not read it.
    free = [each for each in arguments if each not in given and not each.endswith("label")]
    if names <= set(arguments):
        inputs = declared
    elif given and len(free) == len(declared):
        inputs = [{**each, "name": name} for each, name in zip(declared, free, strict=True)]
    else:
        known = free if given else arguments
        raise unknown("input of the model", min(names - set(arguments)), known)
    own = [{"name": name, "dtype": "", "shape": []} for name in symbol.list_outputs()]
    said = outputs_of(spec)
    if names_said := {each["name"] for each in said} & {each["name"] for each in own}:
        return inputs, [
            next((s for s in said if s["name"] == each["name"]), each) if names_said else each
            for each in own
        ]
    return inputs, renamed(own, said)


def _random(mx: Any, spec: Spec, symbol: Any, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Normal weights, drawn with the seed; running variances are 1: nothing is divided by 0."""
    shapes = {
        each["name"]: tuple(size if isinstance(size, int) else 1 for size in each["shape"])
        for each in inputs
    }
    try:
        found, _, running = symbol.infer_shape(**shapes)
    except Exception as error:
        text = f"the shapes of this symbol do not follow from the inputs {shapes}"
        raise WorkerError("request", f"{text}: {str(error)[:300]}") from error
    draw = np.random.default_rng(spec.seed)
    made = {}
    named = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    for name, shape in zip(named, [*found, *running], strict=True):
        if name in shapes or name.endswith("label"):
            continue
        if name.endswith(("_var", "_gamma")):
            values = np.ones(shape, np.float32)
        else:
            values = draw.normal(0, INITIAL_SCALE, shape).astype(np.float32)
        made[name] = mx.nd.array(values)
    return made


def _precision(given: Mapping[str, Any]) -> str:
    found = {np.dtype(value.dtype).name for value in given.values()}
    return next(iter(found)) if len(found) == 1 else "mixed"


# ------------------------------------------------------------------ predicting


def _block(
    mx: Any, symbol: Any, inputs: list[dict[str, Any]], given: Mapping[str, Any], context: Any
) -> Any:
    arguments = symbol.list_arguments()
    fed = [mx.sym.var(each["name"], dtype=each["dtype"] or None) for each in inputs]
    absent = set(arguments) - given.keys() - {each["name"] for each in inputs}
    labels = [name for name in arguments if name in absent and name.endswith("label")]
    if missing := sorted(absent - set(labels)):
        text = f"the weights lack {len(missing)} parameters of this symbol: {missing[:5]}"
        raise WorkerError("asset", f"{text}; graph and weights of one model are expected")
    block = mx.gluon.SymbolBlock(symbol, [*fed, *(mx.sym.var(name) for name in labels)])
    for name, parameter in block.collect_params().items():
        parameter.grad_req = "null"
        parameter._load_init(given[name], context, cast_dtype=True, dtype_source="saved")
    block.hybridize(static_alloc=True, static_shape=True)
    block.labels = len(labels)
    return block


def _runner(
    mx: Any, block: Any, inputs: list[dict[str, Any]], context: Any
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    names, array = [each["name"] for each in inputs], mx.nd.array
    labels = block.labels

    def run(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        given = [array(batch[name], ctx=context, dtype=batch[name].dtype) for name in names]
        given += [mx.nd.zeros(given[0].shape[:1], ctx=context) for _ in range(labels)]
        answer = block(*given)
        # Reading the numbers waits for them: MXNet computes behind its caller's back.
        return [each.asnumpy() for each in (answer if isinstance(answer, list) else [answer])]

    return run
