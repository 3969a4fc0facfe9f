"""One attempt at one job: fetch its files, have a worker run it, tell what came of it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import shutil
import time
import traceback
from collections.abc import Awaitable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bus.claims import claims_of
from bus.codec import content_digest
from bus.errors import AssetError, MLModelScopeError
from bus.messages import (
    LEVELS,
    Conditions,
    GraphDescribed,
    Job,
    JobFailed,
    JobFinished,
    JobStarted,
    LayerDescribed,
    LayerOutput,
    LayersSaid,
    ModelOpened,
    NodeAnnounced,
    PredictionsMade,
    Progress,
    RunMeasured,
    Span,
    StackDescribed,
    TensorSpec,
)
from bus.readers import readers_of
from predictor_node.assets import Assets
from predictor_node.conditions import look
from predictor_node.container_files import files_of, stage
from predictor_node.container_settings import in_effect, none_meant, without
from predictor_node.dataset_files import dataset_facts, fetch_dataset
from predictor_node.downloads import Told
from predictor_node.experience import Measured
from predictor_node.inputs_taken import inputs_taken
from predictor_node.launching import Limits, Needs, WorkerDied
from predictor_node.legs import COLD, Leg, cold_legs, cold_part, joined, may_split, split
from predictor_node.model_files import described, fetch_model
from predictor_node.predictions import frame_predictions
from predictor_node.process import Worker
from predictor_node.provision import is_boxed
from predictor_node.sampling import Sampler
from predictor_node.serialised import is_wanted, settings_for, variables_for
from predictor_node.telling import Samples, Teller
from predictor_node.workers import Workers

log = logging.getLogger(__name__)

APPLICATION = LEVELS.index("application")
UNSAID = {*LEVELS, "containers"}
"""What a node lacks, and a result need not repeat: the job speaks for itself."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
GRACE_S = 0.5
"""A worker that ignores a cancel for so long is killed."""


