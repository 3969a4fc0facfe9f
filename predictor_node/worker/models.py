"""The models that stay open between jobs: least recently used out."""

import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from . import frameworks
from .errors import Cancelled, WorkerError
from .fed_as import SETTING as FEED
from .fed_as import fed_by, feed_of
from .heap import heap
from .insides import SETTING as INSIDES
from .job import Job, Target
from .measure import Batch
from .trace import now_ns

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """A model in memory: its framework's module, the framework's handle, how it came to be."""

    plugin: ModuleType
    version: str
    handle: Any
    cached: bool
    start_ns: int
    duration_ns: int

    def close(self) -> None:
        self.plugin.close(self.handle)
        heap.changed()

    def about(self) -> dict[str, Any]:
        """What an `opened` frame says of it."""
        return {
            "version": self.version,
            "cached": self.cached,
            "duration_ns": self.duration_ns,
            "inputs": self.handle.inputs,
            "outputs": self.handle.outputs,
            "settings": self.handle.settings,
            "providers": getattr(self.handle, "providers", {}),
        }


class WarmModels:
    """Keeps handles by (content, settings, framework); a profiled one is never kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Opened] = OrderedDict()

    @contextmanager
    def opened(self, job: Job, profile: bool) -> Iterator[Opened]:
        """The job's model, warm or opened now; one that failed is not used again."""
        if profile:
            model = open_model(job, profile=True)
            try:
                yield model
            finally:
                model.close()
            return
        key = key_of(job)
        begin_ns = now_ns()
        if key in self._kept:
            self._kept.move_to_end(key)
            took_ns = now_ns() - begin_ns
            model = replace(self._kept[key], cached=True, start_ns=begin_ns, duration_ns=took_ns)
        else:
            self._shrink(max(0, job.keep_models - 1))
            model = self._kept[key] = open_model(job)
        try:
            yield model
        except Cancelled:
            raise
        except Exception:
            if key in self._kept:
                self._kept.pop(key).close()
            raise

    def _shrink(self, count: int) -> None:
        while len(self._kept) > count:
            self._kept.popitem(last=False)[1].close()

    def close(self) -> None:
        self._shrink(0)


def key_of(target: Target) -> Key:
    """What two targets have in common when one open model serves both."""
    settings = json.dumps(dict(target.settings), sort_keys=True, default=str)
    seed = f"#{target.seed}" if target.model.weights == "random" else ""
    return target.plugin, target.model.key + seed, settings


def open_model(target: Target, profile: bool = False) -> Opened:
    """The target's model, opened now."""
    name, plugin, spec = target.framework, plugin_of(target), spec_of(target, profile)
    heap.changed()
    begin_ns = now_ns()
    try:
        handle = plugin.open(spec)
    except WorkerError:
        raise
    except Exception as error:
        text = f"{name} could not open {target.model.name}: {error}"
        raise WorkerError("framework", text) from error
    took_ns = now_ns() - begin_ns
    version = str(plugin.describe()["version"])
    plugin = fed_by(plugin, feed_of(target.settings))
    return Opened(plugin, version, handle, False, begin_ns, took_ns)


def plugin_of(target: Target) -> ModuleType:
    """The target's framework module; WorkerError where its library is not installed."""
    name = target.framework
    try:
        return frameworks.load(name, target.plugin)
    except ImportError as error:
        text = f"framework {name} cannot be imported in this environment: {error}"
        raise WorkerError(
            "framework", f"{text}; install it here, or ask for another one"
        ) from error


def spec_of(target: Target, profile: bool = False) -> frameworks.Spec:
    """What the target's framework is told of it."""
    ours = (FEED, INSIDES)
    settings = {name: value for name, value in target.settings.items() if name not in ours}
    return frameworks.Spec(
        files=target.model.files,
        device=str(settings.pop("device", "cpu")),
        settings=settings,
        profile=profile,
        folder=target.folder,
        format=target.model.format,
        constructor=target.model.constructor,
        arguments=target.model.arguments,
        weights=target.model.weights,
        seed=target.seed,
        inputs=target.inputs,
        outputs=target.outputs,
    )


def prediction_failed(target: Target, error: Exception, batch: Batch) -> WorkerError:
    """A framework's error in a predict call, with what it was given."""
    given = {
        name: f"{tensor.dtype} {list(tensor.shape)}" if hasattr(tensor, "dtype") else "a list"
        for name, tensor in batch.items()
    }
    text = f"{target.framework} could not run {target.model.name} on {given}: {error}"
    return WorkerError("framework", text)
