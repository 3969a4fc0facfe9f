"""How an evaluation was measured, as parts of a page: machine, software, settings, what is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from analysis.summary import Result
from bus.messages import Conditions, JobStarted, Message, TimelineChunk
from collector.timeline import Timeline
from mlmodelscope import completeness
from mlmodelscope.imported import devices, recording_lines
from mlmodelscope.page import Code, Part, Rows, Words
from mlmodelscope.tables import Column, gib

FACTS = [Column("what"), Column("value")]
SIDES = [Column("setting"), Column("requested"), Column("effective")]
RUNS = [
    Column("run", "index", right=True),
    Column("batch", "batch_size", lambda size: str(size or "unknown"), right=True),
    Column("level"),
    Column("load", "scenario"),
    Column("queries", right=True),
    Column("warm-up", "warmup", right=True),
]


def environment_of(facts: Sequence[Message], result: Result) -> Iterator[Part]:
    """The machine, what it was doing, and the software."""
    rows = [{"what": what, "value": value} for what, value in _machine(result) if value]
    started = next((fact for fact in facts if isinstance(fact, JobStarted)), None)
    conditions = started.conditions if started is not None else None
    if conditions is not None:
        rows += [{"what": what, "value": value} for what, value in _conditions(conditions)]
    yield Rows(rows, FACTS, "Machine")
    for line in recording_lines(result.recording) if result.recording is not None else ():
        yield Words(Text.from_markup(line).plain, "note")
    if conditions is None:
        yield Words("n/a: what the machine was doing: its node told nothing of it", "note")
    else:
        for what, why in conditions.unavailable.items():
            yield Words(f"n/a: {what}: {why}", "note")
    stack = result.stack
    if stack is None:
        yield Words("n/a: software: the record has none of what it ran in", "note")
        return
    told = [("Python", stack.python), ("system", stack.system), ("image", stack.image)]
    told += [("image digest", stack.digest)]
    told += [(name, value) for name, value in sorted(stack.variables.items())]
    software = [{"what": what, "value": value} for what, value in told if value]
    yield Rows(software, FACTS, "Software")
    for what, found in (("Python", stack.packages), ("system", stack.system_packages)):
        if found:
            lines = [f"{name} {version}" for name, version in sorted(found.items())]
            yield Code("\n".join(lines), f"its {len(lines)} {what} packages")
    if stack.libraries:
        lines = [f"{name} {version}".strip() for name, version in sorted(stack.libraries.items())]
        yield Code("\n".join(lines), f"the {len(lines)} shared libraries in memory")


def _machine(result: Result) -> Iterator[tuple[str, str]]:
    yield "node", result.node_id
    yield "framework", f"{result.framework} {result.framework_version}"
    yield "environment", result.environment
    if (node := result.node) is None:
        return
    yield "host", node.host
    yield "processor", f"{node.cpu} ({node.arch})" if node.cpu else node.arch
    yield "cores", str(node.cores or "")
    yield "memory", gib(node.memory_bytes) if node.memory_bytes else ""
    yield "devices", devices(node)
    yield "processor features", ", ".join(node.cpu_features)
    yield "operating system", f"{node.system} {node.distribution}".strip()
    yield "kernel", node.kernel
    yield "mlmodelscope", node.version
    for label, value in node.labels.items():
        yield f"label {label}", value


def _conditions(told: Conditions) -> Iterator[tuple[str, str]]:
    """What the machine was doing when the job began."""
    for name, what, unit in (
        ("governor", "frequency governor", ""),
        ("turbo", "turbo", ""),
        ("load_1m", "load (1 min)", ""),
        ("frequency_mhz", "frequency", " MHz"),
        ("temperature_c", "temperature", " °C"),
        ("throttled", "times slowed for heat", ""),
    ):
        value = getattr(told, name)
        if value not in ("", -1, -1.0):
            yield what, value if isinstance(value, str) else f"{value:g}{unit}"


def settings_of(facts: Sequence[Message], result: Result) -> Iterator[Part]:
    """What was asked beside what was in effect, and the runs."""
    names = dict.fromkeys([*result.requested, *result.effective])
    rows = [
        {
            "setting": name,
            "requested": _text(result.requested.get(name, "")),
            "effective": _text(result.effective.get(name, "")),
        }
        for name in names
    ]
    if rows:
        yield Rows(rows, SIDES)
        yield Words("an empty cell: not asked for, or in effect under another name", "note")
    started = next((fact for fact in facts if isinstance(fact, JobStarted)), None)
    if started is not None and started.runs:
        made = [
            {name: getattr(run, name) for name in run.__struct_fields__} for run in started.runs
        ]
        yield Rows(made, RUNS, "Runs, as they were asked for")
    for row in result.scenarios:
        loads = [
            {
                "setting": name,
                "requested": _text(value),
                "effective": _text(row.effective.get(name)),
            }
            for name, value in row.requested.items()
            if value or row.effective.get(name)
        ]
        yield Rows(loads, SIDES, f"Load of run {row.run}: {row.scenario}")


def _text(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def completeness_of(result: Result, timeline: Timeline | TimelineChunk) -> Iterator[Part]:
    """What was emitted, what is here, what is not, and what could not be measured."""
    rows = [
        {"level": level, "emitted": count, "stored": timeline.stored.get(level, 0)}
        for level, count in (timeline.emitted or result.spans).items()
    ]
    if rows:
        count = [
            Column(name, show=lambda n: f"{n:,}", right=True) for name in ("emitted", "stored")
        ]
        yield Rows(rows, [Column("level"), *count], "Spans")
    yield Words(f"facts: {'complete' if result.complete else '; '.join(result.missing)}")
    yield Words(f"timeline: {'; '.join(completeness.words(timeline))}; lost: {timeline.lost}")
    if result.unavailable:
        lines = [{"what": what, "value": why} for what, why in result.unavailable.items()]
        yield Rows(lines, [Column("could not be measured", "what"), Column("why", "value")])
