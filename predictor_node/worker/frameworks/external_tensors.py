"""Tensors as an executable gets and gives them: a dtype, a shape and raw little-endian bytes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import WorkerError
from ..frames import LENGTH, MAX_FRAME_BYTES, bytes_head, map_head, pack

Declared = Mapping[str, Any]  # name, dtype, shape; a free dimension is text

_KINDS = ("float16", "float32", "float64", "bool")
_WHOLE = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in (*_KINDS, *_WHOLE)}


def read_declared(sent: Any, what: str) -> list[dict[str, Any]]:
    """The inputs or outputs that an executable names in `opened`."""
    fault = f"its {what} are {_short(sent)}; a list of name, dtype and shape is expected"
    if not isinstance(sent, list) or not sent:
        raise WorkerError("framework", fault)
    for tensor in sent:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise WorkerError("framework", fault)
        if tensor.get("dtype") not in DTYPES:
            known = ", ".join(DTYPES)
            text = f"{tensor['name']} in its {what} is of dtype {tensor.get('dtype')!r}"
            raise WorkerError("framework", f"{text}; known: {known}")
        if not _is_shape(tensor.get("shape")):
            text = f"{tensor['name']} in its {what} has the shape {_short(tensor.get('shape'))}"
            raise WorkerError("framework", f"{text}; sizes, or names of free ones, are expected")
    if len({tensor["name"] for tensor in sent}) < len(sent):
        raise WorkerError("framework", f"its {what} bear one name twice: {_short(sent)}")
    return [{key: tensor[key] for key in ("name", "dtype", "shape")} for tensor in sent]


def predict_heads(batch: Mapping[str, np.ndarray], inputs: Sequence[Declared]) -> list[bytes]:
    """What stands before each tensor's bytes in a `predict` frame, the frame's length included.

    Here the batch is held against what the executable declared; batches of the same shapes share
    the answer, so that a prediction costs no more than its bytes.
    """
    declared = {each["name"]: each for each in inputs}
    if batch.keys() != declared.keys():
        text = f"the model's inputs are {', '.join(declared)}"
        raise WorkerError("request", f"{text}; {', '.join(batch) or 'none'} were given")
    heads = [map_head(2) + pack("do") + pack("predict") + pack("inputs") + map_head(len(batch))]
    for number, (name, array) in enumerate(batch.items()):
        _check_input(declared[name], array)
        about = {"dtype": array.dtype.name, "shape": list(array.shape)}
        pairs = b"".join(pack(part) for pair in about.items() for part in pair)
        head = pack(name) + map_head(3) + pairs + pack("data") + bytes_head(array.nbytes)
        if number:
            heads.append(head)
        else:
            heads[0] += head
    size = sum(len(head) for head in heads) + sum(array.nbytes for array in batch.values())
    if size > MAX_FRAME_BYTES:
        text = f"the batch makes a frame of {size} bytes; at most {MAX_FRAME_BYTES} are sent"
        raise WorkerError("request", f"{text}: ask for a smaller batch size")
    return [LENGTH.pack(size) + heads[0], *heads[1:]]


def as_sent(array: np.ndarray) -> np.ndarray:
    """The array with its bytes in the order in which they travel: nearly always itself."""
    if array.flags.c_contiguous and array.dtype.str[0] != ">":
        return array
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def read_tensor(sent: Any, declared: Declared) -> np.ndarray:
    """One output, held against what the executable declared."""
    try:
        shape = tuple(sent["shape"])
        array = np.frombuffer(sent["data"], DTYPES[sent["dtype"]]).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerError("framework", _why_no_tensor(sent, declared["name"])) from error
    if array.shape != shape or sent["dtype"] != declared["dtype"] or not _fits(array, declared):
        text = f"its output {declared['name']} is {sent['dtype']} {list(shape)}"
        raise WorkerError("framework", f"{text}; it declared {_described(declared)}")
    return array


def _check_input(declared: Declared, array: np.ndarray) -> None:
    if array.dtype.name != declared["dtype"] or not _fits(array, declared):
        text = f"the model's input {declared['name']} takes {_described(declared)}"
        raise WorkerError("request", f"{text}; {array.dtype} {list(array.shape)} was given")


def _fits(array: np.ndarray, declared: Declared) -> bool:
    wanted = declared["shape"]
    return array.ndim == len(wanted) and all(
        isinstance(size, str) or size == found
        for size, found in zip(wanted, array.shape, strict=True)
    )


def _described(declared: Declared) -> str:
    return f"{declared['dtype']} [{', '.join(map(str, declared['shape']))}]"


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(
        isinstance(size, str) or (type(size) is int and size >= 0) for size in shape
    )


def _why_no_tensor(sent: Any, name: str) -> str:
    if not isinstance(sent, dict) or not {"dtype", "shape", "data"} <= sent.keys():
        return f"its output {name} is {_short(sent)}; dtype, shape and data are expected"
    dtype, shape, data = sent["dtype"], sent["shape"], sent["data"]
    if dtype not in DTYPES if isinstance(dtype, str) else True:
        return f"its output {name} is of dtype {_short(dtype)}; known: {', '.join(DTYPES)}"
    if not _is_shape(shape) or any(isinstance(size, str) for size in shape):
        return f"its output {name} has the shape {_short(shape)}; a list of sizes is expected"
    if not isinstance(data, bytes):
        return f"its output {name} has {type(data).__name__} as data; bytes are expected"
    wanted = math.prod(shape) * DTYPES[dtype].itemsize
    text = f"its output {name} is {dtype} {shape}, which takes {wanted} bytes"
    return f"{text}; {len(data)} were sent"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
