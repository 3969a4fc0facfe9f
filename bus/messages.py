"""Every message and every type inside one, in the order in which one evaluation meets them.

Commands are imperative and have one receiver; facts are past tense and have any number. Each
travels as a MessagePack map whose `type` is its class name (bus/codec.py). Times are whole
nanoseconds since the Unix epoch on the sender's clock, unless a docstring says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from bus.manifest import (
    Claim,
    DatasetFile,
    DatasetManifest,
    FrameworkWanted,
    InputParameters,
    Manifest,
    ModelInput,
    ModelOutput,
    ModelResources,
    OutputParameters,
    Sample,
    Selection,
)

__all__ = (
    "Claim",
    "DatasetFile",
    "DatasetManifest",
    "FrameworkWanted",
    "InputParameters",
    "Manifest",
    "ModelInput",
    "ModelOutput",
    "ModelResources",
    "OutputParameters",
    "Sample",
    "Selection",
)

# Protocol history: raise the number, and the v1 in bus/subjects.py with it, when an old reader
# would be wrong; add fields with defaults freely.
#   1  first version
PROTOCOL = 1

Level = Literal[
    "none", "application", "model", "framework", "library", "system", "hardware", "full"
]
LEVELS: tuple[Level, ...] = (
    "none",
    "application",
    "model",
    "framework",
    "library",
    "system",
    "hardware",
    "full",
)
"""The trace levels, each a superset of the one before. A span holds its level's index."""


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """The base of everything that travels by itself."""


# ------------------------------------------------------------------ nodes: who can run it


class Device(Struct, frozen=True, kw_only=True):
    """A thing that computes. kind: cpu, gpu or other; memory_bytes 0 means unknown.

    capability: CUDA's compute capability (8.0), where the device has one.
    """

    kind: str
    name: str
    memory_bytes: int = 0
    count: int = 1
    capability: str = ""


class FrameworkSeen(Struct, frozen=True, kw_only=True):
    """A framework that a node can load, in the environment where it lies."""

    name: str
    version: str
    devices: list[str] = []
    providers: list[str] = []
    environment: str = "default"
    packages: dict[str, str] = {}
    """Packages of that environment that bring models with them (torchvision …), or lie below the
    framework (numpy, CUDA's libraries …): name -> version."""
    levels: list[Level] = []
    """The trace levels that profilers of that environment serve for it, beside its own layers."""
    python: str = ""
    """The version of that environment's Python; empty: none, or not known."""
    settings: list[str] = []
    """The names of the settings that it knows, as its plugin tells them."""


class Clock(Struct, frozen=True, kw_only=True):
    """How far this machine's clock is from the reference's: reference = local + offset_ns.

    error_ns bounds the offset's error (half the best round trip); -1 means not measured. at_ns:
    when, on the local clock, it was measured (0: not said). A clock of its own, such as simulated
    time, names itself as the reference and measures nothing: its spans lie on a track apart.
    """

    reference: str = ""
    offset_ns: int = 0
    error_ns: int = -1
    at_ns: int = 0


class Ceiling(Struct, frozen=True, kw_only=True):
    """What a machine was measured to do at most. kind: compute (GFLOP/s) or memory (GB/s).

    dtype: of compute; threads: so many at once. how: by which micro-benchmark.
    """

    kind: str
    value: float
    unit: str
    dtype: str = ""
    threads: int = 1
    how: str = ""
    at_ns: int = 0


class Processor(Struct, frozen=True, kw_only=True):
    """Which processor a machine has, in CPUID's numbers; what it does not tell is 0 or empty.

    Of ARM, model is the part number. sockets, threads_per_core: as the system sees them.
    """

    vendor: str = ""
    family: int = 0
    model: int = 0
    stepping: int = 0
    sockets: int = 0
    threads_per_core: int = 0
    base_mhz: int = 0
    """What is promised on all cores; base_by: who says so."""
    base_by: str = ""
    most_mhz: int = 0
    """The highest that a core may reach, where the system says."""
    memory_modules: int = 0
    """Of main memory, by SMBIOS, which only root may read; memory_mts: their configured speed."""
    memory_mts: int = 0


class NodeAnnounced(Message, frozen=True, kw_only=True):
    """A predictor node says what it can do. Kept in the bucket mlms_nodes, written on change."""

    node_id: str
    incarnation: str
    protocol: int = PROTOCOL
    version: str = ""
    host: str = ""
    machine_id: str = ""
    arch: str = ""
    system: str = ""
    cpu: str = ""
    cores: int = 0
    memory_bytes: int = 0
    devices: list[Device] = []
    frameworks: list[FrameworkSeen] = []
    containers: bool = False
    interconnect: str = ""
    """What joins its devices, words with blanks between: pcie4, nvlink …; empty: not known."""
    labels: dict[str, str] = {}
    """What its owner says of it; `price`: what an hour of it costs, a number."""
    slots: int = 1
    allow_code: bool = False
    """Whether a manifest's own code may run here."""
    builds: list[str] = []
    """Frameworks that may be installed here on demand, in an environment of their own."""
    builds_images: bool = False
    """Whether a manifest's Dockerfile may be built here."""
    unavailable: dict[str, str] = {}
    """What this machine cannot measure or load, and why: e.g. {"power": "no RAPL: …"}."""
    status_url: str = ""
    clock: Clock = Clock()
    started_ns: int = 0
    cpu_features: list[str] = []
    """What the processor can do that a model may want: avx2, avx512, amx, neon …"""
    disk_bytes: int = 0
    """Free for its cache when it announced itself, rounded down to two binary digits."""
    distribution: str = ""
    """The operating system's name and version: debian 12."""
    kernel: str = ""
    ceilings: list[Ceiling] = []
    """What was measured here when somebody asked (MeasureCeilings); none until then."""
    processor: Processor = Processor()


class NodeAlive(Message, frozen=True, kw_only=True):
    """The heartbeat of one node: its key in the bucket mlms_alive expires when it falls silent."""

    node_id: str
    incarnation: str
    jobs: list[str] = []


