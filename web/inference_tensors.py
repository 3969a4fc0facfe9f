"""Tensors of the Open Inference Protocol v2, as JSON or binary after it, and numpy's arrays.

Source: the Open Inference Protocol's REST specification with the binary tensor data extension of
KServe v2: a header `Inference-Header-Content-Length` says where the JSON ends; each BYTES element
is preceded by its length as a little-endian uint32.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from web.problems import ProblemError

LENGTH = "Inference-Header-Content-Length"
DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
NAMES = {dtype: name for name, dtype in DATATYPES.items()}
BYTES = "BYTES"


class Tensor(msgspec.Struct, kw_only=True):
    """A tensor of a request. data: in JSON; without it `binary_data_size` bytes follow."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class Wish(msgspec.Struct, kw_only=True):
    """An output that is wanted, and how."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, kw_only=True):
    """What is asked of a model."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Wish] = []


def read_request(body: bytes, header: str | None) -> tuple[InferRequest, dict[str, np.ndarray]]:
    """The request, and each input as an array (BYTES: of objects); ProblemError for a bad one."""
    end = len(body)
    if header is not None:
        end = int(header) if header.isdecimal() and int(header) <= len(body) else -1
    if end < 0:
        raise _wrong(f"{LENGTH}: expected a number of bytes up to {len(body)}")
    try:
        request = msgspec.json.decode(body[:end], type=InferRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _wrong(f"the request: {exc}") from exc
    rest, arrays = memoryview(body)[end:], {}
    for one in request.inputs:
        size = one.parameters.get("binary_data_size")
        raw = None
        if size is not None:
            if not isinstance(size, int) or not 0 <= size <= len(rest):
                raise _wrong(f"input {one.name}: binary_data_size {size}; {len(rest)} bytes follow")
            raw, rest = bytes(rest[:size]), rest[size:]
        arrays[one.name] = _array(one, raw)
    return request, arrays


def _array(one: Tensor, raw: bytes | None) -> np.ndarray:
    if any(size < 0 for size in one.shape):
        raise _wrong(f"input {one.name}: shape {one.shape}; expected sizes from 0")
    count = int(np.prod(one.shape, dtype=object)) if one.shape else 1
    if one.datatype == BYTES:
        found: Sequence[Any] = _elements(raw) if raw is not None else _flat(one.data or [])
        array = np.empty(len(found), dtype=object)
        array[:] = [one.encode() if isinstance(one, str) else one for one in found]
    elif one.datatype not in DATATYPES:
        raise _wrong(f"input {one.name}: datatype {one.datatype[:40]}; expected {[*DATATYPES]}")
    else:
        dtype = np.dtype(DATATYPES[one.datatype])
        try:
            flat = (
                np.frombuffer(raw, dtype) if raw is not None else np.array(_flat(one.data), dtype)
            )
        except (ValueError, TypeError, OverflowError) as exc:
            raise _wrong(f"input {one.name}: no {one.datatype}: {exc}") from exc
        array = flat
    if array.size != count:
        raise _wrong(f"input {one.name}: {array.size} elements for the shape {one.shape}")
    return array.reshape(one.shape)


def _flat(data: Any) -> list[Any]:
    if data is None:
        return []
    found: list[Any] = []
    stack = [data]
    while stack:
        top = stack.pop()
        if isinstance(top, list):
            stack.extend(reversed(top))
        else:
            found.append(top)
    return found


def _elements(raw: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise _wrong("a BYTES element is cut off")
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise _wrong("a BYTES element is cut off")
        found.append(raw[at : at + length])
        at += length
    return found


def write_response(
    about: Mapping[str, Any], outputs: Mapping[str, np.ndarray], request: InferRequest
) -> tuple[bytes, str]:
    """The body, and how long its JSON is where tensors follow it (else nothing)."""
    wishes = {wish.name: wish for wish in request.outputs}
    if unknown := sorted(set(wishes) - set(outputs)):
        raise _wrong(f"unknown output {unknown[0][:80]}: expected {sorted(outputs)}")
    rows, blocks = [], []
    for name, array in outputs.items():
        if wishes and name not in wishes:
            continue
        row: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": BYTES if array.dtype == object else NAMES[str(array.dtype)],
        }
        binary = wishes[name].parameters.get("binary_data") if wishes else None
        if request.parameters.get("binary_data_output") if binary is None else binary:
            block = _packed(array)
            blocks.append(block)
            row["parameters"] = {"binary_data_size": len(block)}
        else:
            row["data"] = _listed(array)
        rows.append(row)
    head = msgspec.json.encode({**about, "outputs": rows})
    return head + b"".join(blocks), str(len(head)) if blocks else ""


def _packed(array: np.ndarray) -> bytes:
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    return b"".join(struct.pack("<I", len(one)) + one for one in array.reshape(-1))


def _listed(array: np.ndarray) -> list[Any]:
    if array.dtype != object:
        return list(array.reshape(-1).tolist())
    return [one.decode(errors="replace") for one in array.reshape(-1)]


def _wrong(text: str) -> ProblemError:
    return ProblemError(400, "request", text)
