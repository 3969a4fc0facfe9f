"""May this request run, and where: a plan, or a refusal with everything that stands against it.

Pure: the catalog, the registry and the load are given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from bus.caller_trace import ADDRESS, TRACEPARENT, read_traceparent, traces_url
from bus.errors import InputError, MLModelScopeError, UnknownNameError, nearest
from bus.messages import (
    DatasetManifest,
    Evaluate,
    Fits,
    Input,
    Job,
    Manifest,
    Misfit,
    Open,
    Refused,
    Wanted,
)
from coordinator.constraints import Fitting, explain, misfits, survey
from coordinator.jobs import plan_runs
from coordinator.load_faults import load_faults
from coordinator.needs import read_needs
from coordinator.placement import Choice, choose_several
from coordinator.ran import Outlooks
from coordinator.registry import Registry
from coordinator.turns import PRIORITIES
from coordinator.words import same_framework
from manifests.catalog import Catalog, NotRunnableError, UnmetVersionError, check, not_runnable
from manifests.datasets import Datasets, check_dataset
from manifests.version import parse_reference

_ID = re.compile(r"[0-9a-f]{32}")
MOST_BATCH_SIZES = 64
MOST_JOBS = 1000
"""Of one evaluation that runs on every node."""
Asked = Evaluate | Fits | Open


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, where, and on what."""

    manifest: Manifest
    choices: list[Choice]
    inputs: list[Input]
    dataset: DatasetManifest | None = None
    objects: dict[str, int] = field(default_factory=dict)
    """What of its inputs lies in the bus's object store, and its bytes."""

    @property
    def choice(self) -> Choice:
        """The first choice, of one or several."""
        return self.choices[0]

    def each(self) -> list[Plan]:
        """A plan for every choice."""
        return [replace(self, choices=[choice]) for choice in self.choices]


def admit(
    request: Evaluate,
    catalog: Catalog,
    registry: Registry,
    outlooks: Outlooks,
    datasets: Datasets | None = None,
) -> Plan | Refused:
    """The plan for a request, or why there is none."""
    if problem := faults(request):
        return _refused(request, "bad_request", problem)
    dataset = dataset_of(request, datasets or Datasets())
    if isinstance(dataset, Refused):
        return dataset
    found = settle(request, catalog, registry, outlooks)
    if isinstance(found, Refused):
        return found
    manifest, choices = found
    if dataset is not None:
        return Plan(manifest, choices, [], dataset)
    if inputs := request.inputs or _samples(manifest):
        return Plan(manifest, choices, inputs)
    return _refused(request, "bad_request", _no_inputs(manifest))


def settle(
    request: Evaluate | Open,
    catalog: Catalog,
    registry: Registry,
    outlooks: Outlooks,
    excluded: Collection[str] = (),
) -> tuple[Manifest, list[Choice]] | Refused:
    """Which model is meant, and which nodes will have it, or everything that stands against it."""
    if problem := faults_of_wanted(request.wanted):
        return _refused(request, "bad_request", problem)
    spread = request.spread if isinstance(request, Evaluate) else 1
    found = candidates(request, catalog)
    if isinstance(found, Refused):
        return found
    if not len(registry):
        return no_nodes(request)
    surveys: list[Fitting] = []
    most = 0
    for manifest in found:
        surveyed = survey(manifest, request.wanted, registry.kinds())
        outlook = outlooks.of(manifest, request)
        choices = choose_several(surveyed, spread, outlook, excluded)
        if len(choices) > MOST_JOBS:
            return _refused(request, "bad_request", _too_many(len(choices)))
        if choices and len(choices) >= spread:
            return manifest, choices
        surveys += surveyed
        most = max(most, len(choices))
    return _nothing_fits(request, found[0], misfits(surveys), (registry, most))


def _too_many(count: int) -> str:
    return f"spread: expected at most {MOST_JOBS} nodes for one evaluation ({count} fit)"


def faults(request: Evaluate) -> str:
    """What is wrong with a request, all of it, or nothing."""
    found = []
    if not _ID.fullmatch(request.evaluation_id):
        found.append(f"evaluation_id: expected 32 hex digits (got {request.evaluation_id[:40]!r})")
    if not 1 <= len(request.batch_sizes) <= MOST_BATCH_SIZES:
        count = len(request.batch_sizes)
        found.append(f"batch_sizes: expected 1 to {MOST_BATCH_SIZES} of them (got {count})")
    found += [
        f"batch_sizes: expected whole numbers from 1 (got {size})"
        for size in request.batch_sizes[:MOST_BATCH_SIZES]
        if size < 1
    ]
    if request.dataset or request.dataset_manifest is not None:
        if request.inputs:
            found.append("inputs: expected none beside a dataset")
        if len(request.batch_sizes) > 1:
            found.append(f"batch_sizes: expected one with a dataset (got {request.batch_sizes})")
    for name, least in (
        ("queries", 1),
        ("warmup", 0),
        ("max_attempts", 1),
        ("top_k", 0),
        ("limit", 0),
        ("spread", 0),
    ):
        value = getattr(request, name)
        if value < least:
            found.append(f"{name}: expected at least {least} (got {value})")
    found += [problem] if (problem := faults_of_wanted(request.wanted)) else []
    if request.priority not in PRIORITIES:
        found.append(f"priority: expected -10 to 10 (got {request.priority})")
    if not (math.isfinite(request.timeout_s) and request.timeout_s > 0):
        found.append(f"timeout_s: expected seconds above 0 (got {request.timeout_s})")
    if request.traceparent and read_traceparent(request.traceparent) is None:
        found.append(f"traceparent: expected {TRACEPARENT} (got {request.traceparent[:80]!r})")
    if request.otlp_endpoint and not traces_url(request.otlp_endpoint):
        # What may hold a password is not said again.
        shown = (
            "one with an @" if "@" in request.otlp_endpoint else repr(request.otlp_endpoint[:80])
        )
        found.append(f"otlp_endpoint: expected {ADDRESS} (got {shown})")
    found += load_faults(request)
    return "; ".join(found)


