"""PyTorch's profiles (Kineto): operators, Python functions, launches, kernels and counters.

Kinds of spans, by Kineto's category, older names included:

    application  user_annotation, gpu_user_annotation, python_function, and what is not known
    model        the calls: ProfilerStep#n, else the outermost nn.Module, else what is asked for
    framework    cpu_op; operators nest, the outermost ones of a call are its layers
    library      cuda_runtime, cuda_driver and their kin on other devices (launches, on the host's
                 thread), kernel, gpu_memcpy, gpu_memset, cuda_sync (on a device's queue, joined
                 to their launch by correlation id)
    hardware     cuda_profiler_range: the counters of one kernel
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bus.messages import Device, Window
from mlmodelscope.importing import counters, layers, nesting
from mlmodelscope.importing.events import NOTHING, Event, Trace, arguments
from mlmodelscope.importing.phases import METADATA, METRIC, SPAN, Phases
from mlmodelscope.importing.profile import (
    APPLICATION,
    FRAMEWORK,
    HARDWARE,
    LIBRARY,
    MODEL,
    NOBODY,
    Options,
    Profile,
    Spans,
)

OLD_NAMES = {
    "Operator": "cpu_op",
    "User Annotation": "user_annotation",
    "Runtime": "cuda_runtime",
    "Kernel": "kernel",
    "Memcpy": "gpu_memcpy",
    "Memset": "gpu_memset",
}
CALLS_OF_A_LIBRARY = (
    "cuda_runtime",
    "cuda_driver",
    "hip_runtime",
    "xpu_runtime",
    "xpu_driver",
    "mtia_runtime",
    "glow_runtime",
    "privateuse1_runtime",
    "privateuse1_driver",
    "overhead",
)
RUNTIMES = tuple(name for name in CALLS_OF_A_LIBRARY if name != "overhead")
ALL, NOT_ASKED = "all", "a call of the runtime that was not asked for (--cuda-runtime)"
WORK_OF_A_DEVICE = (
    "kernel",
    "gpu_memcpy",
    "gpu_memset",
    "cuda_sync",
    "cuda_event",
    "mtia_ccp_events",
    "collective_comm",
)
ANNOTATIONS = ("user_annotation", "python_function")
OPERATOR, ON_DEVICE, RANGE = "cpu_op", "gpu_user_annotation", "cuda_profiler_range"
LEVEL_OF = {
    **dict.fromkeys((*ANNOTATIONS, ON_DEVICE), APPLICATION),
    OPERATOR: FRAMEWORK,
    **dict.fromkeys((*CALLS_OF_A_LIBRARY, *WORK_OF_A_DEVICE), LIBRARY),
    RANGE: HARDWARE,
}
STEP, MODULE = "ProfilerStep#", "nn.Module: "
MEMORY = "[memory]"
DEVICE_TYPES = {0: "cpu", 1: "cuda", 6: "hip", 12: "xpu", 13: "mps"}
MEMORY_FIELDS = {
    "Total Allocated": "memory allocated",
    "Total Reserved": "memory reserved",
    "Bytes": "memory taken (+) or given back (-)",
}
MARKS = ("schemaVersion", "deviceProperties", "baseTimeNanoseconds")


class Args(msgspec.Struct, gc=False):
    """The arguments that join spans to one another."""

    correlation: Any = 0
    external: Any = msgspec.field(default=None, name="External id")
    python: Any = msgspec.field(default=None, name="Python id")
    python_parent: Any = msgspec.field(default=None, name="Python parent id")


_args = msgspec.json.Decoder(Args)


def is_kineto(trace: Trace) -> bool:
    """Whether a trace is Kineto's: by what stands at its top, or by its events' categories."""
    if trace.alone:
        return False
    if any(key in trace.about for key in MARKS):
        return True
    return any(event.cat in (OPERATOR, "kernel", "Operator") for event in trace.events[:5_000])


def read(trace: Trace, options: Options) -> Profile:
    """A Kineto trace as a profile."""
    base_ns = trace.about.pop("baseTimeNanoseconds", None)
    if isinstance(base_ns, int):
        clock = f"the epoch: microseconds since baseTimeNanoseconds, {base_ns}"
    else:
        base_ns, clock = 0, "the epoch, in microseconds"
    profile = Profile("PyTorch profiler (Kineto)", "pytorch", clock)
    profile.about = trace.about
    profile.devices = _devices(trace.about.get("deviceProperties"))
    reader = _Reader(profile)
    if options.cuda_runtime != ALL:
        trace.events = list(_wanted(trace.events, options.cuda_runtime, profile))
    Phases(profile, base_ns, reader.complete, reader.instant).walk(trace.events)
    _join(profile, reader.joints, options)
    return profile


def _wanted(events: Sequence[Event], asked: str, profile: Profile) -> Iterator[Event]:
    """The events but for the runtime's calls that were not asked for; a launch is always kept."""
    names = {name.strip() for name in asked.split(",")} - {""}
    launched = {_correlation(e) for e in events if _category(e) in WORK_OF_A_DEVICE} - {0}
    # Where counting took the place of tracing, launches are known by their names alone.
    counted = any(_category(event) == RANGE for event in events)
    for event in events:
        is_call, name = event.ph == "X" and _category(event) in RUNTIMES, str(event.name)
        launch = _correlation(event) in launched or (counted and counters.LAUNCH.match(name))
        if not is_call or ALL in names or name in names or launch:
            yield event
        else:
            profile.ledger.count(event.cat, event.ph, "", NOT_ASKED)


