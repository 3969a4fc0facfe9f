"""What a framework is: a module of three functions, found by its path.

    open(spec: Spec) -> handle
        handle.inputs, handle.outputs: list[dict] with name, dtype, shape;
        handle.settings: dict of the values in effect
        handle.providers (optional): provider -> names of the graph's nodes that run on it
    predict(handle, batch) -> list[ndarray]
        batch: input name -> contiguous ndarray; gives the model's outputs in their order;
        as thin as can be
    close(handle) -> None
    describe() -> dict
        version, devices, providers: of the library in this environment; packages (optional):
        installed packages that bring models with them, name -> version
    native(handle, batch) -> batch                                      optional
        the batch as the framework's own tensors, which predict takes too: for the setting `feed`
    insides(spec, batch) -> (name, operator, output) of each layer      optional
        of a model opened for that, in execution order: for the setting `layer_outputs`
    layers(handle, starts_ns, durations_ns, warmup_count) -> Layers     optional
    spent(spec: Spec) -> str                                            optional
    multiply_adds(handle, batch) -> (int, str)                          optional

SETTINGS (optional) names the settings that it knows. `--serialize` gives it those of threads,
inter_op_threads (both 1) and execution (sequential) that are among them.

`layers` ends the profiling that `spec.profile` asked `open` for and gives back the framework's own
record of the predict calls, warmup_count unmeasured ones and then those that the two arrays (epoch
nanoseconds) list. `spent` says why a process in which this framework has run cannot take a spec's
settings any more (thread pools that are made once), or "": a worker then begins anew.
`multiply_adds` counts those of one call by the model's own graph, and says by what; -1 and why it
cannot. It is asked once a job, after the first run with layers. A module is
loaded as a member of this package, wherever its file lies: it may write
`from . import Layers, Spec` and `from ..errors import WorkerError`.

A path that does not end in `.py` is an executable, in any language: see external.py.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from ..errors import WorkerError

_loaded: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Spec:
    """What `open` needs to know. files: graph, weights (path or empty); folder: for profiles.

    settings: as asked for, the device apart; a name that a framework does not know is refused.
    format, constructor, arguments, weights: as the manifest's `model` says (weights: trained,
    random or constant); seed: of random weights. inputs, outputs: the manifest's, for frameworks
    whose files do not say what goes in and comes out.
    """

    files: Mapping[str, str]
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    profile: bool = False
    folder: str = "."
    format: str = ""
    constructor: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "trained"
    seed: int = 0
    inputs: Sequence[Mapping[str, Any]] = ()
    outputs: Sequence[Mapping[str, Any]] = ()


def _no_numbers() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Layers:
    """A framework's own profile as columns: one row each time that a layer ran, in time order.

    table: each layer once, in execution order: index, name, operator, provider, inputs, outputs,
    parameter_bytes, output_bytes; where they are known module and allocated_bytes (of memory, while
    it ran). layer: rows of the table. lost: runs of layers that the profiler could not keep;
    reason: why, or what else is missing.
    """

    table: list[dict[str, Any]]
    layer: np.ndarray = field(default_factory=_no_numbers)
    starts_ns: np.ndarray = field(default_factory=_no_numbers)
    durations_ns: np.ndarray = field(default_factory=_no_numbers)
    threads: np.ndarray = field(default_factory=_no_numbers)
    lost: int = 0
    reason: str = ""


def installed() -> dict[str, str]:
    """The framework modules that packages of this environment bring: name -> file, not imported."""
    found = {}
    for entry in entry_points(group="mlmodelscope.frameworks"):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError:  # a package without its parent: there is nothing to load
            continue
        if spec is not None and spec.origin:
            found[entry.name] = spec.origin
    return found


def load(name: str, path: str) -> Any:
    """The framework module in this file; ImportError where its library is not installed."""
    if path in _loaded:
        return _loaded[path]
    if not path.endswith(".py"):
        from .external import Executable

        return _loaded.setdefault(path, Executable(name, path))
    member = f"{__name__}.{name}"
    spec = importlib.util.spec_from_file_location(member, path)
    if spec is None or spec.loader is None:
        raise WorkerError("request", f"{path} is not a Python file; a framework module is expected")
    module = importlib.util.module_from_spec(spec)
    sys.modules[member] = module
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError as error:
        raise WorkerError("request", f"framework {name} has no module at {path}") from error
    except BaseException:
        del sys.modules[member]
        raise
    _loaded[path] = module
    return module
