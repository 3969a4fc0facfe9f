"""What each module of a network gives back, or each call of an exported graph, in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..errors import WorkerError

Told = tuple[str, str, Any]


def watched(module: Any) -> tuple[Callable[..., Any], list[Told]]:
    """The network as it is called, and where (name, kind, output) of its layers will lie."""
    told: list[Told] = []
    if isinstance(module, torch.fx.GraphModule):
        return _Calls(module, told).call, told
    if isinstance(module, torch.jit.ScriptModule):
        text = "TorchScript runs its own code: its layers' outputs cannot be told"
        raise WorkerError("framework", f"{text}; an exported program's or a constructor's can")
    for name, part in module.named_modules():
        if name:
            part.register_forward_hook(_noting(name, told))
    return module, told


def _noting(name: str, told: list[Told]) -> Callable[[Any, Any, Any], None]:
    def note(part: Any, given: Any, answer: Any) -> None:
        if isinstance(answer, torch.Tensor):
            told.append((name, type(part).__name__, _array(answer)))

    return note


class _Calls(torch.fx.Interpreter):
    """Runs a graph node by node and notes what each call gave."""

    def __init__(self, module: Any, told: list[Told]) -> None:
        super().__init__(module)
        self._graph: Any = module.graph
        self._told = told

    def call(self, *given: Any, **named: Any) -> Any:
        """The graph's answer; its inputs are told apart by their names in the graph."""
        spec = self._graph._codegen
        flat = spec.process_inputs(*given, **named) if hasattr(spec, "process_inputs") else given
        return self.run(*flat, enable_io_processing=False)

    def run_node(self, node: Any) -> Any:
        answer = super().run_node(node)
        if node.op == "call_function" and isinstance(answer, torch.Tensor):
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            place = str(stack[-1][0]) if stack else node.name
            self._told.append((place, str(node.target), _array(answer)))
        return answer


def _array(tensor: Any) -> Any:
    found = tensor.detach().cpu()
    return (found.float() if found.dtype == torch.bfloat16 else found).numpy().copy()
