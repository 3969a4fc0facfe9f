"""cuDNN's, cuBLAS' and cuBLASLt's own logs as calls: what was called, with what, and when.

cuDNN 8 and 9 and cuBLAS write a record a call; cuBLASLt writes a line:

    I! CuDNN (v8900) function cudnnConvolutionForward() called:
    i!     algo: type=cudnnConvolutionFwdAlgo_t; val=CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD (6);
    i! Time: 2024-01-30T19:56:26.861863 (0d+0h+0m+0s since start)
    i! Process=1452; Thread=3240; GPU=0; Handle=0x55d0; StreamId=0x0.

    I! cuBLAS (v11.2) function cublasStatus_t cublasSgemm_v2(cublasHandle_t, …) called:
    i!  m: type=int; val=2
    i! Time: 2021-02-19T07:13:36 elapsed from start 0.033333 minutes or 2.000000 seconds
    i!Process=14055; Thread=140220191823680; GPU=0; Handle=POINTER (IN HEX:0x0x…); …

    [2025-09-10 17:32:51][cublasLt][133267][Trace][cublasLtSSSMatmul] A=0X… Adesc=[…] … algo=[…]

None says how long a call took. cuDNN says when to the microsecond, by the wall clock of its time
zone; the others to the second at best, so that their calls have no time of their own.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import strptime
from typing import Any

from .verbose_lines import Call

OURS = re.compile(
    rb"I! [Cc][Uu](?:DNN|BLAS) \(v|(?<![A-Za-z])i!(?:\s|Process=)|(?:\[[\d :-]+\])?\[cublasLt\]\["
)
"""What a line of these logs begins with."""
WORK, ALL = "work", "all"
HEAD = re.compile(r"I! (cu(?:dnn|blas)) \(v([^)]*)\) function (?:\w+ )?(\w+)\(", re.IGNORECASE)
VALUE = re.compile(r"i!(\s+)(\w+): type=([^;]*)(?:; val=(.*?))?;?\s*$")
OBJECT = re.compile(r"i!(\s+)(\w+): type=\w+:\s*$")
MOMENT = re.compile(r"i! ?Time: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")
PLACE = re.compile(r"i! ?Process=\d+; Thread=(\d+); GPU=(\w+)")
LT = re.compile(r"(?:\[[\d :-]+\])?\[cublasLt\]\[\d+\]\[(\w+)\]\[(\w+)\] ?(.*)")
BRACKETS = re.compile(r"(\w+)=\[([^\]]*)\]")
SETTING_UP = re.compile(r"^cu(?:dnn|blas)(?:Lt)?(?:Create|Destroy|Set|Get|Query|Logger|Init)")
BACKEND = "cudnnBackend"
QUARTER_NS = 900 * 1_000_000_000
"""Zones lie whole quarters of an hour apart."""
MOST_FIELDS = 64


@dataclass(slots=True)
class _Record:
    """A call whose lines are still coming."""

    library: str
    version: str
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    inside: list[tuple[int, str]] = field(default_factory=list)
    """The objects whose fields come now, each with its indentation."""
    start_ns: int = 0
    thread: int = 0
    gpu: str = ""

    def read(self, line: str) -> None:
        if found := MOMENT.match(line):
            if found[2]:  # whole seconds say nothing of a call
                second = timegm(strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
                self.start_ns = second * 1_000_000_000 + int(found[2].ljust(9, "0"))
        elif found := PLACE.match(line):
            self.thread, self.gpu = int(found[1]), found[2]
        elif found := OBJECT.match(line):
            self._leave(len(found[1]))
            self.inside.append((len(found[1]), found[2]))
        elif (found := VALUE.match(line)) and len(self.fields) < MOST_FIELDS:
            self._leave(len(found[1]))
            path = ".".join([*(name for _, name in self.inside), found[2]])
            self.fields[path] = _plain(found[4] or "")

    def _leave(self, indent: int) -> None:
        while self.inside and self.inside[-1][0] >= indent:
            self.inside.pop()

    def call(self) -> Call:
        given = self.fields
        tags: dict[str, Any] = {"library": self.library, "version": self.version}
        tags |= {"implementation": given["algo"]} if given.get("algo") else {}
        tags |= {"problem": text} if (text := _problem(given)) else {}
        tags |= {"tensors": text} if (text := _types(given)) else {}
        tags |= {"math": text} if (text := _first(given, "mathType", "computeType")) else {}
        tags |= {"device": self.gpu} if self.gpu.isdecimal() else {}
        return Call(self.name, self.start_ns, 0, tags, self.thread)


def read_log(lines: Iterable[tuple[int, str]], kept: str = WORK) -> Iterator[tuple[int, Call]]:
    """(mark, call) of the lines of a log; kept: the calls that compute, or all.

    A record belongs to the mark of its first line. Threads write whole records, one after another.
    """
    record: _Record | None = None
    begun = 0
    for mark, line in lines:
        found, head = LT.match(line), HEAD.match(line)
        if (found or head) and record is not None:
            yield begun, record.call()
            record = None
        if found:
            if kept == ALL or (found[1] == "Trace" and "Matmul" in found[2]):
                yield mark, _lt(found[2], found[3])
        elif head:
            if kept == ALL or computes(head[3]):
                begun, record = mark, _Record(head[1].lower(), head[2].split()[0], head[3])
        elif record is not None:
            record.read(line.rstrip("\n"))
    if record is not None:
        yield begun, record.call()


def computes(function: str) -> bool:
    """Whether a function is work for the device, and not the making and asking of descriptors."""
    if function.startswith(BACKEND):
        return function == f"{BACKEND}Execute"
    return SETTING_UP.match(function) is None


def on_clock(start_ns: int, near_ns: int) -> int:
    """A time of an unknown zone as the epoch's: the whole quarters of an hour between are its."""
    return start_ns - round((start_ns - near_ns) / QUARTER_NS) * QUARTER_NS