class ModelRan(Struct, frozen=True, kw_only=True):
    """What running a model on a node was like, the last time.

    ns_per_input: the median predict call at the smallest batch size, divided by that; fetch_ns:
    what bringing its files took when they were not there yet.
    """

    model_digest: str
    framework: str
    ns_per_input: int
    fetch_ns: int = 0


class NodeRan(Message, frozen=True, kw_only=True):
    """What a node has run lately: how fast, and whose files lie in its cache. Bucket mlms_ran."""

    node_id: str
    models: list[ModelRan] = []
    """The last 64, the latest last."""


class DeviceHeld(Message, frozen=True, kw_only=True):
    """A node uses a device of its machine: no other node there does, until it is done.

    Kept in the bucket mlms_leases under `<machine>.<device>`, until its node falls silent or a
    second has passed without use. Another node that waits says so under `<machine>.<device>.wanted`
    and gets it next. job_id is empty for what a client asks of an open model.
    """

    node_id: str
    incarnation: str
    job_id: str


# ------------------------------------------------------------------ asking for an evaluation


class Input(Struct, frozen=True, kw_only=True):
    """One thing to predict: small files travel inside (`data`), others by `url`.

    url: repo:// (the bus's object store), package://, http(s)://. checksum: `sha256:<hex>`.
    """

    name: str
    url: str = ""
    data: bytes = b""
    checksum: str = ""


Preference = Literal["", "cheapest", "fastest", "least_loaded"]


class Wanted(Struct, frozen=True, kw_only=True):
    """What a node must have. Empty fields ask for nothing.

    framework: `name`, or `name@range`. device: cpu, gpu, other. node: one node's id.
    environment: the name of one of a node's environments. container: in the manifest's container,
    also where the node has the framework itself. requires: constraints as text, such as
    `gpu.memory>=16GiB` (docs/fleet.md has the grammar). prefer: which of those that fit.
    """

    framework: str = ""
    device: str = "cpu"
    node: str = ""
    environment: str = ""
    arch: str = ""
    min_memory_bytes: int = 0
    min_cores: int = 0
    labels: dict[str, str] = {}
    container: bool = False
    requires: list[str] = []
    prefer: Preference = ""


ScenarioName = Literal[
    "online",
    "single_stream",
    "multi_stream",
    "server",
    "offline",
    "burst",
    "replay",
    "cold_start",
    "dataset",
]
Search = Literal["", "max_qps", "peak"]


class Scenario(Struct, frozen=True, kw_only=True):
    """The load of an evaluation: when queries are issued, how many, and when that is enough.

    A field at its default leaves the choice to the scenario; what was in effect is in RunMeasured.
    A run ends when both minima are met (and until_ci, if asked), or else at either maximum.
    target_qps: queries in a second, of server and burst; of offline, the samples expected.
    samples_per_query: 1; of multi_stream 8. percentile, latency_bound_ms: of the result's latency.
    until_ci: the width of the percentile's 95 % interval as a part of it, at which to stop.
    """

    name: ScenarioName = "online"
    target_qps: float = 0.0
    min_duration_s: float | None = None
    min_queries: int | None = None
    max_duration_s: float = 0.0
    max_queries: int = 0
    samples_per_query: int = 0
    latency_bound_ms: float = 0.0
    percentile: float = 0.0
    until_ci: float = 0.0
    replay_ns: list[int] = []
    """Of replay: when each query is due, counted from the first, in order."""
    burst_size: int = 0
    """Of burst: how many queries are due at one instant."""
    issue_threads: int = 1
    """Threads that predict at the same time, fed by one queue, where the framework bears it."""
    find: Search = ""
    """Of server: look for the highest target_qps that holds the bound, by this rule."""
    accuracy: bool = False
    """Each sample once, in an order drawn from the seed, instead of what the rule would draw."""
    pipelined: bool = False
    """Of dataset: prepare the next batch while one is predicted."""


class Evaluate(Message, frozen=True, kw_only=True):
    """Run this model on a fitting node. Answered by Accepted or Refused, on `request.evaluate`.

    The client chooses `evaluation_id` (32 hex digits: also the W3C trace id), so that asking
    twice is harmless. model is `name` or `name@range`, unless `manifest` holds a whole one.
    batch_sizes, queries (per batch size) and warmup make the runs; level is what to trace: in a run
    of its own for each level down to it, unless not `leveled`: then only the deepest.
    settings: the framework's; those that begin with `profile.` are the profilers'.
    dataset (`name` or `name@range`, unless `dataset_manifest` holds a whole one) takes the place of
    inputs: each of its first `limit` items (0: all) is predicted once, measured in the same pass,
    and told beside what was expected. full_outputs: every probability, not the top_k alone.
    """

    evaluation_id: str
    user: str = "anonymous"
    model: str = ""
    manifest: Manifest | None = None
    wanted: Wanted = Wanted()
    inputs: list[Input] = []
    dataset: str = ""
    dataset_manifest: DatasetManifest | None = None
    limit: int = 0
    full_outputs: bool = False
    batch_sizes: list[int] = field(default_factory=lambda: [1])
    queries: int = 100
    warmup: int = 5
    level: Level = "model"
    leveled: bool = True
    seed: int = 0
    settings: dict[str, str | int] = {}
    top_k: int = 5
    timeout_s: float = 600.0
    max_attempts: int = 3
    traceparent: str = ""
    """W3C: the caller's trace, which the spans of this evaluation join when they leave by OTLP."""
    otlp_endpoint: str = ""
    """Where to push them besides the collector's own endpoint, if its settings allow the host."""
    scenario: Scenario | None = None
    """The load; none: `queries` online ones, or the dataset once."""
    parent_span: int = 0
    """The client's own request span: what happens elsewhere hangs below it."""
    spread: int = 1
    """On how many of the fitting nodes to run it, a job each; 0: on every one."""
    priority: int = 0
    """-10 to 10: of those that wait, the higher goes first, whoever asks."""


class JobPlaced(Struct, frozen=True, kw_only=True):
    """A job and the node that was chosen for it."""

    job_id: str
    node_id: str
    framework: str
    framework_version: str


class Accepted(Message, frozen=True, kw_only=True):
    """The evaluation will run; these are its jobs, and the model that the name resolved to."""

    evaluation_id: str
    model: str
    model_version: str
    jobs: list[JobPlaced]


