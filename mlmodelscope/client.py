"""Client: asks for evaluations over the bus, and for what is known and what was stored."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakSet

from analysis.summary import Result, summarize
from bus import subjects
from bus.clock_watch import ClockWatch
from bus.codec import decode, decode_as
from bus.connection import Bus
from bus.dead_letters import DeadLetters
from bus.errors import (
    ForbiddenError,
    InputError,
    NoAnswerError,
    NotStoredError,
    RefusedError,
    UnknownNameError,
)
from bus.identity import ANONYMOUS, Identity, read_identity
from bus.messages import (
    Accepted,
    Cancel,
    CeilingsMeasured,
    DatasetManifest,
    Datasets,
    Delete,
    DescribeImage,
    DescribeSystem,
    Done,
    Evaluate,
    Fits,
    Fitting,
    GetEvaluation,
    GetTimeline,
    GetUsage,
    History,
    HistoryRow,
    ImageDescribed,
    Level,
    ListDatasets,
    ListHistory,
    ListModels,
    ListNodes,
    ListQueue,
    Manifest,
    MeasureCeilings,
    Message,
    MetricsRecorded,
    Models,
    Nodes,
    NodeSeen,
    NotFound,
    Open,
    Preference,
    Publish,
    Queue,
    Refused,
    Scenario,
    SystemDescribed,
    TensorValue,
    TimelineChunk,
    Unpublish,
    Usage,
    Wanted,
)
from bus.messages import Evaluation as Stored
from collector.timeline import Timeline
from mlmodelscope.callers_span import current_traceparent
from mlmodelscope.dataset_files import dataset_from_disk, put_file
from mlmodelscope.evaluation import Evaluation
from mlmodelscope.following import Following
from mlmodelscope.importing.files import Progress
from mlmodelscope.importing.profile import Options
from mlmodelscope.importing.reading import silently
from mlmodelscope.importing.storing import Imported, import_profile
from mlmodelscope.inputs import gather_inputs
from mlmodelscope.large_outputs import fetch_output
from mlmodelscope.manifest_files import from_file
from mlmodelscope.request_span import RequestSpan
from mlmodelscope.warm import WarmModel

if TYPE_CHECKING:
    from mlmodelscope.analyses import Analyses
    from mlmodelscope.embedded import Membership

MEASURING_S = 400.0
"""What measuring a machine's ceilings may take."""
ANSWER_S, AGAIN_S = 15.0, 1.5
"""How long coordinators may take to accept an evaluation; after so long one is asked once more, by
chance another, and whichever answers first counts."""
BACK_S = 2.0
"""How long it is waited for the first one to be there."""


NOBODY_YET = ("no_nodes", "nothing_fits")
"""Refusals that a node which comes later may mend."""
LONGEST_PAUSE_S = 2.0
AHEAD = 4
"""Chunks of a timeline that are asked for at once."""


