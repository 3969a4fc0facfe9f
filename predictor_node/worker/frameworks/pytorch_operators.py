"""What each operator of a PyTorch call is to the network: its place, its shapes, its memory.

Found by one call that is not measured, with the modules' forward named, the Python calls of
operators watched, and Kineto noting shapes and memory. Watching can change what runs (a module with
a quick path takes another one): then less is watched, until the call does what the measured ones
did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from .pytorch_profile import (
    MARK,
    Event,
    Recorder,
    events_of,
    numbered,
    outermost,
    row,
    scope,
    short,
    started,
    stopped,
)

MODULE, CALL = "mlms:module:", "mlms:call:"
MEMORY = "[memory]"
DTYPES = {"float": "float32", "double": "float64", "long": "int64", "c10::BFloat16": "bfloat16"}
DTYPES |= {"c10::Half": "float16", "unsigned char": "uint8", "signed char": "int8", "int": "int32"}
EITHER = "its operators could not be described: each call does others"


@dataclass(frozen=True, slots=True)
class Watched:
    """One call of Python's that became operators: what went in and came out."""

    function: Any
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    parameter_bytes: int
    output_bytes: int


@dataclass(slots=True)
class Operator:
    """One operator right below a call. call: row of what was watched, or -1."""

    name: str
    module: str = ""
    call: int = -1
    inputs: list[dict[str, Any]] = field(default_factory=list)
    allocated_bytes: int = 0


@dataclass(slots=True)
class Pass:
    """One watched call."""

    operators: list[Operator] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    made: dict[str, list[Any]] = field(default_factory=dict)
    """What each module gave back."""