class Failure(Struct, frozen=True, kw_only=True):
    """One constraint that a node does not meet: what was wanted, and what it has."""

    constraint: str
    wanted: str
    has: str


class Misfit(Struct, frozen=True, kw_only=True):
    """Nodes that do not fit for the same reasons. `nodes` holds the first few of `count`."""

    nodes: list[str]
    count: int
    failures: list[Failure]


class Refused(Message, frozen=True, kw_only=True):
    """The request cannot be met.

    kind: unknown_model, unknown_dataset, unmet_version, not_runnable, bad_request, no_nodes or
    nothing_fits; queue_full or user_limit where too much waits, or is held, already; of Publish
    also manifest or changed; of Open also what went wrong on the node: busy, node_lost,
    worker_died, asset, framework, request. misfits: every reason, near misses (fewest failures)
    first.
    """

    evaluation_id: str = ""
    kind: str
    text: str
    nearest: list[str] = []
    misfits: list[Misfit] = []


class Cancel(Message, frozen=True, kw_only=True):
    """Stop an evaluation. Answered by Done or Refused, on `request.cancel`."""

    evaluation_id: str
    user: str = "anonymous"


class ListFacts(Message, frozen=True, kw_only=True):
    """What was told of my evaluation so far? Answered by Facts, on `request.told`.

    For who missed some of it: from the stream, so also of an evaluation that still runs. first:
    how many of them to pass over.
    """

    evaluation_id: str
    user: str = "anonymous"
    first: int = 0


class Facts(Message, frozen=True, kw_only=True):
    """Facts of one evaluation, each one encoded message, in the order they were told.

    next_first asks for more (0: no more).
    """

    facts: list[bytes]
    next_first: int = 0


class Done(Message, frozen=True, kw_only=True):
    """What was asked has been done (or there was nothing to do: `text` says so)."""

    text: str = ""


class Fits(Message, frozen=True, kw_only=True):
    """Which nodes would run this? Answered by Fitting or Refused, on `request.fits`.

    Without a model: which nodes have what is wanted?
    """

    user: str = "anonymous"
    model: str = ""
    manifest: Manifest | None = None
    wanted: Wanted = Wanted()


class Place(Struct, frozen=True, kw_only=True):
    """One way to run a model: a node, and a framework in one of its environments."""

    node_id: str
    framework: str
    framework_version: str
    environment: str = "default"


class Fitting(Message, frozen=True, kw_only=True):
    """The nodes that fit, the first choice first, and why the others do not.

    places: every environment of every fitting node that would run it.
    """

    nodes: list[str]
    misfits: list[Misfit] = []
    places: list[Place] = []


class ListNodes(Message, frozen=True, kw_only=True):
    """Which nodes are alive? Answered by Nodes, on `request.nodes`, a page of `limit` (0: 1,000)
    at a time, by id; after: the last id of the page before."""

    after: str = ""
    limit: int = 0


class NodeSeen(Struct, frozen=True, kw_only=True):
    """A node as the coordinators see it now."""

    node: NodeAnnounced
    outstanding: int
    """Jobs placed on it and not yet ended."""


class Nodes(Message, frozen=True, kw_only=True):
    """A page of the nodes that are alive; more: whether others come after."""

    nodes: list[NodeSeen]
    more: bool = False


class ListQueue(Message, frozen=True, kw_only=True):
    """What waits, and for what? Answered by Queue, on `request.queue`.

    Of one evaluation, of the asking user's own (`mine`), or of all; up to `limit` jobs. Of other
    users' private models the name is not told.
    """

    evaluation_id: str = ""
    user: str = "anonymous"
    mine: bool = False
    limit: int = 1000


class JobWaiting(Struct, frozen=True, kw_only=True):
    """A job that has not ended. position: 1 is next on its node, of `of` that wait; 0: it runs.

    held: it lies with the coordinators, and may still go to another node.
    """

    job_id: str
    evaluation_id: str
    user: str
    model: str
    node_id: str
    position: int
    of: int
    held: bool = False
    priority: int = 0
    submitted_ns: int = 0


class Queue(Message, frozen=True, kw_only=True):
    """Jobs that have not ended, node by node, in the order in which they will run."""

    jobs: list[JobWaiting]
    total: int = 0


class DescribeSystem(Message, frozen=True, kw_only=True):
    """How are the services and the streams? Answered by SystemDescribed, on `request.system`."""

    user: str = "anonymous"


class ServiceSeen(Struct, frozen=True, kw_only=True):
    """One running service as it describes itself. not_ready: why it takes no work now, or nothing.

    answered, errors: requests since it started.
    """

    name: str
    id: str
    host: str = ""
    status_url: str = ""
    not_ready: str = ""
    answered: int = 0
    errors: int = 0


class ConsumerSeen(Struct, frozen=True, kw_only=True):
    """Who takes from a stream. waiting: not yet handed out; unacknowledged: handed out, and still
    in work; again: handed out more than once."""

    name: str
    waiting: int
    unacknowledged: int
    again: int = 0


class StreamSeen(Struct, frozen=True, kw_only=True):
    """What a stream holds, and how far behind it each of its consumers is."""

    name: str
    messages: int
    bytes: int
    most_bytes: int = 0
    """0: no limit of its own."""
    consumers: list[ConsumerSeen] = []


class SystemDescribed(Message, frozen=True, kw_only=True):
    """The services that answered within a moment, and the streams."""

    services: list[ServiceSeen]
    streams: list[StreamSeen]


class ListModels(Message, frozen=True, kw_only=True):
    """Which models are known? Answered by Models, on `request.models`.

    model is `name` or `name@range`; empty means every model, each version of it, but for those
    that are hidden, unless `hidden` asks for them too. Another user's private ones are not told.
    """

    model: str = ""
    user: str = "anonymous"
    hidden: bool = False


class Models(Message, frozen=True, kw_only=True):
    """Manifests, by name, newest version first; `not_runnable`: name@version -> why."""

    models: list[Manifest]
    not_runnable: dict[str, str] = {}


