"""PyTorch: exported programs, TorchScript, and networks that an installed package constructs."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from . import Layers, Spec
from .installed import has_gpu, model_packages, version_of
from .pytorch_files import Network, load
from .pytorch_operators import describe as describe_operators
from .pytorch_profile import Recorder, read_layers, show_fused_kernels
from .settings import known_only, one_of, same_precision, thread_count
from .tensors import check_batch, inputs_of, outputs_of, renamed

VERSION = version_of("torch")  # torch itself takes seconds to import: only `open` does
SETTINGS = ("threads", "inter_op_threads", "precision", "compile")
CONCURRENT = True  # several threads may predict at once
DEVICES = {"cpu": "cpu", "gpu": "cuda"}
FLOATS = ("float32", "float16", "bfloat16")
# Whatever reads a file with torch.load, inside PyTorch too: tensors and nothing else.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)

_threads = 0
"""What the process has now: PyTorch keeps one number for all models."""
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """The settings of a spec, read."""

    device: str
    threads: int
    inter_op_threads: int
    precision: str
    compile: str


def open(spec: Spec) -> Handle:
    wanted = _wanted(spec)
    _use_pools(wanted)
    _check_device(wanted.device)
    network = load(spec)
    module = _converted(network, wanted, spec).to(DEVICES[wanted.device])
    providers = _where(module)
    effective = {
        "device": spec.device,
        "format": network.format,
        "intra_op_threads": _threads,
        "inter_op_threads": _torch().get_num_interop_threads(),
        "precision": "int8" if wanted.precision == "int8" else _precision(module),
        "compile": wanted.compile,
    }
    declared = inputs_of(spec, network.parameters)
    inputs = renamed(network.inputs, declared) if network.inputs else declared
    said = outputs_of(spec)
    outputs = renamed(network.outputs, said) if network.outputs else said
    if wanted.compile == "inductor":
        # Whole or not at all: a graph that is compiled in part would be half measured.
        module = _torch().compile(module, fullgraph=True, dynamic=False)
        if spec.profile:
            show_fused_kernels()
    cast = wanted.precision if wanted.precision in FLOATS[1:] else ""
    feed = _Feed.of(network, inputs, cast, DEVICES[wanted.device])
    names = [each["name"] for each in outputs]
    recorder = Recorder(module, on_gpu=spec.device == "gpu") if spec.profile else None
    return Handle(
        run=_runner(recorder or module, feed, names),
        threads=_threads,
        inputs=inputs,
        outputs=outputs,
        settings=effective,
        providers=providers,
        recorder=recorder,
    )


def predict(handle: Handle, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    if handle.threads != _threads:
        _set_threads(handle.threads)  # another model of this process has changed it
    try:
        return handle.run(batch)
    except Exception:
        check_batch(handle.inputs, batch)
        raise


def insides(spec: Spec, batch: Mapping[str, np.ndarray]) -> list[tuple[str, str, Any]]:
    """What each module gives back, or each call of an exported graph; nothing is compiled."""
    from .pytorch_insides import watched

    wanted = _wanted(spec)
    _use_pools(wanted)
    network = load(spec)
    module = _converted(network, wanted, spec).to(DEVICES[wanted.device])
    declared = inputs_of(spec, network.parameters)
    inputs = renamed(network.inputs, declared) if network.inputs else declared
    cast = wanted.precision if wanted.precision in FLOATS[1:] else ""
    call, told = watched(module)
    said = outputs_of(spec)
    outputs = renamed(network.outputs, said) if network.outputs else said
    feed = _Feed.of(network, inputs, cast, DEVICES[wanted.device])
    _runner(call, feed, [each["name"] for each in outputs])(batch)
    return told


def close(handle: Handle) -> None:
    on_gpu = handle.settings["device"] == "gpu"
    if handle.recorder is not None:
        handle.recorder.stop()
    del handle.run, handle.recorder
    if on_gpu:
        _torch().cuda.empty_cache()


def layers(
    handle: Handle, starts_ns: np.ndarray, durations_ns: np.ndarray, warmup_count: int
) -> Layers:
    """Kineto's record of the operators that each predict called; ends the recording."""
    recorder = handle.recorder
    assert recorder is not None

    def describe(operators: list[str]) -> tuple[list[dict[str, Any]], str]:
        return describe_operators(recorder, operators)

    return read_layers(recorder, describe, starts_ns, durations_ns, warmup_count)


