"""The kernels of one batch size: what a device did, or what stands in its place.

In this order: a device's kernels; counted kernels, where counting kept their times from being
seen; a library's calls on a CPU; where a framework shows none of these, its layers themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.evidence import LIBRARY, Evidence, Rows, Spans, distinct, per_query, trimmed
from analysis.layer_table import LayerTable
from analysis.primitives import bytes_of_call, work_of_call

Of = Literal["kernel", "counted kernel", "library call", "layer"]
OUTSIDE = (-1, "")
SP = "smsp__sass_thread_inst_executed_op_f{}_pred_on.sum"
READ = ("dram__bytes_read.sum", "dram_read_bytes")
WRITTEN = ("dram__bytes_write.sum", "dram_write_bytes")
OCCUPANCY = "sm__warps_active.avg.pct_of_peak_sustained_active"
ESTIMATED = ("estimated_occupancy_percent", "est. achieved occupancy %")
NO_COUNTERS = "no hardware counters were recorded with its kernels"
NO_DRAM = "the recorded counters hold no DRAM bytes"
NOT_TOLD = "the library does not tell the sizes of this call"
NO_DEVICE = "it ran on a CPU: only a GPU's counters tell this"
NO_TIME = "the profiler that counted did not measure the kernels' times"


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of one layer (OUTSIDE: of none): the place-th of its name there.

    bytes: moved in all; read_bytes, write_bytes where counters tell them apart. source: counters,
    or analytic. na: what is None, and why.
    """

    name: str
    layer: tuple[int, str]
    place: int
    latency_ns: float | None
    flops: float | None = None
    read_bytes: float | None = None
    write_bytes: float | None = None
    bytes: float | None = None
    occupancy: float | None = None
    source: str = ""
    na: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KernelTable:
    """Kernels in order of their layers and times. of: what stands for a kernel here."""

    of: Of
    run: int
    batch_size: int
    queries: int
    kernels: list[Kernel]

    @property
    def on_device(self) -> bool:
        """Whether a device other than the processor did it."""
        return self.of in ("kernel", "counted kernel")


def kernel_table(evidence: Evidence, layers: LayerTable) -> KernelTable:
    """The kernels of a batch size whose layers are known."""
    spans, batch_size = evidence.spans, layers.batch_size
    if spans is not None:
        kinds = _kinds(spans)
        for of, which in kinds.items():
            rows = spans.in_run(which, evidence.runs_of(batch_size))
            if len(rows):
                return _table(evidence, rows, of, layers)
    kernels = [
        Kernel(
            name=layer.operator,
            layer=layer.key,
            place=0,
            latency_ns=layer.latency_ns,
            flops=layer.work.flops,
            bytes=layer.bytes,
            source="analytic",
            na=_na(layer.work.why, layer.bytes),
        )
        for layer in layers.layers
    ]
    return KernelTable("layer", layers.run, batch_size, layers.queries, kernels)


def _na(flops_why: str, moved: float | None) -> dict[str, str]:
    na = dict.fromkeys(("read_bytes", "write_bytes", "occupancy"), NO_DEVICE)
    if flops_why:
        na["flops"] = flops_why
    if moved is None:
        na["bytes"] = "the shapes that its traffic follows from are not recorded"
    return na


def _kinds(spans: Spans) -> dict[Of, NDArray[np.bool_]]:
    """Which spans are what, in order of preference."""
    timeline, tagged = spans.timeline, spans.tagged
    library = timeline.level == LIBRARY
    kernel = library & tagged(lambda t: "kernel" in (t.kind, t.category))
    counted = tagged(lambda t: isinstance(t.counters, dict))
    above = np.where(spans.parent >= 0, timeline.level[spans.parent], 0)
    call = library & (above != LIBRARY) & tagged(lambda t: t.library in ("onednn", "mkl"))
    return {"kernel": kernel, "counted kernel": counted, "library call": call}


