"""Predict calls that a framework's profiler saw in marks, and what ran in them, put in their place.

The n-th mark is the n-th predict call. Clocks are not trusted to the microsecond, order is: a mark
is moved, with all that is in it, to lie inside its call's span.
"""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MARK = "mlms:predict"
MOST_EVENTS = 1_000_000  # about half a kilobyte each while they are recorded


def _numbers() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Calls:
    """The predict calls that were recorded, and the operators right below each."""

    starts_ns: array[int] = field(default_factory=_numbers)
    durations_ns: array[int] = field(default_factory=_numbers)
    call: array[int] = field(default_factory=_numbers)
    operator: array[int] = field(default_factory=_numbers)
    """row of `names`"""
    operator_ns: array[int] = field(default_factory=_numbers)
    took_ns: array[int] = field(default_factory=_numbers)
    thread: array[int] = field(default_factory=_numbers)
    """empty: all ran on the thread that called"""
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Placed:
    """The recorded operators of the measured calls, on the worker's clock."""

    query: np.ndarray
    operator: np.ndarray
    starts_ns: np.ndarray
    durations_ns: np.ndarray
    threads: np.ndarray
    seen: int
    """measured calls that were recorded"""
    shift_ns: int
    """by how much most of them were moved"""


def placed(calls: Calls, first: int, starts_ns: np.ndarray, durations_ns: np.ndarray) -> Placed:
    """Each operator inside its predict call: clocks are not trusted to the microsecond, order is.

    first: the recorded call that is the first measured one.
    """
    marks, took = np.array(calls.starts_ns, np.int64), np.array(calls.durations_ns, np.int64)
    seen = max(0, min(len(marks) - first, len(starts_ns)))
    marks, took = marks[first : first + seen], took[first : first + seen]
    latest_ns = np.maximum(starts_ns[:seen], starts_ns[:seen] + durations_ns[:seen] - took)
    began_ns = np.clip(marks, starts_ns[:seen], latest_ns)
    call = np.array(calls.call, np.int64) - first
    inside = (call >= 0) & (call < seen)
    call = call[inside]
    at_ns = np.array(calls.operator_ns, np.int64)[inside] - marks[call] + began_ns[call]
    ends_ns = (starts_ns[:seen] + durations_ns[:seen])[call]
    at_ns = np.minimum(at_ns, ends_ns)
    took_ns = np.minimum(np.array(calls.took_ns, np.int64)[inside], ends_ns - at_ns)
    shift_ns = int(np.median(began_ns - marks)) if seen else 0
    operator = np.array(calls.operator, np.int64)[inside]
    own = threading.get_native_id()
    thread = np.array(calls.thread or [own] * len(calls.call), np.int64)[inside]
    return Placed(call, operator, at_ns, took_ns, thread, seen, shift_ns)


def row(index: int, operator: str, name: str) -> dict[str, Any]:
    """A layer of which only the name is known."""
    return {
        "index": index,
        "name": name,
        "operator": operator,
        "provider": "",
        "inputs": [],
        "outputs": [],
        "parameter_bytes": 0,
        "output_bytes": 0,
    }


def numbered(name: str, before: int) -> str:
    """As torch.export numbers equal names: relu, relu_1 …"""
    return f"{name}_{before}" if before else name