class ListDatasets(Message, frozen=True, kw_only=True):
    """Which datasets are known? Answered by Datasets, on `request.datasets`.

    dataset is `name` or `name@range`; empty means every dataset that is not hidden, each version of
    it. Another user's private ones are not told.
    """

    dataset: str = ""
    user: str = "anonymous"


class Datasets(Message, frozen=True, kw_only=True):
    """Datasets, by name, newest version first."""

    datasets: list[DatasetManifest]


class Publish(Message, frozen=True, kw_only=True):
    """Let everyone know this model, or this dataset. Answered by Done or Refused, on
    `request.publish`.

    The same content again is Done; another content under the same name, version and framework is
    Refused (kind `changed`): results are compared by version, so a changed model needs a new one.
    A manifest without an owner becomes the user's own; a private one is seen by its owner only.
    """

    manifest: Manifest | None = None
    dataset: DatasetManifest | None = None
    user: str = "anonymous"


class Unpublish(Message, frozen=True, kw_only=True):
    """Let nobody use this model by its name any more; what was stored of it stays.

    Answered by Done or Refused, on `request.unpublish`. framework may be left out where only one
    has this version of the model. Only its owner withdraws a model that has one.
    """

    name: str
    version: str
    framework: str = ""
    dataset: bool = False
    """Whether a dataset is meant, and not a model."""
    user: str = "anonymous"


class ReadClock(Message, frozen=True, kw_only=True):
    """What time is it with you? Answered by ClockRead, on `request.clock`, by a collector."""


class ClockRead(Message, frozen=True, kw_only=True):
    """The reference's clock when the question was read."""

    reference: str
    now_ns: int


# ------------------------------------------------------------------ the state of it all


JobState = Literal["queued", "running", "finished", "failed", "cancelled"]
EvaluationState = Literal["running", "finished", "failed", "cancelled"]


class JobRecord(Message, frozen=True, kw_only=True):
    """What is true of a job now: bucket mlms_jobs, every move a compare-and-set."""

    job: Job
    state: JobState = "queued"
    attempt: int = 1
    node_id: str
    incarnation: str = ""
    """The node incarnation that runs `attempt`; empty while queued."""
    excluded: list[str] = []
    """Nodes on which an attempt was lost: not chosen again while another fits."""
    published: bool = False
    """Whether this attempt is known to lie in the node's queue."""
    kind: str = ""
    text: str = ""
    changed_ns: int = 0
    held: bool = False
    """Whether it still lies with the coordinators: its node has enough to do without it."""
    priority: int = 0
    expected_s: float = 0.0
    """What it is expected to take on its node, by what is known of the model there; 0: unknown."""
    started_ns: int = 0
    """When its node began with the current attempt, on that node's clock."""


class EvaluationRecord(Message, frozen=True, kw_only=True):
    """What is true of an evaluation now: bucket mlms_evaluations."""

    request: Evaluate
    model: str
    model_version: str
    jobs: list[JobPlaced]
    state: EvaluationState = "running"
    kind: str = ""
    text: str = ""
    accepted_ns: int
    ended_ns: int = 0
    objects: dict[str, int] = {}
    """Objects of the bus's store that its inputs are, and their bytes: they count as its user's
    until it has ended."""


# ------------------------------------------------------------------ a job, and what comes of it


class Run(Struct, frozen=True, kw_only=True):
    """One measured run of a job: a batch size at a level, `queries` after `warmup` uncounted.

    scenario `dataset`: every item once, in batches; queries is 0, for the dataset says how many.
    batch_size 0: not known, of an imported recording. options: the load as it was asked for; then
    queries is the least that is expected (0: not known).
    """

    index: int
    batch_size: int
    level: Level
    queries: int
    warmup: int
    scenario: str = "online"
    options: Scenario | None = None


class Job(Message, frozen=True, kw_only=True):
    """Run this: one node, one environment, runs in order. Travels in the work queue."""

    job_id: str
    evaluation_id: str
    user: str
    attempt: int = 1
    node_id: str
    manifest: Manifest
    framework: str
    framework_version: str
    environment: str = "default"
    inputs: list[Input] = []
    dataset: DatasetManifest | None = None
    limit: int = 0
    full_outputs: bool = False
    runs: list[Run]
    level: Level = "model"
    seed: int = 0
    settings: dict[str, str | int] = {}
    top_k: int = 5
    timeout_s: float = 600.0
    submitted_ns: int = 0
    parent_span: int = 0
    traceparent: str = ""


class Fact(Message, frozen=True, kw_only=True):
    """The base of what a node tells about a job.

    sequence counts a job's facts within its attempt from 0, so that a gap can be seen.
    """

    evaluation_id: str
    job_id: str
    attempt: int
    node_id: str
    sequence: int
    at_ns: int


class EventCount(Struct, frozen=True, kw_only=True):
    """How many events of one category and phase of an imported file became what.

    became: span, metric, metadata, or nothing: then `reason` says why they are not kept.
    """

    category: str
    phase: str
    became: str = ""
    reason: str = ""
    count: int


class Window(Struct, frozen=True, kw_only=True):
    """A time that a recording names without anything running in it: a profiler's own span …"""

    name: str
    start_ns: int
    duration_ns: int = 0


class Recording(Struct, frozen=True, kw_only=True):
    """Where an imported evaluation comes from, and what became of every event of the file.

    sha256 and size_bytes are of the unpacked file. clock: what its times count from. threads:
    the number of a thread in the spans -> what it is; numbers below 0 are queues of a device.
    about: what stood at the top of the file. notes: what had to be decided on reading.
    """

    file: str
    format: str
    sha256: str
    size_bytes: int
    clock: str
    first_ns: int
    last_ns: int
    events: list[EventCount]
    threads: dict[str, str] = {}
    windows: list[Window] = []
    about: dict[str, Any] = {}
    notes: list[str] = []