def _table(evidence: Evidence, rows: Rows, of: Of, layers: LayerTable) -> KernelTable:
    spans = evidence.spans
    assert spans is not None
    timeline = spans.timeline
    found = _identify(spans, rows, layers)
    took_ns = timeline.duration_ns[rows].astype(float)
    times = trimmed(per_query(found.ids, found.queries, took_ns, found.count))
    elsewhere = _counted_elsewhere(evidence, layers) if of == "kernel" else {}
    counters = _counters(spans)
    kernels = []
    for at, known_by, latency_ns in zip(found.first, found.keys, times.tolist(), strict=True):
        tags = spans.tags(int(rows[at]))
        layer, name, place = known_by
        untimed = of == "counted kernel" and "times" in tags
        plain = Kernel(name, layer, place, None if untimed else latency_ns)
        if of == "library call":
            kernels.append(_of_call(plain, timeline.names[timeline.name_index[rows[at]]], tags))
        else:
            correlation = int(timeline.correlation_id[rows[at]])
            counted = tags.get("counters") or counters.get(correlation) or elsewhere.get(known_by)
            kernels.append(_of_device(plain, tags, counted))
    last = len(spans.timeline)  # what is in no layer stands at the end
    order = sorted(
        range(len(kernels)),
        key=lambda i: (last if kernels[i].layer == OUTSIDE else kernels[i].layer[0], i),
    )
    run = int(timeline.run[rows[0]])
    return KernelTable(of, run, layers.batch_size, found.count, [kernels[i] for i in order])


KnownBy = tuple[tuple[int, str], str, int]
"""A kernel's layer, name and place."""


@dataclass(frozen=True, slots=True)
class Identified:
    """Which kernel each of some spans is, in which query. first: a span of each kernel."""

    first: list[int]
    keys: list[KnownBy]
    ids: NDArray[np.int64]
    queries: NDArray[np.int64]
    count: int


def _identify(spans: Spans, rows: Rows, layers: LayerTable) -> Identified:
    queries, count = spans.queries(rows)
    labels, label = _labels(spans, rows)
    layer_keys, layer = _layers(spans, rows)
    layer_keys = _as_in(layers, layer_keys)
    place = _places(queries, layer, label)
    first, ids = distinct(layer, label, place)
    keys = [
        (layer_keys[int(layer[at])], labels[int(label[at])], int(place[at]))
        for at in first.tolist()
    ]
    return Identified(first.tolist(), keys, ids, queries, count)


def _counted_elsewhere(evidence: Evidence, layers: LayerTable) -> dict[KnownBy, Mapping[str, Any]]:
    """What a run of its own counted of each kernel: counting hides the times, so it has one."""
    spans = evidence.spans
    assert spans is not None
    which = spans.tagged(lambda t: isinstance(t.counters, dict))
    rows = spans.in_run(which, evidence.runs_of(layers.batch_size))
    if not len(rows):
        return {}
    found = _identify(spans, rows, layers)
    numbers = spans.timeline.tags_index[rows[found.first]].tolist()
    return {
        key: spans.known[number].counters for key, number in zip(found.keys, numbers, strict=True)
    }


def _labels(spans: Spans, rows: Rows) -> tuple[list[str], NDArray[np.int64]]:
    """What each is called: a library's call by its implementation too."""
    timeline = spans.timeline
    implementations = [str(known.implementation) for known in spans.known]
    known = {text: number for number, text in enumerate(dict.fromkeys(implementations))}
    of_tag = np.array([known[text] for text in implementations] or [0], np.int64)
    words = of_tag[timeline.tags_index[rows]]
    first, ids = distinct(timeline.name_index[rows].astype(np.int64), words)
    texts = list(known)
    return [
        " ".join(
            filter(None, (timeline.names[timeline.name_index[rows[at]]], texts[int(words[at])]))
        )
        for at in first.tolist()
    ], ids


def _layers(spans: Spans, rows: Rows) -> tuple[list[tuple[int, str]], NDArray[np.int64]]:
    """The layer that each lies in."""
    timeline, at = spans.timeline, spans.layer[rows]
    number = np.where(at >= 0, spans.number[at], -1)
    name = np.where(at >= 0, timeline.name_index[at], -1).astype(np.int64)
    first, ids = distinct(number, name, (at >= 0).astype(np.int64))
    keys = [
        (int(number[row]), timeline.names[int(name[row])]) if name[row] >= 0 else OUTSIDE
        for row in first.tolist()
    ]
    return keys, ids


