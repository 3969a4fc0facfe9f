"""ONNX Runtime's profile as columns: its runs paired with predict calls by order.

The file is a JSON array with one event a line: `model_run` once a predict call, and for every node
`<node>_kernel_time`, both with microseconds since the profiling began. Clocks are not trusted to
the microsecond, order is: the n-th model_run is the n-th predict call, and is shifted, with its
nodes, to lie inside that call's span.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import Layers

KERNEL = "_kernel_time"
DTYPES = {"float": "float32", "double": "float64"}
LIMIT_REASON = "ONNX Runtime's profiler stops at 1,000,000 events; ask for fewer queries"


def _numbers() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Events:
    """What a profile says, in microseconds and in the file's order; key: a row of `nodes`."""

    run_us: array[int] = field(default_factory=_numbers)
    run_took_us: array[int] = field(default_factory=_numbers)
    us: array[int] = field(default_factory=_numbers)
    took_us: array[int] = field(default_factory=_numbers)
    key: array[int] = field(default_factory=_numbers)
    thread: array[int] = field(default_factory=_numbers)
    nodes: list[dict[str, Any]] = field(default_factory=list)


def read_layers(
    profile: Path,
    profile_start_ns: int,
    starts_ns: np.ndarray,
    durations_ns: np.ndarray,
    warmup_count: int,
) -> Layers:
    """The nodes of the measured calls; times are epoch nanoseconds."""
    events = _read(profile)
    run_us, run_took_us = _sorted(events.run_us, events.run_took_us)
    us, took_us, key, thread = _sorted(events.us, events.took_us, events.key, events.thread)
    run = np.searchsorted(run_us, us, side="right") - 1
    inside = (run >= 0) & (us <= (run_us + run_took_us)[run]) if len(run_us) else run >= 0
    measured = inside & (run >= warmup_count) & (run < warmup_count + len(starts_ns))
    us, took_us, key, thread, run = (c[measured] for c in (us, took_us, key, thread, run))
    query = run - warmup_count

    seen = max(0, min(len(run_us) - warmup_count, len(starts_ns)))
    lost_runs = len(starts_ns) - seen
    nodes_per_run = Counter(np.bincount(query).tolist()).most_common(1)[0][0] if len(query) else 1

    run_start_ns = _placed(
        profile_start_ns + run_us[warmup_count:][:seen] * 1000,
        run_took_us[warmup_count:][:seen] * 1000,
        starts_ns[:seen],
        durations_ns[:seen],
    )
    # Both ends stay inside the predict call: a whole microsecond may be rounded past its end.
    ends_ns = (starts_ns + durations_ns)[query]
    begin_ns = np.minimum(run_start_ns[query] + (us - run_us[run]) * 1000, ends_ns)
    took_ns = np.minimum(took_us * 1000, ends_ns - begin_ns)
    layer, table = _table(key, events.nodes)
    return Layers(
        table=table,
        layer=layer,
        starts_ns=begin_ns,
        durations_ns=took_ns,
        threads=thread,
        lost=lost_runs * nodes_per_run,
        reason=LIMIT_REASON if lost_runs else "",
    )


def _placed(
    at_ns: np.ndarray, took_ns: np.ndarray, starts_ns: np.ndarray, durations_ns: np.ndarray
) -> np.ndarray:
    """Where each run begins: where the profile says, moved as little as its predict call wants."""
    latest_ns = np.maximum(starts_ns, starts_ns + durations_ns - took_ns)
    return np.clip(at_ns, starts_ns, latest_ns)


def _table(key: np.ndarray, nodes: list[dict[str, Any]]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Number the nodes by their first appearance among the measured calls."""
    keys, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys))
    table = [{"index": index, **nodes[keys[at]]} for index, at in enumerate(order)]
    return rank[inverse.reshape(-1)], table


def _sorted(by: array[int], *others: array[int]) -> tuple[np.ndarray, ...]:
    columns = [np.array(column, np.int64) for column in (by, *others)]
    order = np.argsort(columns[0], kind="stable")
    return tuple(column[order] for column in columns)


def _read(profile: Path) -> Events:
    events, keys = Events(), dict[str, int]()
    for event in _lines(profile):
        name = event.get("name", "")
        if event.get("cat") == "Session" and name == "model_run":
            events.run_us.append(event["ts"])
            events.run_took_us.append(event["dur"])
        elif event.get("cat") == "Node" and name.endswith(KERNEL):
            node = _node(name.removesuffix(KERNEL), event["args"])
            key = keys.setdefault(repr(node), len(events.nodes))
            if key == len(events.nodes):
                events.nodes.append(node)
            events.us.append(event["ts"])
            events.took_us.append(event["dur"])
            events.key.append(key)
            events.thread.append(event["tid"])
    return events


def _lines(profile: Path) -> Iterator[dict[str, Any]]:
    """One event at a time: a million of them as one JSON value would need gigabytes."""
    with profile.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            event = line.strip().rstrip(",")
            if event.startswith("{"):
                yield json.loads(event)


def _node(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """What stays the same each time that a node runs."""
    return {
        "name": name,
        "operator": args.get("op_name", ""),
        "provider": args.get("provider", ""),
        "inputs": _shapes(args.get("input_type_shape")),
        "outputs": _shapes(args.get("output_type_shape")),
        "parameter_bytes": int(args.get("parameter_size") or 0),
        "output_bytes": int(args.get("output_size") or 0),
    }


def _shapes(tensors: list[dict[str, list[int]]] | str | None) -> list[dict[str, Any]]:
    """[{"float": [1, 3]}] as [{"dtype": "float32", "shape": [1, 3]}]; no tensors come as ""."""
    return [
        {"dtype": DTYPES.get(dtype, dtype), "shape": shape}
        for tensor in tensors or []
        if isinstance(tensor, dict)
        for dtype, shape in tensor.items()
    ]
