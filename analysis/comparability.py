"""May two evaluations be held against each other? Every setting and circumstance that differs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bus.errors import UnknownNameError
from bus.messages import (
    Conditions,
    JobFinished,
    JobStarted,
    Message,
    ModelOpened,
    NodeAnnounced,
    RunMeasured,
)

ASPECTS = ("model", "framework", "system", "settings", "dataset", "scenario", "conditions")
"""What a difference can be about; `--across` names the one that was meant to differ."""
ALIASES = {
    "node": "system",
    "machine": "system",
    "threads": "intra_op_threads",
    "version": "framework",
    "time": "conditions",
}
OTHERS_LOAD = 1.0
"""Runnable processes a core by which two load averages may differ."""
STALLED_PERCENT = 10.0
"""Of the time in which some process waited for a core: by so much two runs may differ."""
WARMER_C = 15.0
NOT_TOLD = "not told"
CLOSED = ("", "online", "offline", "dataset", "cold_start")
"""Scenarios of which nothing but the name and the batch size decides what a query takes."""
LOAD = ("target_qps", "calls_per_query", "issue_threads", "burst_size")
"""What of the load in effect decides it in the others."""
STRICT = ("intra_op_threads", "precision", "device", "serialized", "decoder")
"""Settings that two frameworks must share to be compared as frameworks."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is true of an evaluation: what it is about, its name, its value as text."""

    aspect: str
    name: str
    value: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A thing in which two evaluations differ. asked: it was meant to, or follows from that."""

    aspect: str
    name: str
    a: str
    b: str
    asked: bool = False


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What differs, and whether a headline may be drawn from the comparison.

    across: the aspect (or setting) that was asked about; inferred: it was not said, and is the only
    one that differs. unknown: what neither of them tells, or one does not.
    """

    across: str
    inferred: bool
    comparable: bool
    differences: list[Difference]
    unknown: list[str]
    text: str


def gate(facts_a: Sequence[Message], facts_b: Sequence[Message], across: str = "") -> Gate:
    """Compare all that is told of two evaluations; raises UnknownNameError for a wrong `across`."""
    one, two = _circumstances(facts_a), _circumstances(facts_b)
    found = [*_differences(one, two), *load_differences(facts_a, facts_b)]
    meant = _meant(across, {*one, *two})
    aspects = {difference.aspect for difference in found}
    chosen = aspects - {"conditions"} or aspects  # nobody asks about how busy a machine was
    inferred = not meant and len(chosen) == 1
    meant = meant or (chosen.pop() if inferred else "")
    found = [
        msgspec.structs.replace(each, asked=meant in (each.aspect, each.name)) for each in found
    ]
    unasked = [each for each in found if not each.asked]
    return Gate(
        across=meant,
        inferred=inferred,
        comparable=not unasked,
        differences=sorted(found, key=lambda each: (each.asked, ASPECTS.index(each.aspect))),
        unknown=sorted({*_untold(facts_a), *_untold(facts_b)}),
        text=_in_words(unasked, meant, inferred),
    )


def _meant(across: str, names: set[str]) -> str:
    name = ALIASES.get(across, across)
    if name and name not in ASPECTS and name not in names:
        raise UnknownNameError("--across", across, [*ASPECTS, *sorted(names)])
    return name


def _in_words(unasked: Sequence[Difference], meant: str, inferred: bool) -> str:
    if unasked:
        names = ", ".join(each.name for each in unasked)
        besides = f" besides the {meant}" if meant else ""
        return f"not comparable: these differ{besides}: {names}"
    if inferred:
        return f"comparable: only the {meant} differs"
    return (
        f"comparable: nothing differs but the {meant}" if meant else "comparable: nothing differs"
    )


# ---------------------------------------------------------------- what is told


def facts_of_setting(facts: Sequence[Message]) -> list[Fact]:
    """Everything that is told of how, where and on what an evaluation ran; of its first job."""
    return list(_circumstances(facts).values())


def _circumstances(facts: Sequence[Message]) -> dict[str, Fact]:
    started = next((f for f in facts if isinstance(f, JobStarted)), None)
    if started is None:
        return {}
    told = [*_of_job(started), *_of_opened(started, facts), *_of_runs(started, facts)]
    if started.node is not None:
        told += _of_node(started.node)
    told += _of_conditions(started.conditions)
    return {fact.name: fact for fact in told if fact.value}


def _of_job(started: JobStarted) -> Iterator[Fact]:
    for name in ("model", "model_version", "model_digest", "weights"):
        yield Fact(aspect="model", name=name, value=str(getattr(started, name)))
    for name in ("framework", "environment"):
        yield Fact(aspect="framework", name=name, value=getattr(started, name))
    for name in ("dataset", "dataset_version", "dataset_digest"):
        yield Fact(aspect="dataset", name=name, value=getattr(started, name))
    yield Fact(aspect="system", name="node", value=started.node_id)
    warmups = sorted({str(run.warmup) for run in started.runs})
    yield Fact(aspect="scenario", name="warmup", value=", ".join(warmups))


def _of_opened(started: JobStarted, facts: Sequence[Message]) -> Iterator[Fact]:
    opened = next((f for f in facts if isinstance(f, ModelOpened)), None)
    version = opened.framework_version if opened is not None else started.framework_version
    yield Fact(aspect="framework", name="framework_version", value=version)
    for name, value in (opened.settings if opened is not None else {}).items():
        yield Fact(aspect="settings", name=name, value=_text(value))