def _as_in(layers: LayerTable, keys: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The layers as the layers' own run numbers them: in another run TensorFlow's order of nodes
    may be another, so where a number differs, a name that is one layer's alone decides."""
    known = {layer.key for layer in layers.layers}
    names = Counter(layer.name for layer in layers.layers)
    by_name = {layer.name: layer.key for layer in layers.layers if names[layer.name] == 1}
    return [key if key in known else by_name.get(key[1], key) for key in keys]


def _places(
    queries: NDArray[np.int64], layer: NDArray[np.int64], label: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many of the same name ran before it in its layer of its query; rows come by time."""
    order = np.lexsort((np.arange(len(label)), label, layer, queries))
    columns = np.stack([queries, layer, label])[:, order]
    begins = np.ones(len(order), bool)
    begins[1:] = (columns[:, 1:] != columns[:, :-1]).any(axis=0)
    positions = np.arange(len(order))
    since = positions - np.maximum.accumulate(np.where(begins, positions, 0))
    places = np.empty(len(order), np.int64)
    places[order] = since
    return places


def _counters(spans: Spans) -> dict[int, Mapping[str, Any]]:
    """Correlation id -> what was counted of that launch."""
    timeline = spans.timeline
    counted = {
        number: known.counters
        for number, known in enumerate(spans.known)
        if isinstance(known.counters, dict)
    }
    if not counted:
        return {}
    has = np.zeros(len(timeline.tags), bool)
    has[list(counted)] = True
    rows = np.flatnonzero(has[timeline.tags_index] & (timeline.correlation_id != 0))
    ids, tags = timeline.correlation_id[rows].tolist(), timeline.tags_index[rows].tolist()
    return {correlation: counted[tag] for correlation, tag in zip(ids, tags, strict=True)}


def _of_call(kernel: Kernel, name: str, tags: Mapping[str, Any]) -> Kernel:
    work, moved = work_of_call(name, tags), bytes_of_call(name, tags)
    na = _na(work.why, moved)
    if moved is None:
        na["bytes"] = NOT_TOLD
    return replace(kernel, flops=work.flops, bytes=moved, source="analytic", na=na)


def _of_device(
    kernel: Kernel, tags: Mapping[str, Any], counters: Mapping[str, Any] | None
) -> Kernel:
    na = {} if kernel.latency_ns is not None else {"latency_ns": NO_TIME}
    occupancy = _first(counters or {}, (OCCUPANCY,))
    if occupancy is None:
        occupancy = _first(tags, ESTIMATED)
    if occupancy is None:
        na["occupancy"] = "the recording does not tell it"
    if counters is None:
        na |= dict.fromkeys(("flops", "read_bytes", "write_bytes", "bytes"), NO_COUNTERS)
        return replace(kernel, occupancy=occupancy, na=na)
    flops = single_precision(counters)
    read, written = _first(counters, READ), _first(counters, WRITTEN)
    if flops is None:
        na["flops"] = "the recorded counters hold no single-precision operations"
    if read is None or written is None:
        na |= dict.fromkeys(("read_bytes", "write_bytes", "bytes"), NO_DRAM)
        return replace(kernel, flops=flops, occupancy=occupancy, source="counters", na=na)
    return replace(
        kernel,
        flops=flops,
        read_bytes=read,
        write_bytes=written,
        bytes=read + written,
        occupancy=occupancy,
        source="counters",
        na=na,
    )


def single_precision(counters: Mapping[str, Any]) -> float | None:
    """flop_count_sp: additions, multiplications, and twice the fused ones (CUPTI's definition)."""
    add, multiply, fused = (counters.get(SP.format(each)) for each in ("add", "mul", "fma"))
    if add is None or multiply is None or fused is None:
        return None
    return float(add) + float(multiply) + 2.0 * float(fused)


def _first(found: Mapping[str, Any], names: Sequence[str]) -> float | None:
    return next((float(found[name]) for name in names if name in found), None)