def multiply_adds(handle: Handle, batch: Mapping[str, np.ndarray]) -> tuple[int, str]:
    """Those of one call, counted by PyTorch's own FlopCounterMode: two FLOPs each."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        handle.run(batch)
    return counter.get_total_flops() // 2, f"PyTorch {torch.__version__}, FlopCounterMode"


def spent(spec: Spec) -> str:
    """Why this process cannot take these settings any more; empty where it can."""
    asked = thread_count(spec, "inter_op_threads", "pytorch")
    if not _own_threads or not asked or asked == (now := _torch().get_num_interop_threads()):
        return ""
    return f"PyTorch sets inter_op_threads once a process, and it is {now} here"


def describe() -> dict[str, Any]:
    """What this environment's PyTorch can use, without importing it."""
    gpu = has_gpu() and not VERSION.endswith("+cpu")
    return {
        "version": VERSION,
        "devices": ["cpu", "gpu"] if gpu else ["cpu"],
        "providers": ["cpu", "cuda"] if gpu else ["cpu"],
        "packages": model_packages("torch"),
    }


def _wanted(spec: Spec) -> Wanted:
    known_only(spec, "pytorch", SETTINGS)
    if spec.device not in DEVICES:
        raise unknown("device", spec.device, DEVICES)
    return Wanted(
        device=spec.device,
        threads=thread_count(spec, "threads", "pytorch"),
        inter_op_threads=thread_count(spec, "inter_op_threads", "pytorch"),
        precision=one_of(spec, "precision", (*FLOATS, "int8")),
        compile=one_of(spec, "compile", ("none", "inductor"), "none"),
    )


def _torch() -> Any:
    import torch

    return torch


def _check_device(device: str) -> None:
    torch = _torch()
    if device == "gpu" and not torch.cuda.is_available():
        text = f"torch {torch.__version__} finds no CUDA device here"
        raise WorkerError(
            "framework", f"{text}; install a CUDA build and its driver, or ask for device cpu"
        )


# ------------------------------------------------------------------ threads


def _use_pools(wanted: Wanted) -> None:
    global _own_threads
    torch = _torch()
    _own_threads = _own_threads or torch.get_num_threads()
    if (asked := wanted.inter_op_threads) and asked != (now := torch.get_num_interop_threads()):
        try:
            torch.set_num_interop_threads(asked)
        except RuntimeError as error:
            text = f"inter_op_threads {asked} was asked for, and this process has {now}"
            raise WorkerError("request", f"{text}: PyTorch sets it once a process") from error
    _set_threads(wanted.threads or _own_threads)


def _set_threads(count: int) -> None:
    global _threads
    torch = _torch()
    torch.set_num_threads(count)
    _threads = torch.get_num_threads()


# ------------------------------------------------------------------ precision, device


def _converted(network: Network, wanted: Wanted, spec: Spec) -> Any:
    torch, module, precision = _torch(), network.module, wanted.precision
    if wanted.compile != "none" and network.format == "torchscript":
        text = "compile inductor was asked for, and TorchScript has a compiler of its own"
        raise WorkerError("request", f"{text}; use an exported program or a constructor")
    if network.format == "exported_program":
        same_precision(spec, _precision(module), "export it again in the precision that you want")
        return module
    if precision == "int8":
        return _quantised(module, network.format, wanted.device)
    return module.to(getattr(torch, precision)) if precision else module


