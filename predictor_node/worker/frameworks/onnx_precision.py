"""Reads from an ONNX file the numbers its weights are kept in, without any library for ONNX.

Only the tags of the protobuf messages on the way are looked at: model (7: graph), graph
(5: initializer), tensor (2: element type); the weights themselves are stepped over.
"""

import mmap
from collections.abc import Iterator

GRAPH, INITIALIZER, DATA_TYPE = 7, 5, 2
VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5
PRECISIONS = {
    **{1: "float32", 10: "float16", 11: "float64", 16: "bfloat16", 2: "int8", 3: "int8"},
    **{17: "float8", 18: "float8", 19: "float8", 20: "float8", 21: "int4", 22: "int4"},
}
"""TensorProto.DataType -> precision; sizes and indices (int32, int64, bool) are no precision."""


def precision_of(path: str) -> str:
    """float32, float16, int8 …; mixed where weights differ; empty where the file does not say."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            kinds = {
                PRECISIONS[data_type]
                for graph in _parts(data, (0, len(data)), GRAPH)
                for tensor in _parts(data, graph, INITIALIZER)
                for data_type in _numbers(data, tensor, DATA_TYPE)
                if data_type in PRECISIONS
            }
    except (OSError, ValueError, IndexError):
        return ""  # missing, empty or no ONNX: loading it will say so
    return next(iter(kinds)) if len(kinds) == 1 else "mixed" if kinds else ""


Span = tuple[int, int]


def _parts(data: mmap.mmap, span: Span, wanted: int) -> Iterator[Span]:
    return ((a, b) for field, kind, a, b in _fields(data, span) if (field, kind) == (wanted, SIZED))


def _numbers(data: mmap.mmap, span: Span, wanted: int) -> Iterator[int]:
    for field, kind, begin, _ in _fields(data, span):
        if (field, kind) == (wanted, VARINT):
            yield _varint(data, begin)[0]


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, int, int, int]]:
    """Each field of a message: its number, its wire type, where its content begins and ends."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == SIZED:
            size, at = _varint(data, at)
            begin, at = at, at + size
        elif kind == VARINT:
            begin, at = at, _varint(data, at)[1]
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            begin, at = at, at + (8 if kind == EIGHT_BYTES else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if at > end:
            raise ValueError("cut short")
        yield tag >> 3, kind, begin, at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("no varint")
