"""The models that clients hold open on this node, in workers of their own, one query at a time.

A measured job's worker is never used here, and nothing here runs while a job is measured, on this
node or on another of its machine: all take the same lease, and within the node the same lock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bus import subjects
from bus.errors import AssetError, InputError, MLModelScopeError
from bus.messages import (
    Close,
    Done,
    Input,
    Message,
    Opened,
    OpenHere,
    Predict,
    Predicted,
    PredictFailed,
    Refused,
    TensorSpec,
    Undecodable,
)
from predictor_node.assets import Assets, AssetsInUse, quiet
from predictor_node.container_files import files_of, stage
from predictor_node.container_settings import none_meant, without
from predictor_node.execution import WorkerFailed
from predictor_node.handles import Handles, Held, WarmError
from predictor_node.launching import Needs, WorkerDied
from predictor_node.leases import Leases
from predictor_node.model_files import described, fetch_model
from predictor_node.predictions import read_predictions
from predictor_node.process import Environment, Worker
from predictor_node.workers import Workers

log = logging.getLogger(__name__)

LONGEST_S = 3600.0
MOST_INPUTS = 256
MOST_CLASSES = 8000
"""Of one answer, which must fit into a message of 1 MiB."""
GRACE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many models may be open at once, and for how long without use.

    answer_s: a worker that says nothing for so long hangs, and the device is everyone's.
    """

    at_most: int = 8
    idle_s: float = 600.0
    answer_s: float = 300.0


@dataclass(frozen=True)
class Turn:
    """The device is ours: until when its client waits (the loop's clock), how long we waited."""

    deadline_s: float
    waited_ns: int


