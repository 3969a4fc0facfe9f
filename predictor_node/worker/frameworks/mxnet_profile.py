"""MXNet's own profiler as layers: the operators of its graph, as its engine ran them.

The engine runs operators in bulk, under one name, unless it is told not to before a graph is built;
where tensors of the caller's are read or written it calls the operator ImperativeBulk even so.
Which node of the graph each one is follows from their order. Calls are told apart by the system's
clock, which both sides go by; a call has ended when its numbers have been read.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import Layers
from .marked_calls import Calls, numbered, placed, row

MOST_EVENTS = 500_000  # MXNet keeps them all, and writes each as two lines of text
REORDER = "Reorder"
"""What oneDNN puts between nodes that want their tensors otherwise laid out."""
BULK, VARIABLE = "ImperativeBulk", "MXNET_EXEC_BULK_EXEC_INFERENCE"
OF_THE_ENGINE = ("WaitForVar", "DeleteVariable", "SetValueOp", "CopyCPU2CPU", "ResourceTempSpace")
Batch = Mapping[str, np.ndarray]


class OneByOne:
    """The engine runs operators under their names from now on, until `end`.

    To be asked for before a graph is built: it is built at its first call.
    """

    def __init__(self, mx: Any) -> None:
        self._mx, self._was = mx, os.environ.get(VARIABLE)
        os.environ[VARIABLE] = "0"
        self._size = mx.engine.set_bulk_size(0)

    def end(self) -> None:
        """Other models of this process run in bulk again."""
        self._mx.engine.set_bulk_size(self._size)
        if self._was is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._was


class Recorder:
    """A network under MXNet's profiler, until it is stopped or has noted enough."""

    def __init__(self, mx: Any, symbol: Any, run: Callable[[Batch], Any], folder: str) -> None:
        self._mx, self._symbol, self._run = mx, symbol, run
        self._path = Path(folder) / f"mxnet-{os.getpid()}-{id(self)}.json"
        self._nodes = nodes_of(symbol)
        self._most = 1 + MOST_EVENTS // (len(self._nodes) + 8)
        self._starts_ns, self._ends_ns = array("q"), array("q")
        self._given: dict[str, tuple[tuple[int, ...], Any]] = {}
        """Of the last batch: shape and type by name."""
        self._stopped, self._one_by_one = False, OneByOne(mx)
        mx.profiler.set_config(
            profile_symbolic=True, profile_imperative=True, filename=str(self._path)
        )
        mx.profiler.set_state("run")

    def __call__(self, batch: Batch) -> Any:
        self._given = {name: (array.shape, array.dtype) for name, array in batch.items()}
        self._starts_ns.append(time.time_ns())
        answer = self._run(batch)
        self._ends_ns.append(time.time_ns())
        if len(self._ends_ns) == self._most:
            self.stop()
        return answer

    def stop(self) -> None:
        """End the recording; twice is harmless."""
        if not self._stopped:
            self._stopped = True
            self._mx.profiler.set_state("stop")
            self._one_by_one.end()

    def layers(self, starts_ns: np.ndarray, durations_ns: np.ndarray, first: int) -> Layers:
        """The operators of the measured calls; first: the recorded call that is the first one."""
        self.stop()
        self._mx.profiler.dump(True)
        try:
            trace = json.loads(self._path.read_text(errors="replace"))
        finally:
            self._path.unlink(missing_ok=True)
        ended = min(len(self._ends_ns), self._most)
        calls = Calls(starts_ns=self._starts_ns[:ended])
        took_ns = np.array(self._ends_ns[:ended]) - np.array(self._starts_ns[:ended])
        calls.durations_ns.extend(took_ns.tolist())
        _read(operators(trace["traceEvents"]), calls)
        found = placed(calls, first, starts_ns, durations_ns)
        table, row_of, reason = self._table(found.query, found.operator, calls.names)
        lost = len(starts_ns) - found.seen
        if lost:
            reason = f"the recording ends at {MOST_EVENTS:,} events; ask for fewer queries"
        return Layers(
            table=table,
            layer=row_of,
            starts_ns=found.starts_ns,
            durations_ns=found.durations_ns,
            threads=np.zeros(len(found.query), np.int64),  # the engine's, by numbers of its own
            lost=lost * len(self._nodes),
            reason=reason,
        )

    def _table(
        self, query: np.ndarray, operator: np.ndarray, names: Sequence[str]
    ) -> tuple[list[dict[str, Any]], np.ndarray, str]:
        """The graph's nodes, where every call ran them in order; else what the engine said."""
        kinds = [kind for _, kind in self._nodes]
        calls = np.split(operator, np.flatnonzero(np.diff(query)) + 1) if len(query) else []
        said = [[names[number] for number in call] for call in calls]
        places = _places(said[0], kinds) if said and all(call == said[0] for call in said) else []
        if places:
            rows = np.tile(np.arange(len(places)), len(said))
            return self._described(places), rows.astype(np.int64), ""
        table: list[dict[str, Any]] = []
        known: dict[tuple[str, int], int] = {}
        rows = np.empty(len(operator), np.int64)
        at = 0
        for call in said:
            came: Counter[str] = Counter()
            for name in call:
                key = name, came[name]
                came[name] += 1
                if key not in known:
                    known[key] = len(table)
                    table.append(row(len(table), name, numbered(name, key[1])))
                rows[at] = known[key]
                at += 1
        reason = (
            "the engine ran other operators than the graph has: they have names and times alone"
        )
        return table, rows, reason

    def _described(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """A row for each place: a node of the graph, or (-1) a change of a tensor's layout."""
        tensors, reads = self._tensors(), inputs_of_nodes(self._symbol)
        names = [*self._symbol.list_arguments(), *self._symbol.list_auxiliary_states()]
        held = set(names) - self._given.keys()
        table: list[dict[str, Any]] = []
        for index, place in enumerate(places):
            if place < 0:
                before = sum(each["operator"] == REORDER for each in table)
                table.append(row(index, REORDER, numbered(REORDER.lower(), before)))
                continue
            name, kind = self._nodes[place]
            made = [tensors[each] for each in outputs_of_node(name) if each in tensors]
            given = [each for each in reads[name] if each in tensors]
            one = row(index, kind, name) | {"provider": "cpu", "outputs": made}
            one["inputs"] = [tensors[each] for each in given if each not in held]
            one["output_bytes"] = sum(map(_bytes, made))
            one["parameter_bytes"] = sum(_bytes(tensors[each]) for each in given if each in held)
            table.append(one)
        return table

    def _tensors(self) -> dict[str, dict[str, Any]]:
        """Type and shape of each tensor of the graph; none where the batch does not say enough."""
        inside = self._symbol.get_internals()
        known = set(inside.list_inputs())
        try:
            shapes = inside.infer_shape(**{n: s for n, (s, _) in self._given.items() if n in known})
            dtypes = inside.infer_type(**{n: d for n, (_, d) in self._given.items() if n in known})
        except Exception:  # MXNet's, of many kinds: names and times are there without it
            return {}
        listed = (inside.list_arguments(), inside.list_outputs(), inside.list_auxiliary_states())
        found = {}
        for names, sizes, kinds in zip(listed, shapes, dtypes, strict=True):
            for name, size, kind in zip(names, sizes or (), kinds or (), strict=False):
                found[name] = {"dtype": np.dtype(kind).name, "shape": list(size)}
        return found


def nodes_of(symbol: Any) -> list[tuple[str, str]]:
    """(name, operator) of what the graph computes, in its order."""
    nodes = json.loads(symbol.tojson())["nodes"]
    return [(node["name"], node["op"]) for node in nodes if node["op"] != "null"]


def inputs_of_nodes(symbol: Any) -> dict[str, list[str]]:
    """What each node reads: tensors' names."""
    nodes = json.loads(symbol.tojson())["nodes"]
    named = [node["name"] + ("" if node["op"] == "null" else "_output") for node in nodes]
    return {node["name"]: [named[each[0]] for each in node["inputs"]] for node in nodes}


def outputs_of_node(name: str) -> tuple[str, ...]:
    """What its tensors may be called."""
    return (f"{name}_output", *(f"{name}_output{number}" for number in range(8)))


def operators(events: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, str]]:
    """(start, duration, name) in ns of what computes, in order of time."""
    begun: dict[Any, list[Mapping[str, Any]]] = {}
    found = []
    for event in events:
        if event.get("cat") != "operator" or event.get("ph") not in ("B", "E"):
            continue
        stack = begun.setdefault((event.get("pid"), event.get("tid")), [])
        if event["ph"] == "B":
            stack.append(event)
        elif stack and stack[-1]["name"] == event["name"]:
            start = int(stack.pop()["ts"])
            if event["name"] not in OF_THE_ENGINE:
                took = int(event["ts"]) - start
                found.append((start * 1000, took * 1000, str(event["name"])))
    return sorted(found)