class Conditions(Struct, frozen=True, kw_only=True):
    """What a machine was doing, and how it was set, at one moment: what two runs must share.

    governor, turbo (on or off), kernel, python: texts, empty where not known. load_1m: the mean
    number of runnable processes over a minute, of all cores; frequency_mhz: of the fastest core;
    temperature_c: of the hottest zone; throttled: how often cores were slowed for their heat, since
    the machine started; stalled_us: how long, since then, processes waited for a core (PSI).
    Numbers are -1 where not known. unavailable: what could not be read, and why.
    """

    governor: str = ""
    turbo: str = ""
    kernel: str = ""
    python: str = ""
    load_1m: float = -1.0
    frequency_mhz: float = -1.0
    temperature_c: float = -1.0
    throttled: int = -1
    stalled_us: int = -1
    unavailable: dict[str, str] = {}


class InputTaken(Struct, frozen=True, kw_only=True):
    """One thing that a job was given, without its content.

    url: where it lies; nothing where it came inside the request, or its address may hold a key (a
    password, a query). checksum: `sha256:<hex>` of its content, where it is known beforehand.
    """

    name: str
    url: str = ""
    checksum: str = ""


class JobStarted(Fact, frozen=True, kw_only=True):
    """A node took the job; `node` says on what it runs.

    recording: this was not run here but imported, by a client; what the recording does not say
    reads `unknown (imported)`.
    """

    incarnation: str
    model: str
    model_version: str
    model_digest: str
    """sha256 of the manifest's content: what results are keyed by."""
    framework: str
    framework_version: str
    environment: str
    requested: dict[str, str | int] = {}
    runs: list[Run] = []
    node: NodeAnnounced | None = None
    inputs: list[InputTaken] = []
    """In order; of labelled data the dataset says it."""
    dataset: str = ""
    dataset_version: str = ""
    dataset_digest: str = ""
    weights: str = "trained"
    claims: list[Claim] = []
    """What the model's author says of it: every result is shown against them."""
    readers: list[str] = []
    """Who may see what comes of it: users, and groups as `group:NAME`; none: everyone."""
    recording: Recording | None = None
    conditions: Conditions | None = None
    """Of the node's machine when it took the job; None: not told."""


class Progress(Fact, frozen=True, kw_only=True):
    """How far a job is: for people.

    phase: container or environment (being made ready), fetch, open, predict, warmup, measure or
    profile.
    """

    run: int
    phase: str
    done: int
    total: int
    text: str = ""


class Stack(Struct, frozen=True, kw_only=True):
    """The software that a worker runs in.

    packages: Python's, name -> version. libraries: shared ones in memory once the model was open,
    name -> version where their names say it. variables: those that frameworks and their libraries
    read; of a container every one that its image sets. system: the distribution; system_packages:
    its own packages, in a container.
    """

    python: str = ""
    system: str = ""
    packages: dict[str, str] = {}
    system_packages: dict[str, str] = {}
    libraries: dict[str, str] = {}
    variables: dict[str, str] = {}
    image: str = ""
    """The container's image as it was named; empty: no container."""
    digest: str = ""
    """sha256 of what the image is, whatever its name means tomorrow."""
    layers: list[str] = []
    """sha256 of each of the image's layers, the lowest first."""


class StackDescribed(Fact, frozen=True, kw_only=True):
    """What the job's worker runs in; once a job, when the model was opened, or could not be."""

    environment: str
    stack: Stack


class TensorSpec(Struct, frozen=True, kw_only=True):
    """A tensor as a framework declares it; a free dimension is its name or -1."""

    name: str = ""
    dtype: str = ""
    shape: list[int | str] = []


class ModelOpened(Fact, frozen=True, kw_only=True):
    """The model lies in memory; `settings` are the values in effect, not the ones asked for."""

    run: int
    framework: str
    framework_version: str
    cached: bool
    duration_ns: int
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    settings: dict[str, Any] = {}
    providers: dict[str, list[str]] = {}
    """What each node of the graph really runs on: provider -> names of nodes; {}: not known."""


class ClassScore(Struct, frozen=True, kw_only=True):
    """One class that a classifier names. probability is 0–1."""

    index: int
    label: str
    probability: float


class Box(Struct, frozen=True, kw_only=True):
    """One thing found in an image: its corners in pixels of the image as it was given."""

    x1: float
    y1: float
    x2: float
    y2: float
    index: int = -1
    label: str = ""
    probability: float = 0.0
    mask: bytes = b""
    """zlib of one byte a pixel of the box (rows of x2 - x1, rounded), 0 or 1; empty: no mask."""
    crowd: bool = False
    """Of what is true: many things in one box (COCO's iscrowd), neither found nor missed."""


class ClassMap(Struct, frozen=True, kw_only=True):
    """A class for every pixel: zlib of height x width little-endian uint16; 65535: none."""

    height: int
    width: int
    block: bytes
    labels: list[str] = []
    """The classes' names by number, where the model has any."""


class TensorValue(Struct, frozen=True, kw_only=True):
    """A tensor's numbers: little-endian, rows first, in `data`; if large, an .npy file at `url`."""

    name: str = ""
    dtype: str
    shape: list[int]
    data: bytes = b""
    url: str = ""


class Interval(Struct, frozen=True, kw_only=True):
    """Something heard between two times, in seconds from the beginning."""

    start_s: float
    end_s: float
    label: str = ""
    probability: float = 0.0


class Truth(Struct, frozen=True, kw_only=True):
    """What a dataset says of an item: the field of its task is filled."""

    index: int = -1
    """The class, counted as the model's output counts them; -1: none."""
    label: str = ""
    boxes: list[Box] = []
    map: ClassMap | None = None
    text: str = ""
    image: TensorValue | None = None


class Prediction(Struct, frozen=True, kw_only=True):
    """What a model says of one input: the field of its output's type is filled.

    classes: classification, best class first; boxes: detection and instance segmentation;
    map: semantic segmentation; tensors: features, and whatever else is raw; image: enhancement,
    [height, width, channels] 0–255; text: generation, recognition; intervals: audio.
    """

    input: str
    classes: list[ClassScore] = []
    boxes: list[Box] = []
    map: ClassMap | None = None
    tensors: list[TensorValue] = []
    image: TensorValue | None = None
    text: str = ""
    intervals: list[Interval] = []
    truth: Truth | None = None