class Stopped(MLModelScopeError):
    """The attempt was ended from outside; `kind` says why."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class Execution:
    """One attempt. `run` never raises for what can go wrong with a job: it tells JobFailed."""

    def __init__(
        self, job: Job, workers: Workers, assets: Assets, teller: Teller, folder: Path
    ) -> None:
        self._job, self._workers, self._teller = job, workers, teller
        self._assets = assets.in_use()
        self._folder = folder / f"{job.job_id}.{job.attempt}"
        self._telling: list[asyncio.Task[Progress]] = []
        self._hired: Worker | None = None
        self._limits: Limits | None = None
        self._stack_told = False
        self._span_base = secrets.randbits(30) << 32
        self._spans: list[Span] = []
        self._stopped: Stopped | None = None
        self._busy = self._graph_told = self._finished = False
        self.measured = Measured()
        self._leg, self._leg_began_ns, self._process_ns = Leg([]), 0, 0
        self._task: asyncio.Task[None] | None = None

    async def run(self, node: NodeAnnounced, before: Awaitable[Conditions]) -> bool:
        """Run the job to its end, whatever that is, and tell it; whether it finished.

        before: what the machine was doing when the job's turn came.
        """
        self._started_ns = self._teller.now_ns()
        self._root = self._next_id()
        self._note("queue", self._teller.at_node(self._job.submitted_ns), self._started_ns)
        self._task = asyncio.create_task(self._measure(node, before))
        try:
            await asyncio.wait_for(asyncio.shield(self._task), self._job.timeout_s)
        except TimeoutError:
            text = f"the job took longer than its timeout of {self._job.timeout_s:g} s"
            await self.stop("timeout", text)
            await self._fail("timeout", text)
        except asyncio.CancelledError:
            stopped = self._stopped or Stopped("node_lost", "the node was stopped")
            await self._fail(stopped.kind, str(stopped))
        except MLModelScopeError as exc:
            cause: MLModelScopeError = self._stopped or exc
            kind = "disk_full" if cause is exc and no_room(exc) else cause.kind
            await self._fail(kind, str(cause), getattr(exc, "detail", ""))
        except Exception as exc:
            if no_room(exc):
                text = f"the disk of node {self._job.node_id} is full ({exc}): make room there"
                await self._fail("disk_full", text)
                return False
            # The one place where a fault of our own ends: it costs one job, and says so.
            log.exception("job failed", extra={"job_id": self._job.job_id})
            await self._fail("internal", f"{type(exc).__name__}: {exc}", traceback.format_exc())
        finally:
            self._task.cancel()
            self._assets.release()
            if self._busy and self._hired is not None and self._hired.alive:
                await self._hired.kill()  # what it still says would be taken for the next job's
            shutil.rmtree(self._folder, ignore_errors=True)
        return self._finished

    async def leave(self, text: str) -> None:
        """The node is to end: so is the attempt, and soon, even if no bus is there to be told."""
        self._teller.hurry()
        await self.stop("node_lost", text)

    async def stop(self, kind: str, text: str) -> None:
        """End the attempt: ask the worker, and kill it if it does not listen."""
        if self._stopped or self._task is None or self._task.done():
            return
        self._stopped = Stopped(kind, text)
        if self._hired is None:
            self._task.cancel()  # its environment is still being made ready
            return
        if self._hired.alive:
            self._hired.send({"do": "cancel"})
        await asyncio.wait([self._task], timeout=GRACE_S)
        if not self._task.done():
            await self._hired.kill()
            self._task.cancel()

    # ---------------------------------------------------------------- the way of a job

    async def _measure(self, node: NodeAnnounced, before: Awaitable[Conditions]) -> None:
        job = self._job
        await self._teller.tell(
            JobStarted,
            incarnation=node.incarnation,
            model=job.manifest.name,
            model_version=job.manifest.version,
            model_digest=content_digest(job.manifest),
            framework=job.framework,
            framework_version=job.framework_version,
            environment=job.environment,
            requested=job.settings,
            inputs=inputs_taken(job.inputs),
            runs=job.runs,
            node=node,
            weights=job.manifest.model.weights,
            claims=claims_of(job.manifest),
            readers=readers_of(job.manifest, job.dataset, job.user),
            conditions=await before,
            **dataset_facts(job.dataset),
        )
        await self._hire()
        self._folder.mkdir(parents=True, exist_ok=True)
        command = await self._command()
        await self._worker.needing(self._needs(command))
        if not self._worker.alive:
            await self._worker.start()
        ends: list[tuple[Leg, dict[str, Any]]] = []
        for leg in await self._legs(command):
            ends.append((leg, await self._run_leg(leg, command, continued=bool(ends))))
        await self._finish(joined(ends), node)

    async def _hire(self) -> None:
        """Have a worker of the job's environment, which may first have to be made."""
        name = self._job.environment
        with self._noted("environment", environment=name):
            phase = "container" if is_boxed(name) else "environment"
            self._hired = await self._workers.of(self._job, self._assets, self._progress(phase))
        environment = self._worker.environment
        if environment.scratch is not None:
            self._folder = environment.scratch / self._folder.name
            self._limits = self._workers.limits_of(self._job.settings)
        else:
            none_meant(self._job.settings, name)

    @property
    def _worker(self) -> Worker:
        assert self._hired is not None
        return self._hired

    def _needs(self, command: dict[str, Any]) -> Needs:
        """What the worker must have been started with."""
        variables = variables_for(self._job.settings)
        if self._limits is None:
            return Needs(variables)
        return Needs(variables, self._workers.visible(files_of(command)), self._limits)

    async def _legs(self, command: dict[str, Any]) -> list[Leg]:
        """The job's runs by what their profilers need; the worker knows, for it loads them."""
        runs = [run for run in self._job.runs if run.scenario != COLD]
        last = cold_legs(self._job.runs)
        if not may_split(runs):
            return [*([Leg(runs)] if runs else []), *last]
        self._busy = True
        prepared = {**command, "runs": msgspec.to_builtins(runs)}
        self._worker.send({"do": "prepare", "job": prepared})
        return [*split(runs, (await self._follow("prepared"))["variables"]), *last]

    async def _run_leg(self, leg: Leg, command: dict[str, Any], continued: bool) -> dict[str, Any]:
        """Have one worker process make its runs; one with variables of its own is ended after."""
        usual, runs = self._worker, msgspec.to_builtins(leg.runs)
        if leg.fresh:
            variables = {**usual.needs.variables, **leg.variables}
            self._hired = Worker(usual.environment, replace(usual.needs, variables=variables))
        self._leg, self._leg_began_ns = leg, time.perf_counter_ns()
        try:
            if not self._worker.alive:
                await self._worker.start()
            self._process_ns = time.perf_counter_ns() - self._leg_began_ns
            async with Sampler(self._worker.pid, wanted=self._job.level != "none") as sampler:
                self._busy = True
                base = {"span_base": secrets.randbits(30) << 32, "continued": continued}
                self._worker.send({"do": "run", "job": {**command, **base, "runs": runs}})
                finished = await self._follow()
            await sampler.tell(self._teller)
            return finished
        finally:
            if leg.fresh:
                await self._worker.kill()
                self._hired, self._busy = usual, False

    async def _command(self) -> dict[str, Any]:
        """The job in the worker's words, with every file at hand."""
        job, manifest = self._job, self._job.manifest
        files = await fetch_model(manifest, self._assets, self._model_file, self._model_archive)
        items = []
        for number, given in enumerate(job.inputs):
            with self._noted("fetch", input=given.name):
                path = await self._input(number)
            items.append({"name": given.name, "path": str(path)})
        if self._limits is not None:
            items = stage(items, self._folder)
        dataset = None
        if job.dataset is not None:
            fetch, unpacked = self._model_file, self._model_archive
            dataset = await fetch_dataset(job.dataset, self._teller.bus_url, fetch, unpacked)
        return {
            "job_id": job.job_id,
            "attempt": job.attempt,
            "framework": job.framework,
            "plugin": self._plugin(),
            "allow_code": self._worker.environment.allow_code,
            **described(manifest, files),
            "items": items,
            "dataset": dataset,
            "limit": job.limit,
            "runs": msgspec.to_builtins(job.runs),
            "level": job.level,
            "profilers": self._worker.environment.profilers,
            "seed": job.seed,
            "settings": self._settings(),
            "top_k": job.top_k,
            "full_outputs": job.full_outputs,
            "parent_span": self._root,
            "folder": str(self._folder),
        }

    def _plugin(self) -> str:
        environment, name = self._worker.environment, self._job.framework
        if (path := environment.plugins.get(name)) is None:
            has = ", ".join(sorted(environment.plugins)) or "none"
            text = f"environment {environment.name} has no framework {name}, only: {has}"
            why = environment.unusable.get(name, "")
            raise WorkerFailed("framework", f"{text}{f' ({why})' if why else ''}; ask again", "")
        return path

    def _settings(self) -> dict[str, str | int]:
        name = self._job.framework
        known = self._worker.environment.settings.get(name, [])
        return settings_for(name, without(self._job.settings), known)

    async def _model_file(self, url: str, checksum: str) -> Path:
        with self._noted("fetch", file=PurePosixPath(urlsplit(url).path).name):
            return await self._fetch(url, checksum)

    async def _model_archive(self, url: str, checksum: str) -> Path:
        with self._noted("fetch", file=PurePosixPath(urlsplit(url).path).name):
            return await self._fetch(url, checksum, unpack=True)

    async def _input(self, number: int) -> Path:
        given = self._job.inputs[number]
        if given.data:
            return await self._assets.keep(given.data)
        return await self._fetch(given.url, given.checksum)

    async def _fetch(self, url: str, checksum: str, unpack: bool = False) -> Path:
        bring = self._assets.unpacked if unpack else self._assets.fetch
        told_before, began_ns = len(self._telling), time.monotonic_ns()
        path = await bring(url, checksum, self._progress("fetch"))
        if len(self._telling) > told_before:  # it was not here yet
            self.measured.fetch_ns += time.monotonic_ns() - began_ns
        await self._all_told()
        return path

    def _progress(self, phase: str) -> Told:
        """For what takes long before anything runs: how far it is, to be passed on."""

        def told(text: str, done: int, total: int) -> None:
            said = {"run": -1, "phase": phase, "done": done, "total": total, "text": text}
            self._telling.append(asyncio.create_task(self._teller.tell(Progress, **said)))

        return told

    async def _all_told(self) -> None:
        telling, self._telling = self._telling, []
        await asyncio.gather(*telling)

    # ---------------------------------------------------------------- what the worker says

    async def _follow(self, until: str = "finished") -> dict[str, Any]:
        """Pass on what the worker says until its last word."""
        while True:
            frame = await self._worker.receive()
            match frame.pop("said"):
                case said if said == until:
                    self._busy = False
                    return frame
                case "failed":
                    self._busy = False
                    raise WorkerFailed(frame["kind"], frame["text"], frame.get("detail", ""))
                case "spans":
                    await self._teller.spans_packed("worker", frame)
                case said:
                    await self._tell(said, frame)

    async def _tell(self, said: str, frame: dict[str, Any]) -> None:
        match said:
            case "opened":
                await self._teller.tell(
                    ModelOpened,
                    run=frame["run"],
                    framework=frame["framework"],
                    framework_version=frame["version"],
                    cached=frame["cached"],
                    duration_ns=frame["duration_ns"],
                    inputs=msgspec.convert(frame["inputs"], list[TensorSpec]),
                    outputs=msgspec.convert(frame["outputs"], list[TensorSpec]),
                    settings=frame["settings"] | self._serialised() | self._boxed_with(),
                    providers=frame["providers"],
                )
                await self._tell_stack(frame.get("libraries", {}))
            case "predictions":
                made = await frame_predictions(frame, self._assets, self._folder)
                await self._teller.tell(
                    PredictionsMade, run=frame["run"], first=frame["first"], predictions=made
                )
            case "progress":
                await self._teller.tell(Progress, **frame)
            case "measured":
                known = {k: v for k, v in frame.items() if k in RunMeasured.__struct_fields__}
                whole_ns = time.perf_counter_ns() - self._leg_began_ns
                cold = cold_part(self._leg, known, self._process_ns, whole_ns)
                await self._teller.tell(RunMeasured, **known | cold)
                self.measured.saw(frame)
            case "samples":
                await self._teller.samples(Samples(**frame), "worker")
            case "graph" if self._graph_told:
                pass  # by another process of the same job
            case "graph":
                self._graph_told = True
                layers = msgspec.convert(frame["layers"], list[LayerDescribed])
                counted = {name: frame[name] for name in ("macs", "macs_by") if name in frame}
                await self._teller.tell(GraphDescribed, run=frame["run"], layers=layers, **counted)
            case "insides":
                outputs = msgspec.convert(frame.pop("layers"), list[LayerOutput])
                await self._teller.tell(LayersSaid, layers=outputs, **frame)
            case other:
                raise WorkerDied(f"the worker said {other!r}, which this node does not know")

    def _serialised(self) -> dict[str, Any]:
        return {"serialized": True} if is_wanted(self._job.settings) else {}

    def _boxed_with(self) -> dict[str, Any]:
        return in_effect(self._limits) if self._limits is not None else {}

    async def _tell_stack(self, libraries: dict[str, str]) -> None:
        """Once a job: what it runs in."""
        if self._hired is None or self._stack_told:
            return
        self._stack_told = True
        environment = self._hired.environment
        stack = msgspec.structs.replace(environment.stack, libraries=libraries)
        await self._teller.tell(StackDescribed, environment=environment.name, stack=stack)

    async def _finish(self, finished: dict[str, Any], node: NodeAnnounced) -> None:
        after = asyncio.create_task(look())
        await self._teller.measure_clock()
        await self._own_spans()
        await self._teller.settle()
        await self._teller.tell(
            JobFinished,
            spans=self._teller.spans,
            span_batches=self._teller.batches,
            lost_spans=self._teller.lost_spans,
            emitted={source: dict(levels) for source, levels in self._teller.emitted.items()},
            dropped={s: dict(levels) for s, levels in self._teller.dropped.items() if levels},
            spilled_spans=self._teller.spilled_spans,
            peak_memory_bytes=finished["peak_memory_bytes"],
            clock_drift_ns=finished["drift_ns"],
            # What its levels lack, the job says itself where they were asked for.
            unavailable={
                **{what: why for what, why in node.unavailable.items() if what not in UNSAID},
                **finished["unavailable"],
            },
            conditions=await after,
        )
        await self._teller.settle()
        self._finished = True

    async def _fail(self, kind: str, text: str, detail: str = "") -> None:
        await self._all_told()
        await self._tell_stack({})
        await self._own_spans()
        await self._teller.tell(JobFailed, kind=kind, text=text, detail=detail)
        await self._teller.settle()

    # ---------------------------------------------------------------- spans of the node itself

    def _next_id(self) -> int:
        self._span_base += 1
        return self._span_base

    @contextmanager
    def _noted(self, name: str, **tags: str):  # type: ignore[no-untyped-def]
        began_ns = self._teller.now_ns()
        try:
            yield
        finally:
            self._note(name, began_ns, self._teller.now_ns(), self._root, **tags)

    def _note(
        self, name: str, start_ns: int, end_ns: int, parent: int | None = None, **tags: str
    ) -> None:
        if LEVELS.index(self._job.level) < APPLICATION or not 0 < start_ns <= end_ns:
            return  # not asked for; or the submitter's clock is ahead of ours
        self._spans.append(
            Span(
                span_id=self._next_id(),
                parent_id=self._job.parent_span if parent is None else parent,
                level=APPLICATION,
                name=name,
                start_ns=start_ns,
                duration_ns=end_ns - start_ns,
                thread=os.getpid(),
                tags=dict(tags),
            )
        )

    async def _own_spans(self) -> None:
        if LEVELS.index(self._job.level) >= APPLICATION:
            root = Span(
                span_id=self._root,
                parent_id=self._job.parent_span,
                level=APPLICATION,
                name="job",
                start_ns=self._started_ns,
                duration_ns=self._teller.now_ns() - self._started_ns,
                thread=os.getpid(),
                tags={"job_id": self._job.job_id, "attempt": self._job.attempt},
            )
            await self._teller.spans_made("node", [root, *self._spans])
        self._spans = []


def no_room(exc: BaseException | None) -> bool:
    """Whether an error, or what led to it, is a disk without room: another node may have some."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in NO_ROOM:
            return True
        exc = exc.__cause__ or exc.__context__
    return False


class WorkerFailed(AssetError):
    """What the worker says went wrong with the job."""

    def __init__(self, kind: str, text: str, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(text)