def _lt(name: str, text: str) -> Call:
    parts = dict(BRACKETS.findall(text))
    tags: dict[str, Any] = {"library": "cublaslt"}
    sizes = [
        f"{one[0]}:{found[1]}x{found[2]}"
        for one in ("Adesc", "Bdesc", "Ddesc")
        if (found := re.search(r"rows=(\d+) cols=(\d+)", parts.get(one, "")))
    ]
    types = [
        f"{one[0]}:{found[1]}"
        for one in ("Adesc", "Bdesc", "Ddesc")
        if (found := re.search(r"type=(\w+)", parts.get(one, "")))
    ]
    tags |= {"implementation": parts["algo"]} if parts.get("algo") else {}
    tags |= {"problem": " ".join(sizes)} if sizes else {}
    tags |= {"tensors": " ".join(types)} if types else {}
    tags |= {"math": found[1]} if (found := re.search(r"computeType=(\w+)", text)) else {}
    return Call(name, 0, 0, tags)


def _problem(given: dict[str, str]) -> str:
    """The sizes: of a multiplication m n k, of what has descriptors those of its tensors."""
    sizes = [f"{name}={given[name]}" for name in ("m", "n", "k", "batchCount") if name in given]
    shapes = [
        f"{path.removesuffix('Desc.dimA')}:{text.strip('[]').replace(',', 'x')}"
        for path, text in given.items()
        if path.endswith("Desc.dimA")
    ]
    return " ".join([*sizes, *shapes])


def _types(given: dict[str, str]) -> str:
    kinds = [
        f"{path.removesuffix('Desc.dataType')}:{text.removeprefix('CUDNN_DATA_').lower()}"
        for path, text in given.items()
        if path.endswith("Desc.dataType") and not path.startswith("conv")
    ]
    kinds += [f"{one[0]}:{given[one]}" for one in ("Atype", "Btype", "Ctype") if one in given]
    return " ".join(kinds)


def _first(given: dict[str, str], *names: str) -> str:
    return next((text for path, text in given.items() if path.rpartition(".")[2] in names), "")


def _plain(value: str) -> str:
    """CUDNN_DATA_HALF (2) as CUDNN_DATA_HALF."""
    return re.sub(r" ?\(\d+\)$", "", value.strip())
