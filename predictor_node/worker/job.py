"""What the node asks for, checked once where it comes in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .errors import WorkerError, unknown
from .scenario import DATASET, SCENARIOS, Options
from .trace import LEVELS

PREFIX = "profile."
"""A job's settings whose names begin so are for profilers; frameworks do not see them."""
MAX_QUERIES = 10_000_000  # their times are kept in memory until the run has ended: 160 MB


@dataclass(frozen=True, slots=True)
class Item:
    """One input under the name by which people know it: a file, its content, or an array.

    truth: what a dataset says of it, in the words of a message's Truth.
    """

    name: str
    path: str = ""
    data: bytes = b""
    array: Any = None
    truth: Mapping[str, Any] | None = None

    @property
    def source(self) -> str | bytes:
        return self.path or self.data


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run: a batch size at a level. options: the load that was asked for, if one was.

    The scenario `dataset` predicts every item of a dataset once, in order.
    """

    index: int
    batch_size: int = 1
    level: str = "model"
    queries: int = 100
    warmup: int = 5
    scenario: str = "online"
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise unknown("level", self.level, LEVELS)
        if self.scenario not in SCENARIOS:
            raise unknown("scenario", self.scenario, SCENARIOS)
        if self.options is not None:
            Options.of(self.options)
        for name, least, most in (
            ("batch_size", 1, 1 << 20),
            # 0: known when the dataset's files have been looked at, or the load has been run.
            ("queries", 0 if self.options or self.scenario == DATASET else 1, MAX_QUERIES),
            ("warmup", 0, MAX_QUERIES),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                text = f"run {self.index}: {name} is {value!r}; a whole number {least}–{most} is"
                raise WorkerError("request", f"{text} expected")


@dataclass(frozen=True, slots=True)
class Model:
    """The model's files; `key` names their content and everything that changes how they run.

    format, constructor, arguments, weights: see frameworks.Spec.
    """

    name: str
    version: str
    key: str
    files: Mapping[str, str]
    format: str = ""
    constructor: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "trained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model, and how it is fed and read: what an `open` command carries."""

    framework: str
    plugin: str
    model: Model
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    folder: str
    labels: str = ""
    allow_code: bool = False
    code: Mapping[str, Any] = field(default_factory=dict)
    """The manifest's own Python by its fields; run only where allow_code."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Target):
    """Everything that one `run` command carries.

    level: as asked for; empty: the deepest run's. profilers: name -> file. profile_settings: those
    settings that are for them. continued: other runs of it were another worker process's, which
    has said what the model predicts.
    """

    job_id: str
    items: tuple[Item, ...]
    runs: tuple[Run, ...]
    attempt: int = 1
    top_k: int = 5
    full_outputs: bool = False
    dataset: Mapping[str, Any] | None = None
    limit: int = 0
    parent_span: int = 0
    span_base: int = 0
    keep_models: int = 2
    level: str = ""
    profilers: Mapping[str, str] = field(default_factory=dict)
    profile_settings: Mapping[str, Any] = field(default_factory=dict)
    continued: bool = False


def read_job(sent: Mapping[str, Any]) -> Job:
    """The job in a command; names what is missing or not known."""
    with _reading("job"):
        items = tuple(Item(**item) for item in sent["items"])
        runs = tuple(Run(**run) for run in sent["runs"])
        fields = {**sent, **_target_fields(sent), **_split_settings(sent.get("settings") or {})}
        job = Job(**{**fields, "items": items, "runs": runs})
    for name in ("items", "runs"):
        if not (getattr(job, name) or (name == "items" and job.dataset)):
            raise WorkerError("request", f"the job has no {name}; at least one is expected")
    if any((run.scenario == DATASET) != bool(job.dataset) for run in job.runs):
        text = "a job with a dataset has runs of the scenario dataset, and no other has; both or"
        raise WorkerError("request", f"{text} neither are expected")
    check_top_k(job.top_k)
    if job.level and job.level not in LEVELS:
        raise unknown("level", job.level, LEVELS)
    return job


def read_target(sent: Mapping[str, Any]) -> Target:
    """The model in an `open` command; names what is missing or not known."""
    with _reading("model to open"):
        return Target(**{**sent, **_target_fields(sent)})


def read_items(sent: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The inputs in a `predict` command: at least one."""
    with _reading("inputs"):
        items = [Item(**item) for item in sent]
    if not items:
        raise WorkerError("request", "there are no inputs; at least one is expected")
    return items


def check_top_k(top_k: Any) -> int:
    if type(top_k) is not int or top_k < 1:
        raise WorkerError("request", f"top_k is {top_k!r}; a whole number from 1 is expected")
    return top_k


def _target_fields(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": Model(**sent["model"]),
        "inputs": tuple(sent["inputs"]),
        "outputs": tuple(sent["outputs"]),
    }


def _split_settings(sent: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The framework's settings, and the profilers' without their prefix."""
    mine = {k.removeprefix(PREFIX): v for k, v in sent.items() if k.startswith(PREFIX)}
    rest = {name: value for name, value in sent.items() if not name.startswith(PREFIX)}
    return {"settings": rest, "profile_settings": mine}


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise WorkerError("request", f"the {what} has no field {error}") from error
    except TypeError as error:
        raise WorkerError("request", f"the {what} cannot be read: {error}") from error
