"""ONNX Runtime's profiles: sessions, runs and nodes.

    application  model_loading_…, session_initialization, …::Execute (the executor, within a run)
    model        model_run: one call
    framework    <node>_kernel_time; a call's nodes are its layers
    library      Kernel: what a provider ran on a device, on a queue of it

Times count from the beginning of the profiling; the file does not say when that was.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from bus.messages import LayerDescribed, TensorSpec
from mlmodelscope.importing import nesting
from mlmodelscope.importing.events import Event, Trace, arguments
from mlmodelscope.importing.layers import DESCRIBED
from mlmodelscope.importing.phases import SPAN, Phases
from mlmodelscope.importing.profile import (
    APPLICATION,
    FRAMEWORK,
    LIBRARY,
    MODEL,
    Options,
    Profile,
)

SESSION, NODE, KERNEL = "Session", "Node", "Kernel"
RUN, NODE_TIME = "model_run", "_kernel_time"
DTYPES = {"float": "float32", "double": "float64"}
NUMBERS = ("output_size", "parameter_size", "activation_size", "node_index")


def is_onnxruntime(trace: Trace) -> bool:
    """Whether a trace is ONNX Runtime's: a bare array of sessions and nodes."""
    categories = {str(event.cat) for event in trace.events[:5_000]}
    return trace.alone and bool(categories & {SESSION, NODE}) and categories <= {
        SESSION, NODE, KERNEL, "Api",
    }  # fmt: skip


def read(trace: Trace, options: Options) -> Profile:
    """ONNX Runtime's profile as ours."""
    profile = Profile("ONNX Runtime profile", "onnxruntime")
    profile.clock = "the beginning of the profiling; when that was, the file does not say"
    spans = profile.spans

    def complete(event: Event, times_ns: tuple[int, int]) -> str:
        category = str(event.cat)
        level = APPLICATION
        if category == NODE and str(event.name).endswith(NODE_TIME):
            level, event.name = FRAMEWORK, str(event.name).removesuffix(NODE_TIME)
        elif category == SESSION and event.name == RUN:
            level = MODEL
        elif category == KERNEL:
            level = LIBRARY
        queue = category == KERNEL
        thread = profile.threads.number(event.pid, event.tid, queue)
        spans.add(level, category, event, times_ns, thread)
        return SPAN

    Phases(profile, 0, complete).walk(trace.events)
    runs = [row for row in spans.rows(SESSION) if spans.level[row] == MODEL]
    profile.calls = spans.by_start(runs)
    if not runs:
        profile.unavailable["model calls"] = f"the profile holds no {RUN}"
    nesting.tell(spans, spans.rows(SESSION), {})
    profile.layers = _layers(profile)
    return profile


def _layers(profile: Profile) -> list[LayerDescribed]:
    """Tag each node with its place in its call; the first call's are the graph."""
    spans, counts = profile.spans, dict[int, int]()
    starts = [spans.start_ns[row] for row in profile.calls]
    nodes = [row for row in spans.rows(NODE) if spans.level[row] == FRAMEWORK]
    first: list[LayerDescribed] = []
    for row in spans.by_start(nodes):
        call = bisect_right(starts, spans.start_ns[row]) - 1
        index = counts.get(call, 0)
        counts[call] = index + 1
        args = arguments(spans.args[row])
        inputs, outputs = (_tensors(args.get(f"{way}_type_shape")) for way in ("input", "output"))
        sizes = {key: _whole(args.get(key)) for key in NUMBERS if key in args}
        spans.tag(
            row,
            index=index,
            operator=str(args.get("op_name", "")),
            input_shapes=[tensor.shape for tensor in inputs],
            output_shapes=[tensor.shape for tensor in outputs],
            output_bytes=sizes.get("output_size", 0),
            parameter_bytes=sizes.get("parameter_size", 0),
        )
        if call == 0 and index < DESCRIBED:
            first.append(
                LayerDescribed(
                    index=index,
                    name=spans.name[row],
                    operator=str(args.get("op_name", "")),
                    provider=str(args.get("provider", "")),
                    inputs=inputs,
                    outputs=outputs,
                    parameter_bytes=sizes.get("parameter_size", 0),
                    output_bytes=sizes.get("output_size", 0),
                )
            )
    return first


def _tensors(given: Any) -> list[TensorSpec]:
    """[{"float": [1, 3]}] as tensors; none come as ""."""
    return [
        TensorSpec(dtype=DTYPES.get(str(dtype), str(dtype)), shape=shape)
        for tensor in (given if isinstance(given, list) else [])
        if isinstance(tensor, dict)
        for dtype, shape in tensor.items()
        if isinstance(shape, list) and all(isinstance(size, int) for size in shape)
    ]


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