def _of_runs(started: JobStarted, facts: Sequence[Message]) -> Iterator[Fact]:
    runs = [f for f in facts if isinstance(f, RunMeasured) and f.job_id == started.job_id]
    yield Fact(
        aspect="scenario", name="scenario", value=", ".join(sorted({r.scenario for r in runs}))
    )
    loads = [run.effective for run in runs if run.scenario not in CLOSED and run.effective]
    for name in LOAD:
        values = sorted({_text(load[name]) for load in loads if name in load})
        if values:
            yield Fact(aspect="scenario", name=name, value=", ".join(values))
    offsets = [run.options.replay_ns for run in started.runs if run.options is not None]
    if any(offsets):
        digest = hashlib.sha256(repr([*map(list, offsets)]).encode()).hexdigest()[:12]
        text = f"{max(map(len, offsets)):,} offsets, sha256 {digest}…"
        yield Fact(aspect="scenario", name="replay", value=text)


def _of_node(node: NodeAnnounced) -> Iterator[Fact]:
    for name in ("cpu", "cores", "arch", "memory_bytes", "machine_id", "interconnect"):
        yield Fact(aspect="system", name=name, value=_text(getattr(node, name)))
    gpus = [f"{device.count} × {device.name}" for device in node.devices if device.kind != "cpu"]
    yield Fact(aspect="system", name="accelerators", value=", ".join(gpus))
    yield Fact(aspect="conditions", name="mlmodelscope", value=node.version)


def _of_conditions(told: Conditions | None) -> Iterator[Fact]:
    for name in ("governor", "turbo", "kernel", "python") if told is not None else ():
        yield Fact(aspect="conditions", name=name, value=getattr(told, name))


def _untold(facts: Sequence[Message]) -> Iterator[str]:
    started = next((f for f in facts if isinstance(f, JobStarted)), None)
    if started is None or started.conditions is None:
        yield "conditions: the node told none"
    else:
        for what, why in started.conditions.unavailable.items():
            yield f"{what}: {why}"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value in ("", None) else str(value)


# ---------------------------------------------------------------- what differs


def _differences(one: dict[str, Fact], two: dict[str, Fact]) -> Iterator[Difference]:
    frameworks = _differ(one, two, "framework")
    machines = _differ(one, two, "node")
    named_alike = not _differ(one, two, "model") and not _differ(one, two, "model_version")
    for name in dict.fromkeys([*one, *two]):
        a, b = one.get(name), two.get(name)
        if a is not None and b is not None and a.value == b.value:
            continue
        aspect = (a or b).aspect  # type: ignore[union-attr]
        if frameworks and aspect == "settings" and name not in STRICT:
            aspect = "framework"  # its own setting, or its own default
        if frameworks and name == "model_digest" and named_alike:
            aspect = "framework"  # each framework has its own manifest of a model
        if machines and name in ("governor", "turbo", "kernel", "python"):
            aspect = "system"
        yield Difference(
            aspect=aspect,
            name=name,
            a=a.value if a is not None else NOT_TOLD,
            b=b.value if b is not None else NOT_TOLD,
        )


def _differ(one: dict[str, Fact], two: dict[str, Fact], name: str) -> bool:
    a, b = one.get(name), two.get(name)
    return a is not None and b is not None and a.value != b.value


def load_differences(facts_a: Sequence[Message], facts_b: Sequence[Message]) -> list[Difference]:
    """How busy, how hot and how often slowed for heat the two machines were: where it matters."""
    found = []
    for name, most, unit in (
        ("cores waited for", STALLED_PERCENT, " % of the time"),
        ("load per core", OTHERS_LOAD, ""),
        ("temperature", WARMER_C, " °C"),
        ("throttled", 0.0, " times"),
    ):
        a, b = _measured(facts_a).get(name), _measured(facts_b).get(name)
        if a is not None and b is not None and abs(a - b) > most:
            texts = (f"{a:.1f}{unit}", f"{b:.1f}{unit}")
            found.append(Difference(aspect="conditions", name=name, a=texts[0], b=texts[1]))
    return found


def _measured(facts: Sequence[Message]) -> dict[str, float]:
    started = next((f for f in facts if isinstance(f, JobStarted)), None)
    ended = next((f for f in facts if isinstance(f, JobFinished)), None)
    if started is None or started.conditions is None:
        return {}
    before, found = started.conditions, {}
    cores = started.node.cores if started.node is not None else 0
    after = ended.conditions if ended is not None else None
    lasted_us = (ended.at_ns - started.at_ns) / 1e3 if ended is not None else 0.0
    if before.temperature_c >= 0:
        found["temperature"] = before.temperature_c
    if after is not None and before.throttled >= 0 and after.throttled >= 0:
        found["throttled"] = float(after.throttled - before.throttled)
    if after is not None and before.stalled_us >= 0 and after.stalled_us >= 0 and lasted_us > 0:
        found["cores waited for"] = 100 * (after.stalled_us - before.stalled_us) / lasted_us
    elif before.load_1m >= 0 and cores:
        found["load per core"] = before.load_1m / cores
    return found