class PredictionsMade(Fact, frozen=True, kw_only=True):
    """Predictions of inputs first, first + 1, … of the job."""

    run: int
    first: int
    predictions: list[Prediction]


class Probe(Struct, frozen=True, kw_only=True):
    """One rate that a search has tried: latency_ns is its percentile, ok: within the bound.

    gave_up: ended before its last query, when the bound could not be held any more.
    """

    target_qps: float
    queries: int
    latency_ns: int
    ok: bool
    gave_up: bool = False
    seed: str = ""


class RunMeasured(Fact, frozen=True, kw_only=True):
    """The raw times of a run's predict calls, up to 50,000 a message.

    starts_ns count from start_ns, the run's beginning; durations_ns are of the framework's predict
    call alone. A call is a query, but for a scenario whose query takes calls_per_query of them.
    A query's latency is, in online and single_stream, its call; in multi_stream, from the
    beginning of its first call to the end of its last; in offline, from start_ns to the end of the
    call; in server, burst and replay, from scheduled_ns to the end of its last call; in cold_start,
    the sum of its parts_ns.
    """

    run: int
    batch_size: int
    level: Level
    scenario: str
    start_ns: int
    first_query: int = 0
    starts_ns: list[int]
    durations_ns: list[int]
    last: bool = True
    scheduled_ns: list[int] = []
    """When each call's query was due, from start_ns; none: on the completion of the one before."""
    calls_per_query: int = 1
    samples_per_query: int = 0
    """0: the batch size."""
    samples: list[int] = []
    """Which batch of inputs each call was fed, counted from 0; none: in turn."""
    ended: str = ""
    """Why the run ended: minima, max_duration, max_queries, converged, not converged …"""
    effective: dict[str, Any] = {}
    """The load that was in effect, beside the one asked for (Run.options)."""
    warming: int = 0
    """How many of the first queries look like warming up (MSER-5); nothing was dropped."""
    parts_ns: dict[str, list[int]] = {}
    """Of cold_start: what each new process took, by step."""
    probes: list[Probe] = []


class LayerDescribed(Struct, frozen=True, kw_only=True):
    """A layer as the framework ran it, in execution order.

    module: the part of the network that it belongs to, where the framework has such parts.
    allocated_bytes: what it took from the allocator while it ran, where the framework says so.
    """

    index: int
    name: str
    operator: str = ""
    provider: str = ""
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    parameter_bytes: int = 0
    output_bytes: int = 0
    module: str = ""
    allocated_bytes: int = 0


class GraphDescribed(Fact, frozen=True, kw_only=True):
    """The graph that really ran, after the framework's own optimisations; once a job.

    macs: multiply-adds of one predict of that run, counted on the model's own graph before these;
    -1: not counted. macs_by: by what they were counted, or why they were not.
    """

    run: int
    layers: list[LayerDescribed]
    macs: int = -1
    macs_by: str = ""


class LayerOutput(Struct, frozen=True, kw_only=True):
    """What one layer gave: its range, and evenly spaced numbers of it as little-endian float32."""

    name: str
    operator: str = ""
    dtype: str
    shape: list[int]
    low: float
    high: float
    mean: float
    sample: bytes


class LayersSaid(Fact, frozen=True, kw_only=True):
    """What the layers first, first + 1, … gave for one input, where the setting asked for it."""

    run: int
    input: str
    first: int
    layers: list[LayerOutput]


class JobFinished(Fact, frozen=True, kw_only=True):
    """The job ran to its end. spans: how many were emitted, by level; what was lost is said."""

    spans: dict[str, int] = {}
    span_batches: dict[str, int] = {}
    """Batches by source: the collector knows from it when it has them all."""
    lost_spans: int = 0
    emitted: dict[str, dict[str, int]] = {}
    """What `spans` counts, by source: source -> level -> spans."""
    dropped: dict[str, dict[str, int]] = {}
    """What `lost_spans` counts: source -> level -> spans, lost by a profiler or given up here."""
    spilled_spans: int = 0
    """Spans that lie in a file on the node, to be sent when the stream takes them again."""
    peak_memory_bytes: int = 0
    clock_drift_ns: int = 0
    """How far the machine's wall clock moved against its monotonic one during the job."""
    unavailable: dict[str, str] = {}
    conditions: Conditions | None = None
    """Of the node's machine when the job ended; None: not told."""


class JobFailed(Fact, frozen=True, kw_only=True):
    """The job ended without a result.

    kind: input, asset, framework, container, environment, worker_died, out_of_memory, disk_full,
    timeout …
    """

    kind: str
    text: str
    detail: str = ""


class JobOutcome(Struct, frozen=True, kw_only=True):
    """How one job of an evaluation ended: its accepted attempt and that attempt's facts."""

    job_id: str
    node_id: str
    attempt: int
    state: JobState
    facts: int = 0
    kind: str = ""
    text: str = ""


class EvaluationFinished(Message, frozen=True, kw_only=True):
    """Every job finished. traceparent, otlp_endpoint: as the request had them."""

    evaluation_id: str
    at_ns: int
    jobs: list[JobOutcome]
    traceparent: str = ""
    otlp_endpoint: str = ""


class EvaluationFailed(Message, frozen=True, kw_only=True):
    """A job failed, or the evaluation was cancelled (kind `cancelled`)."""

    evaluation_id: str
    at_ns: int
    kind: str
    text: str
    jobs: list[JobOutcome] = []
    traceparent: str = ""
    otlp_endpoint: str = ""


# ------------------------------------------------------------------ spans and metrics


class Span(Struct, frozen=True, array_like=True, gc=False):
    """One thing that took time. level is an index into LEVELS; parent_id 0: not known (yet).

    thread 0: not known; below 0: a queue of a device, where work is launched from elsewhere: its
    launch is the span of a host's thread with the same correlation_id.
    """

    span_id: int
    parent_id: int
    level: int
    name: str
    start_ns: int
    duration_ns: int
    thread: int = 0
    correlation_id: int = 0
    tags: dict[str, Any] = {}


