"""Which profilers look at a run, entered around its measured loop; what they lack is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from . import profilers
from .job import Job, Run
from .measure_hooked import Hook
from .models import Opened
from .profilers import Session
from .trace import FRAMEWORK, LEVELS, Times, Trace

NOBODY = "no profiler of this level is known to this node"
SAMPLES = 50_000  # a frame


@dataclass(frozen=True, slots=True)
class Found:
    """A profiler of a job: why says what stands against it, or nothing; level "": not loaded.

    foreign: it is for other frameworks than the job's. variables: those of the environment that it
    must find set.
    """

    name: str
    level: str
    why: str
    module: ModuleType | None = None
    foreign: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


class Profiling:
    """The profilers of one job, and what was missing of each level."""

    def __init__(self, job: Job, trace: Trace, say: Callable[[dict[str, Any]], None]) -> None:
        self._job, self._trace, self._say = job, trace, say
        asked = LEVELS.index(job.level) if job.level else 0
        asked = max([asked, *(LEVELS.index(run.level) for run in job.runs)])
        self._asked = LEVELS[FRAMEWORK + 1 : asked + 1]
        # At model level nobody looks: not even the modules are loaded.
        self._found = find(job) if asked >= FRAMEWORK else []
        self._reasons: dict[str, list[str]] = {}
        self._failed: set[str] = set()

    def in_force(self, run: Run) -> list[Found]:
        """The profilers that look at a run: of its level and of those above, shallow first."""
        depth = LEVELS.index(run.level)
        able = [one for one in self._found if one.module is not None and not one.why]
        chosen = [one for one in able if LEVELS.index(one.level) <= depth]
        if alone := [one for one in chosen if one.level == run.level and _alone(one)]:
            return alone
        return sorted(chosen, key=lambda one: LEVELS.index(one.level))

    @contextmanager
    def around(self, run: Run, model: Opened, times: Times) -> Iterator[Sequence[Hook]]:
        """Enter every profiler of the run; those that want to be called for each query."""
        sessions = [(one, self._session(run, model, times)) for one in self.in_force(run)]
        with ExitStack() as stack:
            given = [stack.enter_context(_guarded(one, session)) for one, session in sessions]
            yield [
                GuardedHook(hook, session)
                for hook, (_, session) in zip(given, sessions, strict=True)
                if hasattr(hook, "before") and hasattr(hook, "after")
            ]
        for one, session in sessions:
            self._tell(run, one, session)

    def unavailable(self) -> dict[str, str]:
        """Each asked level that lacks something: what, and why; "in part" where the rest ran."""
        told = {f"profiler {one.name}": one.why for one in self._found if not one.level}
        for level in (LEVELS[FRAMEWORK], *self._asked):
            here = [one for one in self._found if one.level == level]
            able = any(not one.why and one.name not in self._failed for one in here)
            # What is for other frameworks is worth a word only where nothing else is to be said.
            whys = [f"{one.name}: {one.why}" for one in here if one.why and not one.foreign]
            whys += self._reasons.get(level, [])
            if not able and not whys:
                whys = [f"{one.name}: {one.why}" for one in here if one.why]
            if whys:
                told[level] = ("in part: " if able else "") + "; ".join(whys)
            elif not here and level in self._asked and level != LEVELS[-1]:
                told[level] = NOBODY
        return told

    def _session(self, run: Run, model: Opened, times: Times) -> Session:
        return Session(
            run=run,
            framework=self._job.framework,
            plugin=model.plugin,
            handle=model.handle,
            folder=self._job.folder,
            settings=self._job.profile_settings,
            thread=self._trace.thread,
            times=times,
            trace=self._trace,
        )

    def _tell(self, run: Run, one: Found, session: Session) -> None:
        kept = session.kept
        for (name, unit, level), (times_ns, values) in kept.samples.items():
            for first in range(0, len(values), SAMPLES):
                part = slice(first, first + SAMPLES)
                about = {"name": name, "unit": unit, "level": level, "run": run.index}
                numbers = {"times_ns": times_ns[part], "values": values[part]}
                self._say({"said": "samples", **about, **numbers})
        if kept.lost_samples:
            session.unavailable(f"{kept.lost_samples:,} samples beyond {profilers.MOST_SAMPLES:,}")
        if kept.reasons:
            known = self._reasons.setdefault(one.level, [])
            whys = [f"{one.name}: {why}" for why in kept.reasons]
            known += [why for why in whys if why not in known]
            if not kept.spans and not kept.sample_count:
                self._failed.add(one.name)


def find(job: Job) -> list[Found]:
    """The profilers that a job names, each with what stands against it here."""
    return [_find(job, name, path) for name, path in job.profilers.items()]


def variables(job: Job) -> list[dict[str, str]]:
    """For each run of a job, the environment variables that its worker must begin with."""
    found = [one for one in find(job) if one.module is not None and not one.why]
    needed = []
    for run in job.runs:
        depth = LEVELS.index(run.level)
        wanted: dict[str, str] = {}
        for one in found:
            if LEVELS.index(one.level) <= depth:
                wanted.update(one.variables)
        needed.append(wanted)
    return needed


def _find(job: Job, name: str, path: str) -> Found:
    try:
        module = profilers.load(name, path)
        only: Sequence[str] = getattr(module, "frameworks", ())
        if only and job.framework not in only:
            why = f"it is for {', '.join(only)}, not {job.framework}"
            return Found(name, module.LEVEL, why, foreign=True)
        not_wanted = _not_wanted(module, job.profile_settings)
        device = str(job.settings.get("device", "cpu"))
        if (on := getattr(module, "devices", ())) and device not in on:
            why = f"it is for device {', '.join(on)}, not {device}"
            # Who asked for it by name is told; to all others it is nothing that they lack.
            asked = hasattr(module, "wanted") and not not_wanted
            return Found(name, module.LEVEL, why, foreign=not asked)
        why = module.available() or not_wanted
        environment = getattr(module, "environment", None)
        needs = environment(job.profile_settings) if environment and not why else {}
        needed = {str(key): str(value) for key, value in needs.items()}
        return Found(name, module.LEVEL, why, module, variables=needed)
    except Exception as error:  # said where the level is asked for; the other profilers go on
        return Found(name, "", f"{type(error).__name__}: {error}")


def _alone(one: Found) -> bool:
    return bool(getattr(one.module, "ALONE", False))


def _not_wanted(module: ModuleType, settings: Mapping[str, Any]) -> str:
    wanted = getattr(module, "wanted", None)
    return str(wanted(settings)) if wanted is not None else ""


class GuardedHook:
    """A hook that is not called again once it has failed."""

    def __init__(self, hook: Hook, session: Session) -> None:
        self._before, self._after, self._session = hook.before, hook.after, session

    def before(self, query: int) -> None:
        try:
            self._before(query)
        except Exception as error:
            self._give_up(error)

    def after(self, query: int) -> None:
        try:
            self._after(query)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._session.unavailable(_failure(error))
        self._before = self._after = _nothing


def _nothing(query: int) -> None:
    pass


@contextmanager
def _guarded(one: Found, session: Session) -> Iterator[Any]:
    """A profiler that fails costs its own numbers, and says so; the measurement goes on."""
    assert one.module is not None
    try:
        context = one.module.profile(session)
        hook = context.__enter__()
    except Exception as error:
        session.unavailable(_failure(error))
        yield None
        return
    try:
        yield hook
    except BaseException:
        try:
            context.__exit__(*sys.exc_info())
        except BaseException:
            pass  # the measurement's own end is what matters
        raise
    try:
        context.__exit__(None, None, None)
    except Exception as error:
        session.unavailable(_failure(error))


def _failure(error: Exception) -> str:
    return f"it failed: {type(error).__name__}: {error}"