def _quantised(module: Any, format: str, device: str) -> Any:
    """Linear layers with weights of 8 bits; what enters them is quantised as it comes."""
    torch = _torch()
    linear = [name for name, each in module.named_modules() if isinstance(each, torch.nn.Linear)]
    if format != "state_dict" or device != "cpu" or not linear:
        text = "precision int8 quantises the Linear layers of a constructed network on a CPU"
        has = f"{len(linear)} Linear layers, format {format}, device {device}"
        raise WorkerError("request", f"{text}; this is {has}")
    quantise = getattr(getattr(torch.ao, "quantization", None), "quantize_dynamic", None)
    if quantise is None:
        text = f"torch {torch.__version__} has no dynamic quantisation any more"
        raise WorkerError("framework", f"{text}; ask for float32, float16 or bfloat16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pages of advice about its successor
        return quantise(module, {torch.nn.Linear}, dtype=torch.qint8)


def _precision(module: Any) -> str:
    kinds = {str(each.dtype) for each in _tensors(module).values() if each.is_floating_point()}
    names = sorted(kind.removeprefix("torch.") for kind in kinds)
    return names[0] if len(names) == 1 else "mixed" if names else ""


def _where(module: Any) -> dict[str, list[str]]:
    """The layers whose weights really lie on each device."""
    found: dict[str, dict[str, None]] = {}
    for name, tensor in _tensors(module).items():
        found.setdefault(str(tensor.device), {})[name.rpartition(".")[0] or name] = None
    for name, each in getattr(module, "named_modules", dict().items)():
        if "quantized" in type(each).__module__ and hasattr(each, "weight"):
            found.setdefault("cpu", {})[name] = None
    return {device: list(layers) for device, layers in found.items()}


def _tensors(module: Any) -> dict[str, Any]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


# ------------------------------------------------------------------ predicting


@dataclass(frozen=True, slots=True)
class _Feed:
    """How a batch becomes the arguments of a network."""

    positional: Sequence[str]
    keywords: Mapping[str, str]
    """parameter -> name in the batch"""
    cast: str
    device: str

    @staticmethod
    def of(network: Network, inputs: list[dict[str, Any]], cast: str, device: str) -> "_Feed":
        names = [each["name"] for each in inputs]
        if network.format == "exported_program":
            count = len(names) - len(network.keywords)
            keywords = dict(zip(network.keywords, names[count:], strict=True))
            return _Feed(names[:count], keywords, cast, device)
        if set(names) <= set(network.parameters):
            return _Feed((), {name: name for name in names}, cast, device)
        return _Feed(names, {}, cast, device)


def _runner(
    module: Any, feed: _Feed, outputs: list[str]
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    torch = _torch()
    from_numpy, tensor_type = torch.from_numpy, torch.Tensor
    positional, keywords = tuple(feed.positional), tuple(feed.keywords.items())
    make = from_numpy
    if feed.cast or feed.device != "cpu":
        dtype, device = getattr(torch, feed.cast or "float32"), feed.device

        def make(array: np.ndarray) -> Any:
            tensor = from_numpy(array).to(device)
            return tensor.to(dtype) if feed.cast and tensor.is_floating_point() else tensor

    @torch.inference_mode()
    def run(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        answer = module(
            *[make(batch[name]) for name in positional],
            **{parameter: make(batch[name]) for parameter, name in keywords},
        )
        if isinstance(answer, tensor_type):
            return [_array(answer)]
        return [_array(tensor) for tensor in _flat(answer, outputs)]

    return run


def _array(tensor: Any) -> np.ndarray:
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()  # numpy has no bfloat16, and what follows computes in float32
    if tensor.requires_grad or not tensor.is_cpu:
        tensor = tensor.detach().cpu()  # each of these is an operator, even where it does nothing
    return tensor.numpy()


def _flat(answer: Any, names: list[str]) -> list[Any]:
    """The tensors of an answer in their order; of a dict, those that the manifest names, if all."""
    if isinstance(answer, Mapping):
        if all(name in answer for name in names):
            return [answer[name] for name in names]
        return [each for value in answer.values() for each in _flat(value, names)]
    if isinstance(answer, list | tuple):
        return [each for value in answer for each in _flat(value, names)]
    return [answer] if hasattr(answer, "detach") else []