class SpansRecorded(Message, frozen=True, kw_only=True):
    """A batch of spans: what must be found without opening it, and one block of rows.

    block: a zstd frame of a MessagePack array of Span rows. source: worker, node, coordinator,
    client or import; (job_id or evaluation_id, attempt, source, batch) names the batch for ever.
    origin: measured, or imported from a recording.
    """

    evaluation_id: str
    job_id: str = ""
    attempt: int = 0
    node_id: str = ""
    source: str
    batch: int
    run: int = -1
    levels: dict[str, int]
    count: int
    first_start_ns: int
    last_end_ns: int
    lost: int = 0
    dropped: dict[str, int] = {}
    """Of the lost spans, how many of each level."""
    clock: Clock = Clock()
    clocks: list[Clock] = []
    """Earlier measurements of the same clock: the offset is taken from the line through all."""
    origin: str = "measured"
    block: bytes


class MetricsRecorded(Message, frozen=True, kw_only=True):
    """Samples of one quantity over time. unit: bytes, percent, watts …; times are epoch ns.

    run: the run that they were taken in; -1: no run's alone.
    """

    evaluation_id: str
    job_id: str = ""
    attempt: int = 0
    node_id: str = ""
    source: str
    batch: int
    run: int = -1
    name: str
    unit: str
    level: Level
    times_ns: list[int]
    values: list[float]
    lost: int = 0
    clock: Clock = Clock()


# ------------------------------------------------------------------ questions to the collector


class ListHistory(Message, frozen=True, kw_only=True):
    """Past evaluations, newest first. Answered by History, on `request.history`.

    Names are compared whatever their case; since_ns: none asked for earlier.
    """

    model: str = ""
    framework: str = ""
    node: str = ""
    user: str = ""
    state: str = ""
    before_ns: int = 0
    limit: int = 50
    dataset: str = ""
    """Those on this labelled data; `*`: on any."""
    since_ns: int = 0


class RunSummary(Struct, frozen=True, kw_only=True):
    """A stored run in short, for lists."""

    run: int
    batch_size: int
    level: Level
    queries: int
    median_ns: int
    """Of a predict call, under whichever scenario."""
    scenario: str = ""


class HistoryRow(Struct, frozen=True, kw_only=True):
    """One evaluation in a list. Of a dataset's: labelled items, and those whose class is right."""

    evaluation_id: str
    at_ns: int
    user: str = ""
    model: str = ""
    model_version: str = ""
    framework: str = ""
    framework_version: str = ""
    node_id: str = ""
    state: str = "running"
    text: str = ""
    weights: str = "trained"
    runs: list[RunSummary] = []
    dataset: str = ""
    labelled: int = 0
    right: int = 0
    origin: str = "measured"
    """measured, or imported."""
    dataset_version: str = ""


class History(Message, frozen=True, kw_only=True):
    """A page of past evaluations; `next_before_ns` asks for the page after (0: no more)."""

    rows: list[HistoryRow]
    next_before_ns: int = 0


class GetEvaluation(Message, frozen=True, kw_only=True):
    """Every fact of one evaluation, winners' attempts only. Answered by Evaluation or NotFound.

    evaluation_id may be a prefix of 4 or more digits, or `last`. On `request.evaluation`.
    part counts from 0.
    """

    evaluation_id: str
    part: int = 0


class Evaluation(Message, frozen=True, kw_only=True):
    """A stored evaluation: its facts, each one encoded message, in the order they were told.

    Long ones come in `parts` parts: ask for each in turn.
    """

    evaluation_id: str
    state: str
    facts: list[bytes]
    part: int = 0
    parts: int = 1
    stored_spans: dict[str, int] = {}
    metrics: list[bytes] = []
    user: str = ""
    """Whose it is."""


class NotFound(Message, frozen=True, kw_only=True):
    """There is no such evaluation (or several, when a prefix fits more than one).

    deleted: there was one with just this id, and it was deleted some days ago at most.
    """

    text: str
    nearest: list[str] = []
    deleted: bool = False


class GetTimeline(Message, frozen=True, kw_only=True):
    """One chunk of an assembled timeline. Answered by TimelineChunk or NotFound.

    On `request.timeline`. wait_s: how long the collector may wait for spans still on their way.
    """

    evaluation_id: str
    chunk: int = 0
    wait_s: float = 5.0


class TimelineChunk(Message, frozen=True, kw_only=True):
    """Assembled spans: parents found, on the reference clock, earliest first.

    block: zstd of a MessagePack array of Span rows. origins: for each row of the block, an
    index into `sources` ("<node or role>/<source>/<run>").
    """

    evaluation_id: str
    chunk: int
    chunks: int
    count: int
    total: int
    emitted: dict[str, int] = {}
    stored: dict[str, int] = {}
    dropped: dict[str, dict[str, int]] = {}
    """What was emitted or noticed, and is not here: source -> level -> spans."""
    lost: int = 0
    ambiguous: int = 0
    repaired: int = 0
    """Spans with an impossible value (a negative duration, say) that was mended on reading."""
    complete: bool = True
    missing: str = ""
    reference: str = ""
    error_ns: int = -1
    """How far two machines' spans may be shifted against each other; -1: not measured."""
    sources: list[str] = []
    errors_ns: list[int] = []
    """Of each source: how far its times may be from the reference's; -1: not known."""
    origins: bytes = b""
    """zstd of little-endian int32, one a row."""
    block: bytes = b""


class Delete(Message, frozen=True, kw_only=True):
    """Forget an evaluation and everything stored of it. Answered by Done or NotFound."""

    evaluation_id: str
    user: str = "anonymous"


class GetUsage(Message, frozen=True, kw_only=True):
    """What do my stored evaluations take, and how much may they? Answered by Usage, on
    `request.usage`, by a collector."""

    user: str = "anonymous"


class EvaluationSize(Struct, frozen=True, kw_only=True):
    """What one stored evaluation takes."""

    evaluation_id: str
    bytes: int
    spans: int = 0


class Usage(Message, frozen=True, kw_only=True):
    """What a user's stored evaluations take: facts, predictions, samples and spans as they came.

    Kept in the bucket mlms_usage, by which coordinators refuse who holds too much. As an answer
    also with the limits (0: none) and the largest evaluations.
    """

    user: str
    bytes: int = 0
    spans: int = 0
    most_bytes: int = 0
    most_spans: int = 0
    largest: list[EvaluationSize] = []