def faults_of_wanted(wanted: Wanted) -> str:
    """What is wrong with the constraints that are text, or nothing."""
    try:
        read_needs(wanted.requires)
    except MLModelScopeError as exc:
        return f"requires: {str(exc).removeprefix('requires: ')}"
    return ""


def dataset_of(request: Evaluate, datasets: Datasets) -> DatasetManifest | Refused | None:
    """The dataset that a request means, if it means one."""
    try:
        if request.dataset_manifest is not None:
            return check_dataset(request.dataset_manifest, "the dataset in the request")
        return datasets.resolve(request.dataset, request.user) if request.dataset else None
    except UnknownNameError as exc:
        close = list(exc.nearest)
        return _refused(request, "unknown_dataset", str(exc), nearest=close)
    except MLModelScopeError as exc:
        return _refused(request, _KINDS.get(type(exc), "bad_request"), str(exc))


def candidates(request: Asked, catalog: Catalog) -> list[Manifest] | Refused:
    """The manifests that a request may mean: one version, in each framework that has it."""
    try:
        asked = parse_reference(request.wanted.framework)[0] if request.wanted.framework else ""
        if request.manifest is not None:
            return [_runnable(check(request.manifest, "the manifest in the request"))]
        if not request.model:
            raise InputError("expected a model's name, or a manifest")
        narrow = (lambda name: same_framework(name, asked)) if asked else None
        return catalog.candidates(request.model, narrow, request.user)
    except MLModelScopeError as exc:
        close = list(exc.nearest) if isinstance(exc, UnknownNameError) else []
        return _refused(request, _KINDS.get(type(exc), "bad_request"), str(exc), nearest=close)


_KINDS: dict[type[Exception], str] = {
    UnknownNameError: "unknown_model",
    UnmetVersionError: "unmet_version",
    NotRunnableError: "not_runnable",
}


def _runnable(manifest: Manifest) -> Manifest:
    if why := not_runnable(manifest):
        raise NotRunnableError(f"{manifest.name} {manifest.version}: {why}")
    return manifest


def no_nodes(request: Asked) -> Refused:
    """Nobody is there to run anything."""
    text = "no predictor node is alive on this bus: start one, and ask again"
    return _refused(request, "no_nodes", text)


def _nothing_fits(
    request: Evaluate | Open,
    manifest: Manifest,
    groups: list[Misfit],
    there_is: tuple[Registry, int],
) -> Refused:
    registry, fitting = there_is
    if fitting and isinstance(request, Evaluate):
        fit = f"{request.spread} nodes are wanted and {fitting} fit{'s' if fitting == 1 else ''}"
        others = f": {explain(groups)}" if groups else "; there are no others"
        text = f"{fit} {manifest.name} {manifest.version}{others}"
        return _refused(request, "nothing_fits", text, groups=groups)
    name, there = manifest.framework.name, registry.frameworks()
    wanted = parse_reference(request.wanted.framework)[0] if request.wanted.framework else name
    unknown = next((n for n in (wanted, name) if not any(same_framework(n, t) for t in there)), "")
    text = f"no node fits {manifest.name} {manifest.version}: {explain(groups)}"
    close = nearest(unknown, there) if unknown else []
    if unknown:
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is: {', '.join(there)}"
        text = f"no node has the framework {unknown} ({hint}); {text}"
    return _refused(request, "nothing_fits", text, nearest=close, groups=groups)


def _samples(manifest: Manifest) -> list[Input]:
    """What a model brings to be tried on, each under its file's name."""
    return [
        Input(
            name=urlsplit(sample.url).path.rsplit("/", 1)[-1] or sample.url,
            url=sample.url,
            checksum=sample.checksum,
        )
        for sample in manifest.samples
    ]


def _no_inputs(manifest: Manifest) -> str:
    return f"inputs: expected at least one, for {manifest.name} brings no samples of its own"


def _refused(
    request: Asked,
    kind: str,
    text: str,
    *,
    nearest: list[str] | None = None,
    groups: list[Misfit] | None = None,
) -> Refused:
    return Refused(
        evaluation_id=getattr(request, "evaluation_id", ""),
        kind=kind,
        text=text,
        nearest=nearest or [],
        misfits=groups or [],
    )


def settings_of(request: Evaluate | Open) -> dict[str, str | int]:
    """The settings that were asked for, the device among them: it chose the node, and it runs."""
    device = {"device": request.wanted.device} if request.wanted.device else {}
    return {**device, **request.settings}


def make_job(request: Evaluate, plan: Plan, number: int, now_ns: int) -> Job:
    """The job of a plan's first choice; its id follows from the evaluation's and its number, so it
    can be made twice."""
    choice = plan.choice
    framework = choice.framework
    return Job(
        job_id=f"{request.evaluation_id}-{number}",
        evaluation_id=request.evaluation_id,
        user=request.user,
        node_id=choice.node_id,
        manifest=plan.manifest,
        framework=framework.name,
        framework_version=framework.version,
        environment=framework.environment,
        inputs=plan.inputs,
        dataset=plan.dataset,
        limit=request.limit,
        full_outputs=request.full_outputs,
        runs=plan_runs(request, framework.levels),
        level=request.level,
        seed=request.seed,
        settings=settings_of(request),
        top_k=request.top_k,
        timeout_s=request.timeout_s,
        submitted_ns=now_ns,
        parent_span=request.parent_span,
        traceparent=request.traceparent,
    )