def _read(found: Sequence[tuple[int, int, str]], calls: Calls) -> None:
    """Each operator into the call in which it began."""
    known = {name: number for number, name in enumerate(calls.names)}
    starts_ns = np.array(calls.starts_ns, np.int64)
    ends_ns = starts_ns + np.array(calls.durations_ns, np.int64)
    # MXNet's clock is cut to whole microseconds, and may lie one before the call.
    at = np.searchsorted(starts_ns, [start + 1_000 for start, _, _ in found], side="right") - 1
    for (start_ns, took_ns, name), call in zip(found, at.tolist(), strict=True):
        if call < 0 or start_ns > ends_ns[call]:
            continue
        number = known.setdefault(name, len(known))
        if number == len(calls.names):
            calls.names.append(name)
        calls.call.append(call)
        calls.operator.append(number)
        calls.operator_ns.append(start_ns)
        calls.took_ns.append(took_ns)


def _places(said: Sequence[str], kinds: Sequence[str]) -> list[int]:
    """Which node of the graph each operator of a call is; nothing where they do not agree."""
    places, at = [], 0
    for name in said:
        if at < len(kinds) and name in (kinds[at], BULK):
            places.append(at)
            at += 1
        elif name == REORDER:
            places.append(-1)
        else:
            return []
    return places if at == len(kinds) else []


def _bytes(tensor: Mapping[str, Any]) -> int:
    return int(np.prod(tensor["shape"])) * np.dtype(tensor["dtype"]).itemsize
