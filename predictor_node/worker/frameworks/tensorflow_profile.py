"""TensorFlow's own profiler (XPlane) as layers: the nodes of the graph that really ran.

A node's event is named `name:Operator`; it ran on a thread of TensorFlow's pool. Of a graph that
was optimised, fused nodes keep the name of one of those that went into them. What comes out of a
node is the graph's own statement, with the batch's size filled in.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import Layers
from .marked_calls import MARK, MOST_EVENTS, Calls, Placed, placed, row

Run = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
NODE = re.compile(r"([^\s:][^:]*):([A-Za-z_]\w*)")
CONTAINERS = (
    *("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case", "StatelessCase"),
    *("While", "StatelessWhile"),
)
"""Operators that only call others, which have events of their own."""
PRODUCTS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")
FUSED_BEHIND = (
    *("BiasAdd", "AddV2", "Add", "Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh"),
    *("FusedBatchNormV3", "Squeeze"),
)
"""What TensorFlow fuses into the product in front of it."""
MOST_FUSED = 4
ENVIRONMENT = "Task Environment"
ALLOCATION = "MemoryAllocation"
EPOCH_NS = 10**18  # lines of some versions count from the epoch, others from the profile's start
LITERT = "LiteRT offers its profiler to C++, not to Python"
Node = tuple[str, str]
Event = tuple[int, int, int, str, Mapping[str, Any]]
"""(start ns, duration ns, thread, name, tags)"""


class Recorder:
    """TensorFlow's profiler around every call of an open model, until it is stopped or has enough.

    definition: gives the model's graph as a GraphDef with shapes.
    """

    on_gpu = False

    def __init__(self, tf: Any, run: Run, folder: str, definition: Callable[[], Any]) -> None:
        self._tf, self.run, self._definition = tf, run, definition
        self._folder = Path(folder) / "tensorflow-profile"
        self.batch_size = 0
        self._count, self._most = 0, MOST_EVENTS
        self._parts: list[list[Event]] = []
        self._calls: Calls | None = None
        self.nodes: list[Node] = []
        self.allocated: dict[str, int] = {}
        self._running = False
        self._start()

    def predict(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As the model's own `run`, marked."""
        if self._count in (1, 2) or self._count == self._most:
            self._count_events()
        self._count += 1
        with self._tf.profiler.experimental.Trace(MARK):
            answer = self.run(batch)
        self.batch_size = len(next(iter(batch.values())))
        return answer

    def calls(self) -> Calls:
        """What was recorded; ends the recording."""
        self.stop()
        if self._calls is None:
            self._calls = Calls()
            for events in self._parts:
                self._read(events, self._calls)
            self._calls.names = [operator for _, operator in self.nodes]
            self._parts = []
        return self._calls

    def placed(self, starts_ns: np.ndarray, durations_ns: np.ndarray) -> Placed:
        """The nodes of the last calls of all, which are the measured ones."""
        return placed(self.calls(), self._count - len(starts_ns), starts_ns, durations_ns)

    def stop(self) -> None:
        """End the recording; twice is harmless."""
        if not self._running:
            return
        self._running = False
        self._tf.profiler.experimental.stop()
        try:
            self._parts.append(list(_events(self._folder)))
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def definition(self) -> Any:
        """The model's graph."""
        return self._definition()

    def _start(self) -> None:
        options = self._tf.profiler.experimental.ProfilerOptions(
            host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
        )
        self._tf.profiler.experimental.start(str(self._folder), options)
        self._running = True

    def _count_events(self) -> None:
        """The first call may compile; the second one says how many calls will be enough."""
        if not self._running:
            return
        self.stop()
        if self._count == 2:
            self._most = 3 + MOST_EVENTS // max(1, len(self._parts[-1]))
        if self._count < 3:
            self._start()

    def _read(self, events: list[Event], calls: Calls) -> None:
        known = {node: number for number, node in enumerate(self.nodes)}
        own = threading.get_native_id()
        end_ns, caller = 0, None
        for start_ns, took_ns, thread, name, tags in sorted(events, key=lambda e: (e[0], -e[1])):
            if name == MARK:
                calls.starts_ns.append(start_ns)
                calls.durations_ns.append(took_ns)
                end_ns, caller = start_ns + took_ns, thread
            elif start_ns >= end_ns:
                continue
            elif name == ALLOCATION:
                where = str(tags.get("tf_op", ""))
                size = int(tags.get("allocation_bytes") or 0)
                if len(calls.starts_ns) == 1:
                    self.allocated[where] = self.allocated.get(where, 0) + size
            elif (found := NODE.fullmatch(name)) and found[2] not in CONTAINERS:
                node = found[1], found[2]
                if node not in known:
                    known[node] = len(self.nodes)
                    self.nodes.append(node)
                calls.call.append(len(calls.starts_ns) - 1)
                calls.operator.append(known[node])
                calls.operator_ns.append(start_ns)
                calls.took_ns.append(took_ns)
                calls.thread.append(own if thread == caller else thread)