# ------------------------------------------------------------------ a model held warm


class Open(Message, frozen=True, kw_only=True):
    """Hold this model open on a fitting node. Answered by Opened or Refused, on `request.open`.

    model is `name` or `name@range`, unless `manifest` holds a whole one. timeout_s: how long the
    node may wait for its turn and fetch the model's files.
    """

    user: str = "anonymous"
    model: str = ""
    manifest: Manifest | None = None
    wanted: Wanted = Wanted()
    settings: dict[str, str | int] = {}
    timeout_s: float = 120.0


class OpenHere(Message, frozen=True, kw_only=True):
    """Open, once a coordinator has resolved the model and chosen the node: to that node.

    Answered by Opened or Refused, on `node.<node>.open`.
    """

    user: str = "anonymous"
    manifest: Manifest
    framework: str
    environment: str = "default"
    settings: dict[str, str | int] = {}
    timeout_s: float = 120.0


class Opened(Message, frozen=True, kw_only=True):
    """The model lies in memory on `node_id`, under `handle`, until it is closed or lies idle.

    settings: the values in effect. cached: whether another handle held the same model already;
    duration_ns: what opening it took in the framework.
    """

    handle: str
    node_id: str
    model: str
    model_version: str
    framework: str
    framework_version: str
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    settings: dict[str, Any] = {}
    cached: bool = False
    duration_ns: int = 0


class Predict(Message, frozen=True, kw_only=True):
    """What does the open model say of these inputs? Straight to its node, as one batch.

    Answered by Predicted or PredictFailed, on `node.<node>.predict`. On one device of a machine one
    thing is measured or predicted at a time, whichever of its nodes does it: after timeout_s of
    waiting for its turn, the answer is kind `busy`.
    """

    handle: str
    inputs: list[Input]
    top_k: int = 5
    timeout_s: float = 30.0


class Predicted(Message, frozen=True, kw_only=True):
    """One prediction an input, in their order.

    duration_ns: the framework's predict call alone; preprocess_ns: from files to tensors;
    waited_ns: until the device was free of measured jobs and of other queries.
    """

    predictions: list[Prediction]
    duration_ns: int
    preprocess_ns: int
    waited_ns: int = 0


class PredictFailed(Message, frozen=True, kw_only=True):
    """No prediction. kind: what is wrong, and so what to do.

    unknown_handle, closed or worker_died: open the model again; busy: ask again later; input,
    request, asset or framework: `text` says what was found and expected.
    """

    kind: str
    text: str


class Close(Message, frozen=True, kw_only=True):
    """Hold this model no longer. Answered by Done, on `node.<node>.close`; twice is harmless."""

    handle: str


# ------------------------------------------------------------------ what a machine can do


class MeasureCeilings(Message, frozen=True, kw_only=True):
    """What can your machine do at most? To one node, on `node.<node>.ceilings`.

    Answered by CeilingsMeasured or Refused (kind `busy`: it measured or predicted for timeout_s).
    What was measured before is told again, unless `again`.
    """

    again: bool = False
    timeout_s: float = 60.0


class CeilingsMeasured(Message, frozen=True, kw_only=True):
    """What the node's machine can do; from now on in its announcement, and so in every record."""

    node_id: str
    ceilings: list[Ceiling]
    measured: bool = True
    """False: told from what was measured before."""


class DescribeImage(Message, frozen=True, kw_only=True):
    """What is in this container image? Answered by ImageDescribed or Refused, on
    `node.<node>.image`, by a node that can run containers.

    The image is fetched if the node has it not; timeout_s: how long that may take.
    """

    image: str
    timeout_s: float = 300.0


class ImageDescribed(Message, frozen=True, kw_only=True):
    """The image as a worker sees it; architecture: what it was made for."""

    node_id: str
    architecture: str = ""
    stack: Stack


class Undecodable(Message, frozen=True, kw_only=True):
    """A request that could not be read: the answer to bytes that are no message of ours."""

    text: str


class Failed(Message, frozen=True, kw_only=True):
    """A request that was understood and could not be done: the database is away, say.

    kind: as in the error tree (store, bus, internal …). Any request may be answered so.
    """

    kind: str
    text: str


MESSAGES: tuple[type[Message], ...] = (
    NodeAnnounced,
    NodeAlive,
    NodeRan,
    DeviceHeld,
    Evaluate,
    Accepted,
    Refused,
    Cancel,
    ListFacts,
    Facts,
    Done,
    Fits,
    Fitting,
    ListNodes,
    Nodes,
    ListQueue,
    DescribeSystem,
    Queue,
    SystemDescribed,
    ListModels,
    Models,
    ListDatasets,
    Datasets,
    Publish,
    Unpublish,
    ReadClock,
    ClockRead,
    JobRecord,
    EvaluationRecord,
    Job,
    JobStarted,
    Progress,
    StackDescribed,
    ModelOpened,
    PredictionsMade,
    RunMeasured,
    GraphDescribed,
    LayersSaid,
    JobFinished,
    JobFailed,
    EvaluationFinished,
    EvaluationFailed,
    SpansRecorded,
    MetricsRecorded,
    ListHistory,
    History,
    GetEvaluation,
    Evaluation,
    NotFound,
    GetTimeline,
    TimelineChunk,
    Delete,
    GetUsage,
    Usage,
    Open,
    OpenHere,
    Opened,
    Predict,
    Predicted,
    PredictFailed,
    Close,
    MeasureCeilings,
    CeilingsMeasured,
    DescribeImage,
    ImageDescribed,
    Undecodable,
    Failed,
)
"""Every message there is: what the codec can read and the documentation lists."""


def asker_of(message: Message) -> str:
    """Who a request says that it is by; empty where it does not say."""
    return "" if isinstance(message, ListHistory) else getattr(message, "user", "")


JOB_FACTS: tuple[type[Fact], ...] = (
    JobStarted,
    Progress,
    StackDescribed,
    ModelOpened,
    PredictionsMade,
    RunMeasured,
    GraphDescribed,
    LayersSaid,
    JobFinished,
    JobFailed,
)
