"""A framework whose predicts take a stated time, well or with a given fault: a node's plugin.

The model's arguments: predict_s; fault (segfault, memory, hang, hang_open), after how many
predicts, and a file `once`: where it is there already, the fault has happened and does not again.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

SETTINGS = ()
MIB = 2**20
BLOCK_BYTES = 16 * MIB


def open(spec: Any) -> SimpleNamespace:
    arguments = {"predict_s": 0.002, "fault": "", "after": 0, "once": "", **spec.arguments}
    handle = SimpleNamespace(
        **arguments,
        calls=0,
        inputs=[{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
        outputs=[{"name": "y", "dtype": "float32", "shape": ["batch", 4]}],
        settings={"device": "cpu"},
    )
    if handle.fault == "hang_open":
        _hang(handle)
    return handle


def predict(handle: SimpleNamespace, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
    handle.calls += 1
    if handle.fault in FAULTS and handle.calls > handle.after and not _happened(handle):
        FAULTS[handle.fault](handle)
    select.select([], [], [], handle.predict_s)  # libfaketime spoils time.sleep
    return [batch["x"] * 2]


def close(handle: SimpleNamespace) -> None:
    del handle.calls


def describe() -> dict[str, Any]:
    return {"version": "1.0.0", "devices": ["cpu"], "providers": []}


def _happened(handle: SimpleNamespace) -> bool:
    """Whether the fault was to happen once, and has; noted before it happens."""
    if not handle.once:
        return False
    try:
        os.close(os.open(handle.once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return True
    return False


def _segfault(handle: SimpleNamespace) -> None:
    ctypes.string_at(8)


def _use_all_memory(handle: SimpleNamespace) -> None:
    blocks = []
    while True:  # each page is touched: until then it is only promised
        blocks.append(np.ones(BLOCK_BYTES, np.uint8))
        time.sleep(0.001)


def _hang(handle: SimpleNamespace) -> None:
    """As a call into a library that never returns: no signal that may be ignored ends it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        try:
            signal.signal(number, signal.SIG_IGN)
        except ValueError:  # not the main thread
            pass
    # PyDLL, not CDLL: like a library that keeps Python's lock, so that no other thread runs either.
    ctypes.PyDLL(None).sleep(3600)


FAULTS = {"segfault": _segfault, "memory": _use_all_memory, "hang": _hang}
