"""The layers of a call: its outermost operators, numbered in order of execution."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bus.messages import LayerDescribed, TensorSpec
from mlmodelscope.importing import nesting
from mlmodelscope.importing.events import arguments
from mlmodelscope.importing.profile import Profile

DESCRIBED = 10_000
"""So many layers fit into one message."""
DTYPES = {
    "float": "float32",
    "double": "float64",
    "c10::Half": "float16",
    "c10::BFloat16": "bfloat16",
    "long int": "int64",
    "int": "int32",
    "short int": "int16",
    "signed char": "int8",
    "unsigned char": "uint8",
}


def number(profile: Profile, operators: Sequence[int]) -> list[LayerDescribed]:
    """Tag the outermost operators of each call (without calls: of the whole file) with an index.

    An index is a place in the order of its own call: so the same layer has the same in each.
    """
    spans = profile.spans
    starts = [spans.start_ns[row] for row in profile.calls]
    counts: Counter[int] = Counter()
    first: list[LayerDescribed] = []
    for row in nesting.outermost(spans, operators):
        call = bisect_right(starts, spans.start_ns[row]) - 1
        if starts and (call < 0 or spans.end_ns(profile.calls[call]) < spans.end_ns(row)):
            continue
        inputs = _inputs(arguments(spans.args[row]))
        index, counts[call] = counts[call], counts[call] + 1
        spans.tag(
            row, index=index, operator=spans.name[row], input_shapes=[t.shape for t in inputs]
        )
        if call in (-1, 0) and index < DESCRIBED:
            name, operator = spans.name[row], spans.name[row]
            first.append(LayerDescribed(index=index, name=name, operator=operator, inputs=inputs))
    whole = max((counts[call] for call in (-1, 0)), default=0)
    if whole > DESCRIBED:
        text = f"the first {DESCRIBED:,} of {whole:,} layers are described; all are in the timeline"
        profile.unavailable["graph"] = text
    return first


def _inputs(args: dict[str, Any]) -> list[TensorSpec]:
    """The tensors among an operator's inputs; numbers and lists of tensors are none."""
    shapes, types = args.get("Input Dims"), args.get("Input type")
    if not isinstance(shapes, list):
        return []
    types = types if isinstance(types, list) and len(types) == len(shapes) else [""] * len(shapes)
    return [
        TensorSpec(dtype=DTYPES.get(str(dtype), str(dtype)), shape=shape)
        for dtype, shape in zip(types, shapes, strict=True)
        if isinstance(shape, list) and shape and all(isinstance(size, int) for size in shape)
    ]
