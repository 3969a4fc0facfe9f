"""oneDNN's and MKL's verbose lines as calls: what was computed, by which implementation, how long.

oneDNN: onednn_verbose,…,<epoch ms>,primitive,exec,cpu,convolution,jit:avx512_core,…,<ms>
MKL:    MKL_VERBOSE SGEMM(T,N,10,2,14400,0x7fff…,…) 75.62us CNR:OFF Dyn:0 FastMM:1 TID:0  NThr:1
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

ONEDNN = ("onednn_verbose,", "dnnl_verbose,", "mkldnn_verbose,")
MKL = "MKL_VERBOSE "
OURS = re.compile(b"|".join(re.escape(word.encode()) for word in (*ONEDNN, MKL)))
FIELDS = ("propagation", "tensors", "attributes", "algorithm", "problem")
"""What follows an implementation in a line, in the order of oneDNN's own template."""
UNIT_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
ROUTINE = re.compile(r"MKL_VERBOSE (\w+)\(([^)]*)\) ([\d.e+-]+)(ns|us|ms|s)\b(.*)")
MOMENT = re.compile(r"(\d{9,})(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a library. start_ns: on the system's clock; 0: the library does not say it.

    thread: the native id; 0: not known.
    """

    name: str
    start_ns: int
    duration_ns: int
    tags: dict[str, Any] = field(default_factory=dict)
    thread: int = 0


def read_call(line: str) -> Call | None:
    """The call that a line tells of; None for other lines, and for those that cannot be read."""
    try:
        if line.startswith(ONEDNN):
            return _onednn(line)
        if line.startswith(MKL):
            return _mkl(line)
    except (ValueError, IndexError):
        return None
    return None


def _onednn(line: str) -> Call | None:
    parts = line.rstrip("\n").split(",")
    if "exec" not in parts:
        return None
    at = parts.index("exec")
    engine, kind, implementation, *rest = parts[at + 1 : -1]
    tags = {"library": "onednn", "engine": engine, "implementation": implementation}
    if "graph" in parts[1:at]:
        # A partition of several primitives, of which the graph's own lines tell no more.
        tags |= {"implementation": parts[-2], "problem": implementation}
        kind = "graph"
    else:
        tags |= {name: text for name, text in zip(FIELDS, rest, strict=False) if text != "undef"}
    tags = {name: text for name, text in tags.items() if text}
    return Call(kind, _moment_ns(parts[1:at]), round(float(parts[-1]) * 1e6), tags)


def _moment_ns(parts: list[str]) -> int:
    for part in parts:
        if found := MOMENT.fullmatch(part):
            return int(found[1]) * 1_000_000 + int((found[2] or "").ljust(6, "0")[:6])
    return 0


def _mkl(line: str) -> Call | None:
    found = ROUTINE.match(line)
    if found is None:
        return None  # its first line, about itself
    routine, arguments, took, unit, rest = found.groups()
    sizes = [text for text in arguments.split(",") if not text.startswith("0x")]
    threads = re.search(r"NThr:(\d+)", rest)
    tags: dict[str, Any] = {"library": "mkl", "implementation": f"mkl:{routine.lower()}"}
    tags |= {"problem": ",".join(sizes)} if sizes else {}
    tags |= {"threads": int(threads[1])} if threads else {}
    return Call(routine.lower(), 0, round(float(took) * UNIT_NS[unit]), tags)
