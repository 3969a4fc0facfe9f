"""What programs send to the REST interface and get from it, beyond the messages of the bus."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from analysis import formats
from analysis.trends import Trend
from bus.messages import Level, Manifest, NodeSeen, Preference, Scenario

EvaluationId = r"^([0-9a-f]{4,32}|last)$"
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PLAIN = r"^[^\x00-\x1f\x7f]*$"
"""No control characters: no name has them, and MongoDB refuses some."""
Name = Annotated[str, Meta(pattern=PLAIN, max_length=300)]
Address = Annotated[str, Meta(pattern=r"^(https?|package)://\S+$", max_length=2000)]
MaxSize = Annotated[
    str, Meta(pattern=r"^(\d{1,15}(\.\d{1,15})? ?([kmgtKMGT]i?)?[bB]?)?$", max_length=40)
]
Format = Annotated[str, Meta(pattern=f"^({'|'.join(formats.BY_NAME)})$")]
Size = Annotated[int, Meta(ge=1, le=65536)]
Sizes = Annotated[list[Size], Meta(min_length=1, max_length=32)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class InputGiven(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to predict: something uploaded, or an address. One of the two is given."""

    upload: Sha256 | None = None
    url: Address | None = None


class NewEvaluation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An evaluation to be run, as `mlmodelscope evaluate` takes it (docs/commands.md).

    model is `name` or `name@range`, unless `manifest` holds a whole one. No inputs: the samples
    that come with the model. dataset in place of inputs: how right it is. requires: constraints
    on the node (docs/fleet.md); scenario: the load, in place of `runs` queries (docs/scenarios.md).
    """

    model: Name = ""
    manifest: Manifest | None = None
    inputs: Annotated[list[InputGiven], Meta(max_length=1000)] = []
    dataset: Name = ""
    limit: Count = 0
    framework: Name = ""
    device: Name = "cpu"
    node: Name = ""
    environment: Name = ""
    batch_sizes: Sizes = field(default_factory=lambda: [1])
    runs: Annotated[int, Meta(ge=1, le=10_000_000)] = 100
    warmup: Count = 5
    trace: Level = "model"
    leveled: bool = True
    seed: Count = 0
    threads: Annotated[int, Meta(ge=0, le=4096)] = 0
    settings: dict[str, str | int] = {}
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    top_k: Annotated[int, Meta(ge=1, le=1000)] = 5
    requires: Annotated[list[Name], Meta(max_length=32)] = []
    prefer: Preference = ""
    scenario: Scenario | None = None


class ModelQuery(Struct, frozen=True, kw_only=True):
    """Which models: `model` is a name or `name@range`; the rest narrows the list."""

    model: Name = ""
    task: Name = ""
    framework: Name = ""
    search: Name = ""
    max_size: MaxSize = ""
    weights: Name = ""
    hidden: bool = False


class TrendQuery(Struct, frozen=True, kw_only=True):
    """Which of a model's evaluations. since_ns: none asked for earlier; before_ns: nor later."""

    framework: Name = ""
    node: Name = ""
    since_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    before_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class Trends(Struct, frozen=True, kw_only=True):
    """A series a framework, node, data and batch size; older: there are older evaluations yet."""

    trends: list[Trend]
    older: bool = False


class DatasetQuery(Struct, frozen=True, kw_only=True):
    """Which datasets: a name or `name@range`; empty: all."""

    dataset: Name = ""


class FitsQuery(Struct, frozen=True, kw_only=True):
    """What a node must have."""

    framework: Name = ""
    device: Name = "cpu"
    node: Name = ""
    environment: Name = ""


class WithdrawQuery(Struct, frozen=True, kw_only=True):
    """framework: which manifest of the version, where several frameworks have one."""

    framework: Name = ""


class QueueQuery(Struct, frozen=True, kw_only=True):
    """Of one evaluation (its whole id), of one's own, or of all."""

    evaluation: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?$")] = ""
    mine: bool = False


class HistoryQuery(Struct, frozen=True, kw_only=True):
    """Which evaluations, newest first. before_ns: `next_before_ns` of the page before; dataset: on
    this labelled data, `*` on any; since_ns: none asked for earlier."""

    model: Name = ""
    framework: Name = ""
    node: Name = ""
    user: Name = ""
    state: Name = ""
    dataset: Name = ""
    since_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    before_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which part of a long list."""

    first: Count = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class TimelineQuery(Struct, frozen=True, kw_only=True):
    """format: as `mlmodelscope timeline --format` has it."""

    format: Format = "chrome"


class UploadQuery(Struct, frozen=True, kw_only=True):
    """name: of the file, for people."""

    name: Name = "input"


class Datasets(Struct, kw_only=True):
    """Every dataset that is known; each is a DatasetManifest."""

    datasets: list[Any]


class Fleet(Struct, kw_only=True):
    """The nodes that are alive."""

    nodes: list[NodeSeen]


class Begun(Struct, kw_only=True):
    """An evaluation that was accepted, and where it is told of."""

    evaluation_id: str
    model: str
    model_version: str
    nodes: list[str]
    url: str
    facts_url: str
    page_url: str


class SpanRow(Struct, kw_only=True):
    """One span. Ids are hexadecimal: JavaScript's numbers do not hold 64 bits."""

    span_id: str
    parent_id: str
    level: str
    name: str
    start_ns: str
    duration_ns: int
    thread: int
    source: str
    tags: dict[str, Any]


class SpanChunk(Struct, kw_only=True):
    """One chunk of an assembled timeline: earliest first, of `total` spans in `chunks` chunks."""

    chunk: int
    chunks: int
    total: int
    spans: list[SpanRow]
