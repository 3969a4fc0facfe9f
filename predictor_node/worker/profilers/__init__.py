"""What a profiler is: a module around a context manager, found by its path, like a framework.

    LEVEL: str
        the trace level that it serves: framework, library, system, hardware or full
    available() -> str
        "", or why this machine or environment cannot. It is asked before any run, and where
        `environment` is not in force yet
    profile(session: Session) -> context manager
        entered before the measured loop of every run at its level or deeper, left after it: it
        adds its spans and samples then, by way of the session. What it gives (`as hook`) may have
        `before(query)` and `after(query)`: called around each predict, outside its two clock
        readings
    frameworks: tuple[str, ...]                     optional: for runs of these frameworks only
    devices: tuple[str, ...]                        optional: for runs on these only (cpu, gpu)
    environment(settings) -> dict[str, str]         optional: variables that must be set before the
        worker starts: a run that needs them gets a worker process of its own
    ALONE: bool                                     optional: where it is in force at its own level,
        no other profiler is
    wanted(settings) -> str                         optional: "", or how to ask for what nobody
        gets unasked (it is too dear): then it is not entered

A profiler that fails costs its own numbers and says so; the measurement goes on. A module is loaded
as a member of this package, wherever its file lies: it may write `from . import Session`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import WorkerError, unknown
from ..trace import LEVELS, Times, Trace, now_ns

if TYPE_CHECKING:
    import numpy as np

    from ..job import Run

GROUP = "mlmodelscope.profilers"
SERVED = LEVELS[LEVELS.index("framework") :]
MOST_SPANS = 2_000_000
MOST_SAMPLES = 200_000
"""What one profiler may add to one run; what comes after is counted as lost."""

_loaded: dict[str, ModuleType] = {}


@dataclass(slots=True)
class Kept:
    """What a profiler has added to one run so far."""

    spans: int = 0
    samples: dict[tuple[str, str, str], tuple[list[int], list[float]]] = field(default_factory=dict)
    sample_count: int = 0
    lost_samples: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One profiler's view of one run: what runs, and where to put what was seen of it.

    plugin, handle: the framework's module and its open model. folder: for files, emptied after the
    job. settings: the job's settings for profilers, without their prefix. thread: the native id of
    the thread that predicts.
    """

    run: Run
    framework: str
    plugin: Any
    handle: Any
    folder: str
    settings: Mapping[str, Any]
    thread: int
    times: Times
    trace: Trace
    kept: Kept = field(default_factory=Kept)

    @property
    def starts_ns(self) -> np.ndarray:
        """When each measured predict began, in epoch ns; empty until the loop has begun."""
        import numpy as np

        began = np.frombuffer(self.times.starts_ns, np.int64)[: self.times.done]
        return began + self.trace.clock.offset_ns

    @property
    def durations_ns(self) -> np.ndarray:
        """How long each measured predict took."""
        import numpy as np

        return np.frombuffer(self.times.durations_ns, np.int64)[: self.times.done].copy()

    def now_ns(self) -> int:
        """The worker's clock: for samples."""
        return self.trace.clock.epoch_ns(now_ns())

    def add_span(
        self,
        level: str,
        name: str,
        epoch_start_ns: int,
        duration_ns: int,
        thread: int,
        tags: Mapping[str, Any],
        correlation_id: int = 0,
    ) -> None:
        """One span; its parent is found later, by containment or by correlation id."""
        if self.kept.spans >= MOST_SPANS:
            self.trace.lose(1, _index(level))
            return
        self.kept.spans += 1
        self.trace.add_seen(
            _index(level), name, epoch_start_ns, duration_ns, thread, tags, correlation_id
        )

    def add_sample(self, name: str, unit: str, level: str, epoch_ns: int, value: float) -> None:
        """One sample of one quantity; any thread may add it, one at a time."""
        kept, key = self.kept, (name, unit, LEVELS[_index(level)])
        if kept.sample_count >= MOST_SAMPLES:
            kept.lost_samples += 1
            return
        kept.sample_count += 1
        times_ns, values = kept.samples.setdefault(key, ([], []))
        times_ns.append(int(epoch_ns))
        values.append(float(value))

    def lose(self, spans: int, level: str = "") -> None:
        """Spans that there were and that could not be kept; of the run's own level, if not said."""
        if spans:
            self.trace.lose(spans, _index(level or self.run.level))

    def unavailable(self, reason: str) -> None:
        """What could not be had in this run, and why."""
        if reason not in self.kept.reasons:
            self.kept.reasons.append(reason)


def installed() -> dict[str, str]:
    """The profilers that packages of this environment bring: name -> file, not imported."""
    found = {}
    for entry in entry_points(group=GROUP):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError:  # a package without its parent: there is nothing to load
            continue
        if spec is not None and spec.origin:
            found[entry.name] = spec.origin
    return found


def load(name: str, path: str) -> ModuleType:
    """The profiler in this file; WorkerError or ImportError where there is none."""
    if path in _loaded:
        return _loaded[path]
    file = Path(path)
    if file.parent.samefile(Path(__file__).parent) if file.parent.is_dir() else False:
        module = importlib.import_module(f"{__name__}.{file.stem}")
    else:
        module = _foreign(name, path)
    if getattr(module, "LEVEL", None) not in SERVED:
        found = getattr(module, "LEVEL", None)
        text = f"profiler {name}: LEVEL is {found!r}; one of {', '.join(SERVED)} is expected"
        raise WorkerError("request", text)
    for function in ("available", "profile"):
        if not callable(getattr(module, function, None)):
            raise WorkerError("request", f"profiler {name} has no function {function} in {path}")
    _loaded[path] = module
    return module


def describe(name: str, path: str) -> dict[str, Any]:
    """What a profiler serves, and what stands against it here."""
    try:
        module = load(name, path)
        return {
            "name": name,
            "plugin": path,
            "level": module.LEVEL,
            "frameworks": list(getattr(module, "frameworks", ())),
            "unavailable": module.available(),
        }
    except Exception as error:  # a broken profiler costs only itself, and the node says why
        text = f"{type(error).__name__}: {error}"
        return {"name": name, "plugin": path, "level": "", "frameworks": [], "unavailable": text}


def _foreign(name: str, path: str) -> ModuleType:
    # A name of its own: a plugin called `system` must not take the place of a module of ours.
    member = f"{__name__}.plugin_{name.replace('.', '_').replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(member, path)
    if spec is None or spec.loader is None:
        raise WorkerError("request", f"{path} is not a Python file; a profiler is expected")
    module = importlib.util.module_from_spec(spec)
    sys.modules[member] = module
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError as error:
        del sys.modules[member]
        raise WorkerError("request", f"profiler {name} has no module at {path}") from error
    except BaseException:
        del sys.modules[member]
        raise
    return module


def _index(level: str) -> int:
    if level not in LEVELS:
        raise unknown("level", level, LEVELS)
    return LEVELS.index(level)