def _category(event: Event) -> str:
    return OLD_NAMES.get(str(event.cat), str(event.cat))


def _correlation(event: Event) -> int:
    try:
        return _number(_args.decode(event.args).correlation) if event.args is not NOTHING else 0
    except msgspec.DecodeError:
        return 0


class _Reader:
    """What becomes of single events; joints: the arguments by which a row is joined to others."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.joints: dict[int, Args] = {}

    def complete(self, event: Event, times_ns: tuple[int, int]) -> str:
        category = _category(event)
        if category == "Trace":
            start_ns, duration_ns = times_ns
            window = Window(name=str(event.name), start_ns=start_ns, duration_ns=duration_ns)
            self._profile.windows.append(window)
            return METADATA
        spans = self._profile.spans
        queue = category in WORK_OF_A_DEVICE or category in (ON_DEVICE, RANGE)
        thread = self._profile.threads.number(event.pid, event.tid, queue)
        level = LEVEL_OF.get(category, APPLICATION)
        row = spans.add(level, category, event, times_ns, thread)
        if event.args is not NOTHING and category != RANGE:
            try:
                joint = _args.decode(event.args)
            except msgspec.DecodeError:
                return SPAN
            self.joints[row] = joint
            if level == LIBRARY:
                spans.correlation_id[row] = _number(joint.correlation)
        return SPAN

    def instant(self, event: Event, times_ns: tuple[int, int]) -> str:
        args = arguments(event.args) if event.name == MEMORY else {}
        fields = {key: args[key] for key in MEMORY_FIELDS if isinstance(args.get(key), int | float)}
        if not fields:
            return self.complete(event, times_ns)
        kind, number = args.get("Device Type", 0), args.get("Device Id", -1)
        device = DEVICE_TYPES.get(kind, f"device type {kind}")
        device += f":{number}" if number != -1 else ""
        for key, value in fields.items():
            name = f"{MEMORY_FIELDS[key]}, {device}"
            self._profile.sample(name, "bytes", times_ns[0], float(value))
        return METRIC


def _join(profile: Profile, joints: dict[int, Args], options: Options) -> None:
    """Find the calls, the parents that only a reader can know, the layers and the counters'."""
    spans = profile.spans
    profile.calls, why_not = _calls(spans, options)
    if why_not:
        profile.unavailable["model calls"] = why_not
    for row in profile.calls:
        spans.level[row] = MODEL
    python = {_number(j.python): row for row, j in joints.items() if j.python is not None}
    told = {
        row: python[_number(joint.python_parent)]
        for row, joint in joints.items()
        if joint.python_parent is not None and _number(joint.python_parent) in python
    }
    nesting.tell(spans, spans.rows(*ANNOTATIONS, OPERATOR), told)
    _annotations_on_devices(spans, joints)
    _without_launch(profile, joints)
    operators = [row for row in spans.rows(OPERATOR) if spans.level[row] == FRAMEWORK]
    profile.layers = layers.number(profile, operators)
    counters.attribute(profile, spans.rows(RANGE), spans.rows("kernel"))