def _events(folder: Path) -> Iterator[Event]:
    """All that happened on the CPU, in epoch ns."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    for path in folder.glob("plugins/profile/*/*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        began_ns = 0
        for plane in space.planes:
            if plane.name == ENVIRONMENT:
                tags = _tags(plane, plane.stats)
                began_ns = int(tags.get("profile_start_time") or 0)
        for plane in space.planes:
            if plane.name.startswith("/host:"):
                yield from _of_plane(plane, began_ns)


def _of_plane(plane: Any, began_ns: int) -> Iterator[Event]:
    names = {number: data.name for number, data in plane.event_metadata.items()}
    for number, line in enumerate(plane.lines):
        base_ns = line.timestamp_ns + (0 if line.timestamp_ns > EPOCH_NS else began_ns)
        for event in line.events:
            name = names[event.metadata_id]
            tags = _tags(plane, event.stats) if name == ALLOCATION else {}
            start_ns, took_ns = base_ns + event.offset_ps // 1000, event.duration_ps // 1000
            yield start_ns, took_ns, _thread(line.id, number), name, tags


def _thread(line_id: int, number: int) -> int:
    """A number that stays the same; TensorFlow gives its threads random ones of 64 bits."""
    return (line_id & 0x3FFFFFFF) + 1_000_000_000 if line_id else number + 1


def _tags(plane: Any, stats: Any) -> dict[str, Any]:
    found = {}
    for stat in stats:
        kind = stat.WhichOneof("value")
        value = getattr(stat, kind) if kind else None
        if kind == "ref_value":
            value = plane.stat_metadata[value].name
        found[plane.stat_metadata[stat.metadata_id].name] = value
    return found


def read_layers(
    recorder: Recorder, starts_ns: np.ndarray, durations_ns: np.ndarray, warmup_count: int
) -> Layers:
    """The nodes of the measured calls, numbered as they first came."""
    calls = recorder.calls()
    found = placed(calls, warmup_count, starts_ns, durations_ns)
    numbers, first = np.unique(found.operator, return_index=True)
    order = numbers[np.argsort(first)]
    rank = np.zeros(max(len(recorder.nodes), 1), np.int64)
    rank[order] = np.arange(len(order))
    definition = recorder.definition()
    outputs = _outputs(definition, recorder.batch_size)
    given = _Inputs(definition, outputs)
    table = []
    for index, number in enumerate(order.tolist()):
        name, operator = recorder.nodes[number]
        inner = name if name in outputs else name.rpartition("PartitionedCall/")[2]
        made = outputs.get(inner, [])
        one = row(index, operator, name) | {"provider": "CPU", "outputs": made}
        one["inputs"] = given.of(inner)
        one["output_bytes"] = sum(map(_bytes, made))
        one["allocated_bytes"] = recorder.allocated.get(name, 0)
        table.append(one)
    lost = len(starts_ns) - found.seen
    per_call = len(found.query) // found.seen if found.seen else 1
    return Layers(
        table=table,
        layer=rank[found.operator],
        starts_ns=found.starts_ns,
        durations_ns=found.durations_ns,
        threads=found.threads,
        lost=lost * per_call,
        reason=f"the recording ends at {MOST_EVENTS:,} events; ask for fewer" if lost else "",
    )


def _outputs(definition: Any, batch_size: int) -> dict[str, list[dict[str, Any]]]:
    """Node -> what the graph says comes out of it; a size left open in front is the batch's."""
    from tensorflow.python.framework import dtypes

    functions = [function.node_def for function in definition.library.function]
    found = {}
    for nodes in (*functions, definition.node):
        for node in nodes:
            shapes = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else []
            kind = next((node.attr[key].type for key in ("T", "dtype") if key in node.attr), 0)
            found[node.name] = [
                {
                    "dtype": dtypes.as_dtype(kind).name if kind else "",
                    "shape": [
                        dim.size if dim.size >= 0 else (batch_size if not place else "?")
                        for place, dim in enumerate(shape.dim)
                    ],
                }
                for shape in shapes
                if not shape.unknown_rank
            ]
    return found


class _Inputs:
    """What goes into the graph's nodes: what comes out of those that they name."""

    def __init__(self, definition: Any, outputs: Mapping[str, list[dict[str, Any]]]) -> None:
        functions = [function.node_def for function in definition.library.function]
        every = [node for nodes in (*functions, definition.node) for node in nodes]
        self._nodes = {node.name: node for node in every}
        self._outputs = outputs

    def of(self, name: str) -> list[dict[str, Any]]:
        """Of a fused node, which has the name of its last part, of the product that it began as."""
        node = self._nodes.get(name)
        for _ in range(MOST_FUSED):
            if node is None or node.op in PRODUCTS or node.op not in FUSED_BEHIND:
                break
            before = self._nodes.get(_named(node.input[0]))
            if before is None or before.op not in (*PRODUCTS, *FUSED_BEHIND):
                break
            node = before
        found = [self._outputs.get(_named(each), [])[:1] for each in node.input] if node else []
        return [tensor for made in found for tensor in made]


def _named(reference: str) -> str:
    """`node:output:0` as node; a control input has ^ in front."""
    return reference.lstrip("^").partition(":")[0]


def _bytes(tensor: Mapping[str, Any]) -> int:
    if not tensor["dtype"] or "?" in tensor["shape"]:
        return 0
    try:
        return int(np.prod(tensor["shape"], dtype=np.int64)) * np.dtype(tensor["dtype"]).itemsize
    except TypeError:  # a kind of numbers that numpy does not have
        return 0