@dataclass(kw_only=True)
class Warm:
    """Answers OpenHere, Predict and Close; `device` is held by whoever measures or predicts."""

    node_id: str
    assets: Assets
    workers: Workers
    """Of measured jobs: theirs are never used here, and their environments are."""
    device: asyncio.Lock
    leases: Leases
    folder: Path
    counters: Counter[str]
    limits: Limits = Limits()
    _handles: Handles = field(default_factory=Handles)
    _workers: dict[str, Worker] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stopping: bool = False

    # ---------------------------------------------------------------- life

    def start(self) -> None:
        """Forget what a killed predecessor left, and look after idle models from now on."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._sweeper = asyncio.create_task(self._keep_sweeping())

    async def stop(self) -> None:
        """Answer the query in hand, refuse all others, end the workers."""
        self._stopping = True
        self._sweeper.cancel()
        try:
            async with asyncio.timeout(GRACE_S), self.device:
                pass
        except TimeoutError:
            log.info("a query is given up: its worker takes too long")
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
        for held in self._handles.all():
            held.let_go()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def endpoints(self) -> dict[str, Callable[[Message], Awaitable[Message]]]:
        """What is answered on which subject."""
        return {
            subjects.open_on(self.node_id): self.open,
            subjects.predict_on(self.node_id): self.predict,
            subjects.close_on(self.node_id): self.close,
        }

    def status(self) -> list[dict[str, object]]:
        """Every open model, the last used one at the end; their handles are for their owners."""
        now_s = self._now_s()
        return [
            {
                "model": held.manifest.name,
                "version": held.manifest.version,
                "worker": held.worker.pid,
                "idle_s": round(now_s - held.used_s, 3),
            }
            for held in self._handles.all()
        ]

    # ---------------------------------------------------------------- what is asked

    async def open(self, request: Message) -> Message:
        """Hold a model open."""
        if not isinstance(request, OpenHere):
            return _not("OpenHere", request)
        try:
            device = str(request.settings.get("device", "cpu"))
            async with self._turn(request.timeout_s, device) as turn:
                opened = await self._open(request, turn.deadline_s)
        except MLModelScopeError as exc:
            self.counters["failed_opens"] += 1
            return Refused(kind=exc.kind, text=f"node {self.node_id}: {exc}")
        self.counters["opens"] += 1
        return opened

    async def predict(self, request: Message) -> Message:
        """Ask an open model."""
        if not isinstance(request, Predict):
            return _not("Predict", request)
        try:
            held = self._handles.known(request.handle)  # a wrong handle need not wait to be told
            async with self._turn(request.timeout_s, held.device) as turn:
                predicted = await self._predict(request, turn)
        except MLModelScopeError as exc:
            self.counters["failed_predicts"] += 1
            return PredictFailed(kind=exc.kind, text=str(exc))
        self.counters["predicts"] += 1
        return predicted

    async def close(self, request: Message) -> Message:
        """Hold a model no longer: said at once, done when the device is free."""
        if not isinstance(request, Close):
            return _not("Close", request)
        held = self._handles.forget(
            request.handle, WarmError("closed", "the model was closed: open it")
        )
        if held is None:
            return Done(text="no model of this handle was open")
        self._later(self._release_in_turn(held))
        return Done(text="closed")

    # ---------------------------------------------------------------- in turn

    @asynccontextmanager
    async def _turn(self, timeout_s: float, device: str) -> AsyncIterator[Turn]:
        """The device to ourselves, of all nodes of this machine."""
        if not (math.isfinite(timeout_s) and 0 < timeout_s <= LONGEST_S):
            raise WarmError("request", f"timeout_s: expected up to {LONGEST_S:g} (got {timeout_s})")
        began_ns, deadline_s = time.monotonic_ns(), self._now_s() + timeout_s
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline_s):
                    ours = await stack.enter_async_context(self.leases.held(device, ""))
                    await stack.enter_async_context(self.device)
            except TimeoutError as exc:
                self.counters["busy"] += 1
                text = f"the machine of {self.node_id} was busy with other work for {timeout_s:g} s"
                raise WarmError("busy", f"{text}: ask again later") from exc
            if self._stopping or not ours:
                raise WarmError("closed", f"{self.node_id} is stopping: open the model again")
            yield Turn(deadline_s, time.monotonic_ns() - began_ns)

    async def _open(self, request: OpenHere, deadline_s: float) -> Opened:
        manifest = request.manifest
        with ExitStack() as opening:
            assets = opening.enter_context(self.assets.in_use())
            async with _until(deadline_s, f"environment {request.environment}"):
                provided = self.workers.provision.environment
                environment = await provided(request.environment, manifest, assets, quiet)
            if (plugin := environment.plugins.get(request.framework)) is None:
                raise InputError(f"there is no framework {request.framework!r} here")
            async with _until(deadline_s, f"the files of {manifest.name}"):
                files = await fetch_model(manifest, assets, assets.fetch, assets.unpacked)
            target = {
                "framework": request.framework,
                "plugin": plugin,
                "allow_code": environment.allow_code,
                "settings": without(request.settings),
                **described(manifest, files),
            }
            opened = await self._hold(request, environment, target, assets.release)
            opening.pop_all()  # in use until the handle is forgotten
        return opened

    async def _hold(
        self,
        request: OpenHere,
        environment: Environment,
        target: dict[str, Any],
        let_go: Callable[[], None],
    ) -> Opened:
        """Have a worker open a model whose files are at hand."""
        handle = uuid.uuid4().hex
        while len(self._handles) >= self.limits.at_most:
            await self._end_of(self._handles.all()[0].handle, "to make room for another model")
        worker = await self._worker(environment, self._needs(request, environment, target))
        folder = (environment.scratch or self.folder) / handle
        folder.mkdir(parents=True)
        held = Held(
            handle=handle,
            manifest=request.manifest,
            worker=worker,
            folder=folder,
            used_s=self._now_s(),
            device=str(request.settings.get("device", "cpu")),
            let_go=let_go,
        )
        target = {**target, "folder": str(folder)}
        try:
            said = await self._ask(worker, {"do": "open", "handle": handle, "model": target})
        except MLModelScopeError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._handles.add(held)
        return self._opened(held, said)

    def _opened(self, held: Held, said: dict[str, Any]) -> Opened:
        return Opened(
            handle=held.handle,
            node_id=self.node_id,
            model=held.manifest.name,
            model_version=held.manifest.version,
            framework=said["framework"],
            framework_version=said["version"],
            inputs=msgspec.convert(said["inputs"], list[TensorSpec]),
            outputs=msgspec.convert(said["outputs"], list[TensorSpec]),
            settings=said["settings"],
            cached=said["cached"],
            duration_ns=said["duration_ns"],
        )

    async def _predict(self, request: Predict, turn: Turn) -> Predicted:
        held = self._handles.known(request.handle)  # again: it may have been closed while we waited
        if not 1 <= len(request.inputs) <= MOST_INPUTS:
            count = len(request.inputs)
            raise WarmError("request", f"expected 1 to {MOST_INPUTS} inputs (got {count})")
        items = []
        with self.assets.in_use() as assets:
            async with _until(turn.deadline_s, "the inputs"):
                for given in request.inputs:
                    items.append(await _item(given, assets))
            if held.worker.environment.scratch is not None:
                items = stage(items, held.folder)
            command = {"do": "predict", "handle": held.handle, "items": items}
            said = await self._ask(held.worker, {**command, "top_k": request.top_k})
        self._handles.used(held, self._now_s())
        if sum(len(made.get("classes", ())) for made in said["predictions"]) > MOST_CLASSES:
            text = f"more than {MOST_CLASSES} classes do not fit into one answer"
            raise WarmError("request", f"{text}: ask for fewer inputs at once, or a smaller top_k")
        return Predicted(
            predictions=await read_predictions(said["predictions"], self.assets, held.folder),
            duration_ns=said["duration_ns"],
            preprocess_ns=said["preprocess_ns"],
            waited_ns=turn.waited_ns,
        )

    # ---------------------------------------------------------------- workers

    def _needs(self, request: OpenHere, environment: Environment, target: dict[str, Any]) -> Needs:
        """What its worker must be started with: one in a container sees just this model's files."""
        if environment.scratch is None:
            none_meant(request.settings, environment.name)
            return Needs()
        limits = self.workers.limits_of(request.settings)
        return Needs(files=self.workers.visible(files_of(target)), limits=limits)

    async def _worker(self, environment: Environment, needs: Needs) -> Worker:
        """One an environment; of containers one for each set of files that it may see."""
        key = (
            f"{environment.name} {needs.files} {needs.limits}" if needs.files else environment.name
        )
        worker = self._workers.get(key)
        if worker is not None and worker.alive and worker.environment is environment:
            return worker
        if worker is not None:
            await self._bury(worker, "the worker process had ended")
        worker = Worker(environment, needs)
        try:
            await worker.start()
        except WorkerDied:
            await worker.kill()  # its pipes stay open otherwise
            raise
        self._workers[key] = worker
        return worker

    async def _ask(self, worker: Worker, command: dict[str, Any]) -> dict[str, Any]:
        """What a worker answers; one that dies, or hangs, takes its models with it."""
        try:
            worker.send(command)
        except (OSError, RuntimeError):
            pass  # uvloop: its end of the pipe is closed; receive() says how the worker ended
        try:
            async with asyncio.timeout(self.limits.answer_s):
                said = await worker.receive()
        except WorkerDied as exc:
            await self._bury(worker, str(exc))
            raise
        except TimeoutError as exc:
            text = f"the worker said nothing for {self.limits.answer_s:g} s and was ended"
            await self._bury(worker, text)
            raise WorkerDied(text) from exc
        except BaseException:
            await self._bury(worker, "the worker's answer was not waited for")
            raise
        if said["said"] == "failed":
            raise WorkerFailed(said["kind"], said["text"], said.get("detail", ""))
        return said

    async def _bury(self, worker: Worker, text: str) -> None:
        self.counters["warm_workers_died"] += 1
        died = WarmError("worker_died", f"{text}: open the model again")
        for held in self._handles.of(worker):
            self._handles.forget(held.handle, died)
            shutil.rmtree(held.folder, ignore_errors=True)
        self._workers = {name: one for name, one in self._workers.items() if one is not worker}
        await worker.kill()

    # ---------------------------------------------------------------- closing

    async def _end_of(self, handle: str, why: str) -> None:
        held = self._handles.forget(
            handle, WarmError("closed", f"the model was closed {why}: open it")
        )
        if held is not None:
            self.counters["evicted"] += 1
            await self._release(held)

    async def _release(self, held: Held) -> None:
        """Have the worker close a model that nobody can use any more; needs the device."""
        try:
            if held.worker.alive:
                await self._ask(held.worker, {"do": "close", "handle": held.handle})
        except MLModelScopeError as exc:
            log.info("model not closed in order", extra={"error": str(exc)})
        shutil.rmtree(held.folder, ignore_errors=True)

    async def _release_in_turn(self, held: Held) -> None:
        async with self.device:
            if not self._stopping:
                await self._release(held)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(min(15.0, self.limits.idle_s / 4))
            try:
                await self._sweep()
            except Exception:
                log.exception("idle models not closed")  # the next sweep looks again

    async def _sweep(self) -> None:
        """Close what was not used for long, and end workers that hold nothing."""
        if not self._workers:
            return
        async with self.device:
            since_s = self._now_s() - self.limits.idle_s
            for held in self._handles.unused_since(since_s):
                await self._end_of(held.handle, f"after {self.limits.idle_s:g} s without use")
            for name, worker in [*self._workers.items()]:
                if not self._handles.of(worker):
                    del self._workers[name]
                    await worker.stop()

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


@asynccontextmanager
async def _until(deadline_s: float, what: str) -> AsyncIterator[None]:
    """Fetching must not keep the device from others for longer than the client waits."""
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError as exc:
        raise AssetError(f"{what} could not be fetched in time: ask for a longer timeout") from exc


async def _item(given: Input, assets: AssetsInUse) -> dict[str, str | bytes]:
    """An input in the worker's words: what travelled inside goes on as it is."""
    if given.data:
        return {"name": given.name, "data": given.data}
    path = await assets.fetch(given.url, given.checksum)
    return {"name": given.name, "path": str(path)}


def _not(expected: str, got: Message) -> Undecodable:
    return Undecodable(text=f"expected {expected}, got {type(got).__name__}")
