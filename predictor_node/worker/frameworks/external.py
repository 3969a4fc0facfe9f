"""An executable in any language as a framework: it answers frames on its standard input.

The protocol is docs/frameworks-external.md. Every open model has a process of its own, so that a
crash costs one model, closing gives back all that it took, and an executable's author need not
tell models apart. The price, starting the process, is part of what opening takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import WorkerError
from . import Layers, Spec
from .external_child import Child
from .external_tensors import DTYPES, as_sent, predict_heads, read_declared, read_tensor

# Protocol history
#   1  first version
PROTOCOL = 1

DESCRIBE_S = 20.0
SHAPES_KEPT = 256
COLUMNS = ("call", "layer", "starts_ns", "durations_ns")
TABLE_DEFAULTS: dict[str, Any] = {
    "name": "",
    "operator": "",
    "provider": "",
    "inputs": [],
    "outputs": [],
    "parameter_bytes": 0,
    "output_bytes": 0,
}

Signature = tuple[tuple[str, np.dtype, tuple[int, ...]], ...]


@dataclass(slots=True)
class Handle:
    """A model that is open in a process of its own. took_ns: the executable's own times."""

    child: Child
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    settings: dict[str, Any]
    providers: dict[str, Any]
    profile: bool
    heads: dict[Signature, list[bytes]] = field(default_factory=dict)
    took_ns: array[int] = field(default_factory=lambda: array("q"))