class Client:
    """A connection to a system: `async with Client(url)`, or `Client.local()` for the embedded one.

    url: nats://HOST:PORT of a running system; None takes MLMS_BUS_URL, else the embedded system.
    user: whose evaluations these are. Default: MLMS_USER, else the login name. credentials: the
    file of a user of a secured bus (docs/security.md); default: MLMS_CREDENTIALS; None: none.
    membership: of an embedded system that the caller has begun to start, and will leave.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        user: str = "",
        credentials: str | Path | None = "",
        home: Path | None = None,
        membership: Membership | None = None,
    ) -> None:
        self.url = url or os.environ.get("MLMS_BUS_URL", "")
        if credentials == "":
            credentials = os.environ.get("MLMS_CREDENTIALS", "")
        self._identity = _identity(user, credentials)
        self.user = self._identity.user
        self._home, self._membership = home, membership
        self._stack = ExitStack()
        self._evaluations: WeakSet[Evaluation] = WeakSet()

    @classmethod
    def local(cls, home: Path | None = None, *, user: str = "") -> Client:
        """The embedded system of a data folder (default: MLMS_HOME, else the user's own)."""
        client = cls(user=user, home=home)
        client.url = ""
        return client

    async def __aenter__(self) -> Client:
        try:
            url = self.url or await asyncio.to_thread(self._join_embedded)
            identity = self._identity if self.url else Identity(user=self.user)
            self._bus = await Bus.connect(url, name="client", identity=identity)
            self._watch = ClockWatch(self._bus)
        except BaseException:
            await asyncio.to_thread(self._stack.close)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for evaluation in [*self._evaluations]:
            await evaluation.leave()
        await self._bus.close()
        await asyncio.to_thread(self._stack.close)

    @property
    def connected(self) -> bool:
        """Whether the connection to the bus stands now."""
        return self._bus.connected

    @property
    def secured(self) -> bool:
        """Whether we proved to the bus who we are."""
        return bool(self._identity.seed)

    def beside(self, user: str, credentials: str | Path | None = None) -> Client:
        """Another user's client of the same system, to be connected and closed by itself."""
        return Client(self._bus.url, user=user, credentials=credentials)

    def _join_embedded(self) -> str:
        from mlmodelscope.embedded import Membership
        from mlmodelscope.places import home_folder

        membership = self._membership
        if membership is None:
            membership = Membership(self._home or home_folder(os.environ))
            self._stack.callback(membership.leave)
        return membership.wait().bus_url

    # ---------------------------------------------------------------- evaluations

    async def evaluate(
        self,
        model: str | Manifest,
        *,
        inputs: Sequence[str | Path] = (),
        framework: str = "",
        device: str = "cpu",
        node: str = "",
        environment: str = "",
        container: bool = False,
        settings: Mapping[str, str | int] | None = None,
        batch_sizes: Sequence[int] = (1,),
        runs: int = 100,
        warmup: int = 5,
        trace: Level = "model",
        leveled: bool = True,
        seed: int = 0,
        threads: int = 0,
        serialize: bool = False,
        timeout_s: float = 600.0,
        top_k: int = 5,
        dataset: str | DatasetManifest = "",
        limit: int = 0,
        full_outputs: bool = False,
        traceparent: str = "",
        otlp_endpoint: str = "",
        requires: Sequence[str] = (),
        prefer: Preference = "",
        spread: int = 1,
        priority: int = 0,
        wait_s: float = 0.0,
        evaluation_id: str = "",
        scenario: Scenario | None = None,
    ) -> Evaluation:
        """Ask for an evaluation; return it as soon as it is accepted.

        model: `name`, `name@range`, or a Manifest. inputs: files, folders or URLs; none takes the
        samples that come with the model. runs: measured queries per batch size. environment: one
        of a node's, by name. container: in the one that the manifest names, also where a node
        has the framework itself. threads: 0 leaves it to the framework. serialize: one operator at
        a time, on one thread, so that every span's parent is clear. leveled: whether each level
        down to `trace` has a run of its own. settings: the framework's, and those of profilers,
        whose names begin with `profile.`. dataset: `name`, `name@range` or a DatasetManifest, in
        place of inputs: each of its first `limit` items (0: all) runs once; full_outputs stores
        every probability. traceparent: W3C, of the trace that the spans join when they leave by
        OTLP; without it, that of the OpenTelemetry span in which this is called, if there is one.
        otlp_endpoint: where to push them; the collector's settings must allow its host.
        requires: constraints on the node (`gpu.memory>=16GiB`); prefer: which of those that fit;
        spread: on how many of them, a job each (0: all). priority: -10 to 10, of what waits.
        wait_s: how long to wait for a node that fits. evaluation_id: 32 hex digits of your own;
        asking again by the same ones asks for nothing new.
        scenario: the load, in place of `runs` queries one after the other.
        Raises RefusedError with every node's reasons when nothing fits,
        UnknownNameError with the nearest names, InputError for an input that cannot be sent.
        """
        own = {"threads": threads, "serialize": int(serialize)}
        request = Evaluate(
            evaluation_id=evaluation_id or uuid.uuid4().hex,
            user=self.user,
            model=model if isinstance(model, str) else model.name,
            manifest=model if isinstance(model, Manifest) else None,
            wanted=Wanted(
                framework=framework,
                device=device,
                node=node,
                environment=environment,
                container=container,
                requires=list(requires),
                prefer=prefer,
            ),
            spread=spread,
            priority=priority,
            inputs=await gather_inputs(self._bus, inputs),
            batch_sizes=list(batch_sizes),
            queries=runs,
            warmup=warmup,
            level=trace,
            leveled=leveled,
            seed=seed,
            settings={**(settings or {}), **{k: v for k, v in own.items() if v}},
            timeout_s=timeout_s,
            top_k=top_k,
            dataset=dataset if isinstance(dataset, str) else dataset.name,
            dataset_manifest=dataset if isinstance(dataset, DatasetManifest) else None,
            limit=limit,
            full_outputs=full_outputs,
            traceparent=traceparent or current_traceparent(),
            otlp_endpoint=otlp_endpoint,
            scenario=scenario,
        )
        return await self.submit(request, wait_s)

    async def submit(self, request: Evaluate, wait_s: float = 0.0) -> Evaluation:
        """Ask for just this evaluation; wait_s: for a node that fits, if there is none yet."""
        span = RequestSpan.begin(request)
        evaluation = Evaluation(self._bus, self, span, self._watch)
        self._evaluations.add(evaluation)
        await evaluation.listen()
        try:
            reply = await self._ask(span.request, time.monotonic() + wait_s)
        except BaseException:
            await evaluation.close()
            raise
        if isinstance(reply, Refused):
            await evaluation.close()
            raise refusal(reply)
        evaluation.accepted = reply
        return evaluation

    async def _ask(self, request: Evaluate, until_s: float) -> Accepted | Refused:
        """Ask, and until then again as long as no node fits: one may be on its way."""
        pause_s = 0.25
        while True:
            reply = await self._ask_for(request)
            left_s = until_s - time.monotonic()
            if isinstance(reply, Accepted) or reply.kind not in NOBODY_YET or left_s <= 0:
                return reply
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def queue(self, evaluation_id: str = "", *, mine: bool = False) -> Queue:
        """What waits and runs: of one evaluation, of your own, or of all."""
        request = ListQueue(evaluation_id=evaluation_id, user=self.user, mine=mine)
        return await self._bus.request(subjects.QUEUE, request, Queue)

    async def usage(self) -> Usage:
        """What your stored evaluations take, and how much they may."""
        return await self._bus.request(subjects.USAGE, GetUsage(user=self.user), Usage)

    async def _ask_for(self, request: Evaluate) -> Accepted | Refused:
        """The answer of any coordinator: one that dies with a request in its hands gives none, and
        there is none at all while they come back to a bus that was started anew.

        Asking again is harmless, because the evaluation's id says that it is the same.
        """
        began_s, asked = time.monotonic(), set[asyncio.Task[Accepted | Refused]]()
        try:
            while True:
                left_s = began_s + ANSWER_S - time.monotonic()
                asking = self._bus.request(
                    subjects.EVALUATE, request, Accepted, Refused, timeout_s=max(left_s, AGAIN_S)
                )
                asked.add(asyncio.create_task(asking))
                done, asked = await asyncio.wait(
                    asked, timeout=AGAIN_S, return_when=asyncio.FIRST_COMPLETED
                )
                failures = [task.exception() for task in done]
                for task, exc in zip(done, failures, strict=True):
                    if exc is None:
                        return task.result()
                    nobody = isinstance(exc, NoAnswerError) and not exc.timeout_s
                    if not nobody or time.monotonic() > began_s + BACK_S:
                        raise exc
                    await asyncio.sleep(0.1)
        finally:
            for task in asked:
                task.cancel()

    async def fits(self, model: str | Manifest = "", wanted: Wanted | None = None) -> Fitting:
        """Which nodes would run this, the first choice first, and why the others would not.

        `places` of the answer are all the ways: each environment of each node, in each framework.
        Without a model: which nodes have what is wanted.
        """
        request = Fits(
            user=self.user,
            model=model if isinstance(model, str) else model.name,
            manifest=model if isinstance(model, Manifest) else None,
            wanted=wanted or Wanted(),
        )
        reply = await self._bus.request(subjects.FITS, request, Fitting, Refused)
        if isinstance(reply, Refused):
            raise refusal(reply)
        return reply

    async def cancel(self, evaluation_id: str) -> None:
        """Stop an evaluation."""
        request = Cancel(evaluation_id=evaluation_id, user=self.user)
        reply = await self._bus.request(subjects.CANCEL, request, Done, Refused)
        if isinstance(reply, Refused):
            raise refusal(reply)

    # ---------------------------------------------------------------- a model held warm

    def open(
        self,
        model: str | Manifest,
        *,
        framework: str = "",
        device: str = "cpu",
        node: str = "",
        environment: str = "",
        container: bool = False,
        settings: Mapping[str, str | int] | None = None,
        threads: int = 0,
        timeout_s: float = 120.0,
    ) -> WarmModel:
        """A model to be held open: `async with scope.open(…) as model`, then model.predict([…]).

        timeout_s: how long its node may be busy and fetch files. Entering raises RefusedError as
        `evaluate` does, with kind `busy` when the node was at other work all the time.
        """
        request = Open(
            user=self.user,
            model=model if isinstance(model, str) else model.name,
            manifest=model if isinstance(model, Manifest) else None,
            wanted=Wanted(
                framework=framework,
                device=device,
                node=node,
                environment=environment,
                container=container,
            ),
            settings={**(settings or {}), **({"threads": threads} if threads else {})},
            timeout_s=timeout_s,
        )
        return WarmModel(self._bus, request)

    # ---------------------------------------------------------------- what there is

    async def nodes(self) -> list[NodeSeen]:
        """Every node that is alive."""
        found: list[NodeSeen] = []
        more = True
        while more:
            after = found[-1].node.node_id if found else ""
            page = await self._bus.request(subjects.NODES, ListNodes(after=after), Nodes)
            found += page.nodes
            more = page.more and bool(page.nodes)
        return found

    async def ceilings(self, node: str = "", *, again: bool = False) -> CeilingsMeasured:
        """What a node's machine can do at most, measured there if it was not before.

        node: may be left out where one is alive. Raises RefusedError, kind `busy`, when the node
        was at other work for a minute.
        """
        request = MeasureCeilings(again=again)
        subject = subjects.ceilings_on(await self._one_node(node))
        timeout_s = request.timeout_s + MEASURING_S
        reply = await self._bus.request(
            subject, request, CeilingsMeasured, Refused, timeout_s=timeout_s
        )
        if isinstance(reply, Refused):
            raise refusal(reply)
        return reply

    async def image(self, name: str, *, node: str = "", timeout_s: float = 300.0) -> ImageDescribed:
        """What is in a container image, as a worker there sees it, by a node that runs containers.

        The node (any one, unless named) fetches the image if it has it not.
        """
        node = node or await self._node_with_containers()
        request = DescribeImage(image=name, timeout_s=timeout_s)
        subject = subjects.image_on(node)
        try:
            reply = await self._bus.request(
                subject, request, ImageDescribed, Refused, timeout_s=timeout_s + 5.0
            )
        except NoAnswerError as exc:
            hint = f"is there a node {node}? `mlmodelscope nodes` lists them"
            raise NoAnswerError(subject, exc.timeout_s, hint) from exc
        if isinstance(reply, Refused):
            raise refusal(reply)
        return reply

    async def _one_node(self, node: str) -> str:
        """The node that is meant; InputError where none is named and several are alive."""
        alive = [seen.node.node_id for seen in await self.nodes()]
        if node and node not in alive:
            raise UnknownNameError("node", node, alive)
        if node:
            return node
        if len(alive) != 1:
            raise InputError(
                f"{len(alive)} nodes are alive ({', '.join(sorted(alive)[:8]) or 'none'}): "
                "name the one that is meant"
            )
        return alive[0]

    async def _node_with_containers(self) -> str:
        """The first node that runs containers; InputError says why each does not."""
        nodes = [seen.node for seen in await self.nodes()]
        for node in nodes:
            if node.containers:
                return node.node_id
        whys = [f"{node.node_id}: {node.unavailable.get('containers', 'no')}" for node in nodes]
        raise InputError(f"no node runs containers ({'; '.join(whys) or 'none is alive'})")

    async def models(self, model: str = "", *, hidden: bool = False) -> Models:
        """The known manifests, by name, newest first; hidden: those too that are not listed."""
        request = ListModels(model=model, user=self.user, hidden=hidden)
        return await self._bus.request(subjects.MODELS, request, Models)

    async def publish(self, model: Path | str | Manifest) -> Manifest:
        """Make a manifest (or a file of one) known to everyone by its name; what was published.

        Raises RefusedError: kind `changed` where another content has its name and version.
        """
        manifest = model if isinstance(model, Manifest) else await self.manifest(Path(model))
        request = Publish(manifest=manifest, user=self.user)
        reply = await self._bus.request(subjects.PUBLISH, request, Done, Refused)
        if isinstance(reply, Refused):
            raise refusal(reply)
        return manifest

    async def unpublish(self, reference: str, *, framework: str = "") -> None:
        """Withdraw `name@version`; framework: which one, where several have it."""
        name, _, version = reference.partition("@")
        request = Unpublish(name=name, version=version, framework=framework, user=self.user)
        reply = await self._bus.request(subjects.UNPUBLISH, request, Done, Refused)
        if isinstance(reply, Refused):
            raise refusal(reply)

    async def datasets(self, dataset: str = "") -> list[DatasetManifest]:
        """The known datasets, by name, newest first."""
        request = ListDatasets(dataset=dataset, user=self.user)
        return (await self._bus.request(subjects.DATASETS, request, Datasets)).datasets

    async def dataset(self, path: Path) -> DatasetManifest:
        """A dataset of your own (its manifest, or a folder with a sub-folder a class)."""
        return await dataset_from_disk(self._bus, path)

    async def send_file(self, path: Path) -> tuple[str, str]:
        """Put a file of your own on the bus, for any node: its address, and its checksum."""
        return await put_file(self._bus, path)

    async def publish_dataset(self, dataset: Path | str | DatasetManifest) -> DatasetManifest:
        """Make a dataset (or a file of one) known to everyone by its name; what was published."""
        if not isinstance(dataset, DatasetManifest):
            dataset = await self.dataset(Path(dataset))
        request = Publish(dataset=dataset, user=self.user)
        reply = await self._bus.request(subjects.PUBLISH, request, Done, Refused)
        if isinstance(reply, Refused):
            raise refusal(reply)
        return dataset

    async def unpublish_dataset(self, reference: str) -> None:
        """Withdraw the dataset `name@version`."""
        name, _, version = reference.partition("@")
        request = Unpublish(name=name, version=version, dataset=True, user=self.user)
        reply = await self._bus.request(subjects.UNPUBLISH, request, Done, Refused)
        if isinstance(reply, Refused):
            raise refusal(reply)

    async def output(self, tensor: TensorValue) -> bytes:
        """An output's numbers, little-endian, also where they were too large for a message."""
        return await fetch_output(self._bus, tensor)

    # ---------------------------------------------------------------- made elsewhere

    async def import_profile(
        self,
        path: Path,
        *,
        model: str = "",
        call: str = "",
        batch_size: int = 0,
        cuda_runtime: str = "all",
        progress: Progress = silently,
    ) -> Imported:
        """Store a profile that was made elsewhere (PyTorch, ONNX Runtime, Chrome trace).

        call: spans whose name contains it are the model's calls; batch_size: inputs of one call;
        cuda_runtime: the calls of a device's runtime that are kept (all, launches, or names). The
        same file again changes nothing. Raises InputError for a file that is no profile.
        """
        options = Options(model, call, batch_size, cuda_runtime)
        return await import_profile(self._bus, self.user, path, options, progress)

    async def system(self) -> SystemDescribed:
        """The services that answer now, and how far behind the streams' consumers are."""
        request = DescribeSystem(user=self.user)
        return await self._bus.request(subjects.SYSTEM, request, SystemDescribed)

    # ---------------------------------------------------------------- what was stored

    async def history(self, **filters: object) -> list[HistoryRow]:
        """Past evaluations, newest first: model, framework, node, user, state, limit."""
        request = ListHistory(**filters)  # type: ignore[arg-type]
        return (await self._bus.request(subjects.HISTORY, request, History)).rows

    async def history_page(self, request: ListHistory) -> History:
        """One page of them, and where the next begins."""
        return await self._bus.request(subjects.HISTORY, request, History)

    def follow(self, evaluation_id: str) -> Following:
        """The facts of an evaluation from the first, as they are told: iterate over it."""

        async def facts(whole_id: str) -> list[Message]:
            return (await self.stored(whole_id))[1]

        own = any(one.evaluation_id == evaluation_id for one in self._evaluations)
        return Following(self._bus, evaluation_id, self.user, facts, own)

    async def timeline_chunk(self, evaluation_id: str, chunk: int) -> TimelineChunk:
        """One chunk of the assembled timeline, counted from 0."""
        return await self._chunk(evaluation_id, chunk, 5.0)

    async def stored(self, evaluation_id: str) -> tuple[str, list[Message], list[MetricsRecorded]]:
        """A stored evaluation: its whole id (a prefix or `last` may be given), facts, metrics."""
        facts: list[Message] = []
        metrics: list[MetricsRecorded] = []
        part, parts = 0, 1
        while part < parts:
            request = GetEvaluation(evaluation_id=evaluation_id, part=part)
            reply = await self._bus.request(subjects.EVALUATION, request, Stored, NotFound)
            if isinstance(reply, NotFound):
                raise not_stored(reply)
            facts += [decode(data) for data in reply.facts]
            metrics += [decode_as(data, MetricsRecorded) for data in reply.metrics]
            evaluation_id, part, parts = reply.evaluation_id, part + 1, reply.parts
        return evaluation_id, facts, metrics

    async def owner(self, evaluation_id: str) -> str:
        """Whose a stored evaluation is: who may stop and delete it."""
        request = GetEvaluation(evaluation_id=evaluation_id)
        reply = await self._bus.request(subjects.EVALUATION, request, Stored, NotFound)
        if isinstance(reply, NotFound):
            raise not_stored(reply)
        return reply.user

    async def result(self, evaluation_id: str) -> Result:
        """The result of a stored evaluation."""
        return summarize((await self.stored(evaluation_id))[1])

    async def analyses(self, evaluation_id: str, batch_size: int = 0) -> Analyses:
        """The fifteen analyses of a stored evaluation: rows, frames and figures.

        batch_size: whose layers and kernels; 0: the best one's. InputError while it is running.
        """
        from mlmodelscope.analyses import analyses_of

        return await analyses_of(self, evaluation_id, batch_size)

    async def manifest(self, path: Path) -> Manifest:
        """A manifest file of your own, checked; the files it names are put on the bus."""
        return await from_file(self._bus, path)

    async def timeline(self, evaluation_id: str, wait_s: float = 5.0) -> Timeline:
        """The assembled timeline, once its spans are there or `wait_s` has passed."""
        chunks = [await self._chunk(evaluation_id, 0, wait_s)]
        name, count = chunks[0].evaluation_id, chunks[0].chunks
        while len(chunks) < count:
            some = range(len(chunks), min(len(chunks) + AHEAD, count))
            chunks += await asyncio.gather(*(self._chunk(name, one, wait_s) for one in some))
        # A large one takes seconds: whoever else waits for this loop must not wait for them.
        return await asyncio.to_thread(Timeline.from_chunks, chunks)

    async def timeline_head(self, evaluation_id: str, wait_s: float = 5.0) -> TimelineChunk:
        """What there is to say of a timeline as a whole, with no more than its first spans."""
        return await self._chunk(evaluation_id, 0, wait_s)

    async def _chunk(self, evaluation_id: str, number: int, wait_s: float) -> TimelineChunk:
        for evaluation in [*self._evaluations]:
            if evaluation.evaluation_id == evaluation_id:
                await evaluation.leave()
        request = GetTimeline(evaluation_id=evaluation_id, chunk=number, wait_s=wait_s)
        reply = await self._bus.request(
            subjects.TIMELINE, request, TimelineChunk, NotFound, timeout_s=wait_s + 60.0
        )
        if isinstance(reply, NotFound):
            raise not_stored(reply)
        return reply

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that no service could deal with: of everybody's, so not for everybody."""
        if self._identity.seed and self._identity.role != "service":
            text = "dead letters are shown to who has the services' credentials"
            raise ForbiddenError(f"{text}: these are {self.user}'s")
        return self._bus.dead_letters()

    async def delete(self, evaluation_id: str) -> None:
        """Forget an evaluation and everything stored of it."""
        request = Delete(evaluation_id=evaluation_id, user=self.user)
        reply = await self._bus.request(subjects.DELETE, request, Done, NotFound)
        if isinstance(reply, NotFound):
            raise not_stored(reply)


def _identity(user: str, credentials: str | Path | None) -> Identity:
    """Who the client is: whom the credentials name, else whom it says, else the login name."""
    given = user or os.environ.get("MLMS_USER", "")
    if not credentials:
        return Identity(user=subjects.token(given or os.environ.get("USER", ANONYMOUS)))
    identity = read_identity(credentials)
    if identity.role == "node":
        raise InputError(f"{credentials} belongs to a node: expected a client's")
    if user and user != identity.user:
        raise InputError(f"{credentials} is {identity.user}'s, and the user is {user}")
    return identity


def refusal(refused: Refused) -> RefusedError:
    """A refusal as the error that a person sees."""
    return RefusedError(refused.text, refused.kind, refused)


def not_stored(missing: NotFound) -> NotStoredError:
    """An evaluation that is not there as the error that a person sees."""
    near = f" (there is {', '.join(e[:8] for e in missing.nearest[:5])})" if missing.nearest else ""
    return NotStoredError(missing.text + near)
