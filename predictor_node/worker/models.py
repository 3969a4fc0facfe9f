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
from .job import Job
from .trace import now_ns


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


class WarmModels:
    """Keeps handles by (content, settings, framework); a profiled one is never kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], Opened] = OrderedDict()

    @contextmanager
    def opened(self, job: Job, profile: bool) -> Iterator[Opened]:
        """The job's model, warm or opened now; one that failed is not used again."""
        if profile:
            model = _open(job, profile=True)
            try:
                yield model
            finally:
                model.close()
            return
        settings = json.dumps(dict(job.settings), sort_keys=True, default=str)
        key = (job.plugin, job.model.key, settings)
        begin_ns = now_ns()
        if key in self._kept:
            self._kept.move_to_end(key)
            took_ns = now_ns() - begin_ns
            model = replace(self._kept[key], cached=True, start_ns=begin_ns, duration_ns=took_ns)
        else:
            self._shrink(max(0, job.keep_models - 1))
            model = self._kept[key] = _open(job, profile=False)
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


def _open(job: Job, profile: bool) -> Opened:
    try:
        plugin = frameworks.load(job.framework, job.plugin)
    except ImportError as error:
        text = f"framework {job.framework} cannot be imported in this environment: {error}"
        raise WorkerError(
            "framework", f"{text}; install it here, or ask for another one"
        ) from error
    settings = dict(job.settings)
    spec = frameworks.Spec(
        files=job.model.files,
        device=str(settings.pop("device", "cpu")),
        settings=settings,
        profile=profile,
        folder=job.folder,
    )
    begin_ns = now_ns()
    try:
        handle = plugin.open(spec)
    except WorkerError:
        raise
    except Exception as error:
        text = f"{job.framework} could not open {job.model.name}: {error}"
        raise WorkerError("framework", text) from error
    took_ns = now_ns() - begin_ns
    version = str(plugin.describe()["version"])
    return Opened(plugin, version, handle, False, begin_ns, took_ns)