class Executable:
    """What a framework's module offers, done by the executable at `path`.

    layers: None where the executable measures neither its layers nor its own predictions.
    """

    def __init__(self, name: str, path: str) -> None:
        self._name, self._path = name, path
        self._described: dict[str, Any] = {}
        self.layers: Callable[..., Layers] | None = None

    def describe(self) -> dict[str, Any]:
        if not self._described:
            child = Child(self._name, self._path)
            try:
                self._meet(child)
            finally:
                child.end()
        return self._described

    def open(self, spec: Spec) -> Handle:
        child = Child(self._name, self._path)
        try:
            self._meet(child)
            sent = {each.name: _plain(getattr(spec, each.name)) for each in fields(spec)}
            return _opened(child, child.ask({"do": "open", **sent}, "opened"), spec.profile)
        except BaseException:
            child.end()
            raise

    @staticmethod
    def predict(handle: Handle, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        signature = tuple((name, each.dtype, each.shape) for name, each in batch.items())
        if (heads := handle.heads.get(signature)) is None:
            if len(handle.heads) == SHAPES_KEPT:
                handle.heads.clear()
            heads = handle.heads[signature] = predict_heads(batch, handle.inputs)
        parts: list[Any] = []
        for head, tensor in zip(heads, batch.values(), strict=True):
            parts += (head, as_sent(tensor))
        handle.child.write("predict", parts)
        answer = handle.child.hear("predicted")
        if handle.profile:
            handle.took_ns.append(_whole(answer.get("duration_ns", 0)))
        return _outputs(handle, answer.get("outputs"))

    @staticmethod
    def close(handle: Handle) -> None:
        handle.child.end()

    def _meet(self, child: Child) -> None:
        """Agree on the protocol before anything else is said."""
        sent = child.ask({"do": "describe", "protocol": PROTOCOL}, "described", DESCRIBE_S)
        if sent.get("protocol") != PROTOCOL:
            text = f"it speaks protocol {sent.get('protocol')!r}; this worker speaks {PROTOCOL}"
            raise child.fault(f"{text}: take a version of it that does")
        devices, providers = sent.get("devices"), sent.get("providers", [])
        version = sent.get("version")
        if not (isinstance(version, str) and version and _is_names(devices) and devices):
            text = f"version is {version!r} and devices are {devices!r}"
            raise child.fault(f"{text}; a version such as 1.0.0 and names as cpu are expected")
        self._described = {
            "version": version,
            "devices": devices,
            "providers": providers if _is_names(providers) else [],
        }
        if isinstance(packages := sent.get("packages"), dict):
            self._described["packages"] = {str(key): str(packages[key]) for key in packages}
        if sent.get("layers"):
            self.layers = _asked_layers
        else:
            self.layers = _whole_predictions if sent.get("durations") else None


def _opened(child: Child, sent: dict[str, Any], profile: bool) -> Handle:
    settings, providers = sent.get("settings", {}), sent.get("providers", {})
    if not isinstance(settings, dict) or not isinstance(providers, dict):
        raise child.fault("settings and providers of a model that is open must be maps")
    try:
        inputs = read_declared(sent.get("inputs"), "inputs")
        outputs = read_declared(sent.get("outputs"), "outputs")
    except WorkerError as error:
        raise child.fault(error.text) from error
    return Handle(child, inputs, outputs, settings, providers, profile)


def _outputs(handle: Handle, sent: Any) -> list[np.ndarray]:
    if not isinstance(sent, list) or len(sent) != len(handle.outputs):
        found = f"{len(sent)} outputs" if isinstance(sent, list) else type(sent).__name__
        names = ", ".join(each["name"] for each in handle.outputs)
        raise handle.child.fault(f"{found} were sent; a list of {names} is expected")
    try:
        return [read_tensor(*pair) for pair in zip(sent, handle.outputs, strict=True)]
    except WorkerError as error:
        raise handle.child.fault(error.text) from error


def _whole_predictions(
    handle: Handle, starts_ns: np.ndarray, durations_ns: np.ndarray, warmup_count: int
) -> Layers:
    """Each prediction as the executable timed it: what is left of the call is the pipe's cost."""
    took_ns = np.minimum(_own_ns(handle, warmup_count, len(starts_ns)), durations_ns)
    row = {**TABLE_DEFAULTS, "index": 0, "name": "predict", "operator": "predict"}
    zeros = np.zeros(len(starts_ns), np.int64)
    begin_ns = starts_ns + (durations_ns - took_ns) // 2
    return Layers([row], zeros, begin_ns, took_ns, zeros)


def _asked_layers(
    handle: Handle, starts_ns: np.ndarray, durations_ns: np.ndarray, warmup_count: int
) -> Layers:
    """The executable's own record of its layers, told apart by the number of the predict call.

    Its times count from where the executable began each prediction, which is taken to lie in the
    middle of the call: the pipe's cost is half before it and half behind.
    """
    child = handle.child
    sent = child.ask({"do": "layers"}, "layers")
    table, columns = _table(child, sent.get("table")), _columns(child, sent)
    call, layer, begin_ns, took_ns = columns
    if len(layer) and (layer.min() < 0 or layer.max() >= len(table)):
        raise child.fault(f"a layer is not among the {len(table)} of its table")
    query = call - warmup_count
    measured = (query >= 0) & (query < len(starts_ns))
    query, layer, begin_ns, took_ns = (c[measured] for c in (query, layer, begin_ns, took_ns))
    own_ns = np.minimum(_own_ns(handle, warmup_count, len(starts_ns)), durations_ns)
    first_ns = starts_ns + np.where(own_ns > 0, (durations_ns - own_ns) // 2, 0)
    ends_ns = starts_ns + durations_ns
    begin_ns = np.clip(first_ns[query] + begin_ns, starts_ns[query], ends_ns[query])
    return Layers(
        table=table,
        layer=layer,
        starts_ns=begin_ns,
        durations_ns=np.clip(took_ns, 0, ends_ns[query] - begin_ns),
        threads=np.zeros(len(layer), np.int64),
        lost=max(0, _whole(sent.get("lost", 0))),
        reason=str(sent.get("reason", "")),
    )


def _own_ns(handle: Handle, first: int, count: int) -> np.ndarray:
    found = np.array(handle.took_ns[first : first + count], np.int64)
    return np.pad(found, (0, count - len(found)))


def _table(child: Child, sent: Any) -> list[dict[str, Any]]:
    rows = sent if isinstance(sent, list) else [sent]
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise child.fault("the table of its layers must be a list of maps, each with a name")
        for key, default in TABLE_DEFAULTS.items():
            if not isinstance(row.get(key, default), type(default)):
                text = f"{key} of the layer {row['name']} is {row[key]!r}"
                raise child.fault(f"{text}; {type(default).__name__} is expected")
    return [
        {"index": number, **{key: row.get(key, value) for key, value in TABLE_DEFAULTS.items()}}
        for number, row in enumerate(rows)
    ]


def _columns(child: Child, sent: Mapping[str, Any]) -> list[np.ndarray]:
    try:
        columns = [np.frombuffer(sent[name], DTYPES["int64"]) for name in COLUMNS]
    except (KeyError, TypeError, ValueError) as error:
        text = f"{', '.join(COLUMNS)} of its layers must be bytes, each a row of int64"
        raise child.fault(f"{text}: {error!r}") from error
    if len({len(column) for column in columns}) > 1:
        raise child.fault(f"{', '.join(COLUMNS)} of its layers must be equally long")
    return columns


def _plain(value: Any) -> Any:
    """Mappings and sequences as MessagePack knows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _whole(value: Any) -> int:
    return value if type(value) is int else 0


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