def describe(recorder: Recorder, expected: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """The operators of a call as rows of a table of layers, and what could not be said."""
    module, seen = recorder.module, None
    for modules, calls in _ways(module):
        try:
            tried = _watch(recorder, modules, calls)
        except Exception:  # watching is not what was asked for: with less of it, it may go
            continue
        if [operator.name for operator in tried.operators] == list(expected):
            seen = tried
            break
    reason = "" if seen is not None else EITHER
    seen = seen or Pass([Operator(name) for name in expected])
    names = _names(module, seen)
    return _table(seen, names, module), reason


def _ways(module: Any) -> list[tuple[bool, bool]]:
    """(modules named, Python's calls of operators watched): most first."""
    import torch

    if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod"):
        return [(False, False)]  # their own code runs: neither Python's modules nor its calls
    if isinstance(module, torch.fx.GraphModule):
        return [(False, True), (False, False)]
    return [(True, True), (True, False), (False, False)]


# ------------------------------------------------------------------ watching


def _watch(recorder: Recorder, modules: bool, calls: bool) -> Pass:
    import torch

    module, seen = recorder.module, Pass()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if modules:
            stack.enter_context(_wrapped(module, seen))
        profiler = started(False, record_shapes=True, profile_memory=True)
        try:
            with scope(MARK), ExitStack() as inner:
                if calls:
                    inner.enter_context(_watching(module, seen.watched))
                module(*recorder.given, **recorder.named)
        finally:
            results = stopped(profiler)
    seen.operators = _operators(events_of(results))
    return seen


@contextmanager
def _wrapped(module: Any, seen: Pass) -> Iterator[None]:
    """Each module's forward inside an event of its name. Hooks would turn quick paths off."""
    wrapped = []
    try:
        for name, each in module.named_modules():
            own = "forward" in vars(each)
            wrapped.append((each, each.forward if own else None))
            each.forward = _named_forward(each.forward, name, seen)
        yield
    finally:
        for each, forward in wrapped:
            del each.forward
            if forward is not None:
                each.forward = forward


def _named_forward(forward: Any, name: str, seen: Pass) -> Any:
    def named(*given: Any, **more: Any) -> Any:
        with scope(f"{MODULE}{name}"):
            made = forward(*given, **more)
        seen.made[name] = _flat(made)
        return made

    return named


def _watching(module: Any, watched: list[Watched]) -> Any:
    """A mode of PyTorch's in which every call of an operator from Python is noted."""
    from torch.overrides import TorchFunctionMode

    held = {id(each): _bytes(each) for each in _held(module)}

    class Watching(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = [*_flat(args), *_flat(kwargs or {})]
            with scope(f"{CALL}{len(watched)}"):
                made = function(*args, **(kwargs or {}))
            outputs = _flat(made)
            watched.append(
                Watched(
                    function,
                    [_spec(each) for each in given],
                    [_spec(each) for each in outputs],
                    sum(held.get(id(each), 0) for each in given),
                    sum(_bytes(each) for each in outputs),
                )
            )
            return made

    return Watching()


def _held(module: Any) -> list[Any]:
    return [*module.parameters(), *module.buffers()]


def _device(module: Any) -> Any:
    return next((each.device for each in _held(module)), "cpu")


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [each for part in value for each in _flat(part)]
    return [value] if hasattr(value, "element_size") else []


def _spec(tensor: Any) -> dict[str, Any]:
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _operators(events: Sequence[Event]) -> list[Operator]:
    chosen = {id(event) for event, is_call in outermost(events) if not is_call}
    found: list[Operator] = []
    around: list[tuple[int, str]] = []
    end_ns = 0
    for event in events:
        while around and around[-1][0] <= event.start_ns:
            around.pop()
        if event.name.startswith((MODULE, CALL)):
            around.append((event.end_ns, event.name))
        elif id(event) in chosen:
            module = _innermost(around, MODULE)
            call = _innermost(around, CALL)
            given = _inputs(event.raw)
            found.append(Operator(event.name, module, int(call or -1), given))
            end_ns = event.end_ns
        elif event.name == MEMORY and found and event.start_ns < end_ns:
            found[-1].allocated_bytes += max(0, event.raw.nbytes())
    return found


def _innermost(around: Sequence[tuple[int, str]], kind: str) -> str:
    return next((n.removeprefix(kind) for _, n in reversed(around) if n.startswith(kind)), "")


def _inputs(raw: Any) -> list[dict[str, Any]]:
    """The tensors that Kineto saw; its dtypes are C++'s names, and other arguments have none."""
    pairs = zip(raw.shapes(), raw.dtypes(), strict=False)
    return [
        {"dtype": DTYPES.get(dtype, dtype), "shape": list(shape)}
        for shape, dtype in pairs
        if dtype and not dtype.startswith(("Scalar", "TensorList", "GenericList"))
    ]


# ------------------------------------------------------------------ names


def _table(seen: Pass, names: list[str], module: Any) -> list[dict[str, Any]]:
    sharing = Counter(operator.call for operator in seen.operators)
    alone = Counter(operator.module for operator in seen.operators)
    last = {operator.call: at for at, operator in enumerate(seen.operators)}
    device, inner = str(_device(module)), dict(module.named_modules())
    table = []
    for at, (operator, name) in enumerate(zip(seen.operators, names, strict=True)):
        one = row(at, operator.name, name) | {
            "provider": device,
            "inputs": operator.inputs,
            "module": operator.module,
            "allocated_bytes": operator.allocated_bytes,
        }
        if operator.call >= 0:
            call = seen.watched[operator.call]
            # Of a call that became several operators, the last one made what came out.
            if last[operator.call] == at:
                one |= {"outputs": call.outputs, "output_bytes": call.output_bytes}
                one["parameter_bytes"] = call.parameter_bytes
            if sharing[operator.call] == 1:
                one["inputs"] = call.inputs
        elif operator.module and alone[operator.module] == 1:
            made = seen.made.get(operator.module, [])
            one["outputs"] = [_spec(each) for each in made]
            one["output_bytes"] = sum(_bytes(each) for each in made)
            one["parameter_bytes"] = _own_bytes(inner.get(operator.module), operator.module, alone)
        table.append(one)
    return table


def _own_bytes(module: Any, path: str, others: Iterable[str]) -> int:
    """Of all that is inside a module too, unless operators of their own have that."""
    if module is None:
        return 0
    deeper = any(other.startswith(f"{path}.") for other in others)
    return sum(_bytes(each) for each in module.parameters(recurse=not deeper))


def _names(module: Any, seen: Pass) -> list[str]:
    """A node's name in an exported program; elsewhere the module's and maybe the operator's."""
    import torch

    if isinstance(module, torch.fx.GraphModule):
        nodes = _nodes(module, seen)
        if nodes:
            return nodes
    if isinstance(module, torch.jit.ScriptModule):
        _script_modules(module, seen.operators)
    alone = Counter(operator.module for operator in seen.operators)
    came: Counter[str] = Counter()
    names = []
    for operator in seen.operators:
        path, kind = operator.module, short(operator.name)
        name = path if path and alone[path] == 1 else f"{path}.{kind}" if path else kind
        names.append(numbered(name, came[name]))
        came[name] += 1
    return names


def _nodes(module: Any, seen: Pass) -> list[str]:
    """The names of the graph's nodes: the calls that were watched come in their order."""
    nodes = iter([node for node in module.graph.nodes if node.op == "call_function"])
    by_call: dict[int, Any] = {}
    for number, call in enumerate(seen.watched):
        if type(call.function).__name__ != "OpOverload":
            continue  # a guard's question, or what is done to inputs and outputs
        node = next((node for node in nodes if node.target is call.function), None)
        if node is None:
            return []
        by_call[number] = node
    came: Counter[str] = Counter()
    names = []
    for operator in seen.operators:
        node = by_call.get(operator.call)
        name = short(operator.name) if node is None else node.name
        if node is not None:
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            operator.module = str(stack[-1][0]) if stack else ""
        names.append(numbered(name, came[name]))
        came[name] += 1
    return names


def _script_modules(module: Any, operators: Sequence[Operator]) -> None:
    """The modules of TorchScript's operators: those of its graph, in order, where they agree."""
    nodes = list(_script_nodes(module, ""))
    at = 0
    for operator in operators:
        found = next((n for n in range(at, len(nodes)) if nodes[n][0] == operator.name), None)
        if found is not None:
            operator.module, at = nodes[found][1], found + 1


def _script_nodes(module: Any, path: str, method: str = "forward") -> Iterator[tuple[str, str]]:
    """(operator, module's path) of all that a scripted module calls, in the graph's order."""
    graph = getattr(getattr(module, method, None), "graph", None)
    if graph is not None:
        yield from _of_block(module, path, graph.nodes())


def _of_block(module: Any, path: str, nodes: Any) -> Iterator[tuple[str, str]]:
    for node in nodes:
        kind = node.kind()
        if kind == "prim::CallMethod":
            owner = _attribute(node.inputsAt(0))
            inner = module
            for part in owner:
                inner = getattr(inner, part)
            yield from _script_nodes(inner, ".".join(filter(None, (path, *owner))), node.s("name"))
        elif kind == "prim::CallFunction":
            called = node.inputsAt(0).node()
            name = called.s("name") if called.hasAttribute("name") else ""
            yield f"aten::{name.lstrip('_')}", path
        elif kind.startswith("aten::"):
            yield kind, path
        for block in node.blocks():
            yield from _of_block(module, path, block.nodes())


def _attribute(value: Any) -> list[str]:
    """self.a.b as ["a", "b"]."""
    parts: list[str] = []
    node = value.node()
    while node.kind() == "prim::GetAttr":
        parts.insert(0, node.s("name"))
        node = node.inputsAt(0).node()
    return parts