def _calls(spans: Spans, options: Options) -> tuple[list[int], str]:
    """The rows that are calls of the model, or why there are none."""
    if options.call:
        found = [row for row, name in enumerate(spans.name) if options.call in name]
        on_host = [row for row in found if spans.thread[row] > 0]
        if not on_host:
            return [], f"no span's name contains {options.call!r}, which was given as the call"
        return nesting.outermost(spans, on_host), ""
    marked = spans.rows(*ANNOTATIONS)
    steps = [row for row in marked if spans.name[row].startswith(STEP)]
    modules = [row for row in marked if spans.name[row].startswith(MODULE)]
    if steps or modules:
        return nesting.outermost(spans, steps or modules), ""
    return [], (
        "the recording marks neither steps (profiler.step()) nor modules (with_modules=True): "
        "name the spans that are calls with --call TEXT"
    )


def _annotations_on_devices(spans: Spans, joints: dict[int, Args]) -> None:
    """An annotation's shadow on a device belongs to the annotation."""
    here = {
        (spans.name[row], _number(joints[row].external)): row
        for row in spans.rows("user_annotation")
        if row in joints
    }
    for row in spans.rows(ON_DEVICE):
        if row in joints:
            key = (spans.name[row], _number(joints[row].external))
            spans.parent[row] = here.get(key, NOBODY)


def _without_launch(profile: Profile, joints: dict[int, Args]) -> None:
    """Work whose launch is not in the file: its operator by External id, where that means one."""
    spans = profile.spans
    launches = [row for row in spans.rows(*CALLS_OF_A_LIBRARY) if spans.correlation_id[row]]
    ids = Counter(spans.correlation_id[row] for row in launches)
    if shared := sum(1 for times in ids.values() if times > 1):
        profile.notes.append(f"{shared} correlation ids name several launches: the first counts")
    alone = [r for r in spans.rows(*WORK_OF_A_DEVICE) if spans.correlation_id[r] not in ids]
    if not alone:
        return
    operators = {_external(joints, row): row for row in spans.rows(OPERATOR)}
    # Older files number launches there, not operators.
    linked = any(
        _external(joints, row) in operators and _external(joints, row) != spans.correlation_id[row]
        for row in launches
    )
    placed = 0
    for row in alone:
        external = _external(joints, row)
        if linked and external in operators:
            spans.parent[row] = operators[external]
            placed += 1
    profile.notes.append(
        f"{len(alone)} kernels and copies have no launch in the file: {placed} stand under the "
        "operator of their External id, the others under none"
    )


def _external(joints: dict[int, Args], row: int) -> int:
    return _number(joints[row].external) if row in joints else 0


def _devices(properties: Any) -> list[Device]:
    """The machine's accelerators, equal ones counted."""
    seen: Counter[tuple[str, int]] = Counter()
    for one in properties if isinstance(properties, list) else []:
        if isinstance(one, dict):
            memory = one.get("totalGlobalMem", 0)
            name = str(one.get("name", "")) or "a device without a name"
            seen[name, memory if isinstance(memory, int) else 0] += 1
    return [
        Device(kind="gpu", name=name, memory_bytes=memory, count=count)
        for (name, memory), count in seen.items()
    ]


def _number(value: Any) -> int:
    """An id as it comes, as a number or as text; 0: none."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 < number < 2**63 else 0
