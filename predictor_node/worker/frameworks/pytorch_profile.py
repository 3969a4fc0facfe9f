"""PyTorch's own profiler (Kineto) as layers: the operators that a predict calls directly.

While measuring, the profiler notes operators and times and nothing else. What an operator is to the
network (module, shapes, memory) comes from one more call after the loop (pytorch_operators.py), and
is matched by order. Each call is inside a mark: the n-th mark is the n-th predict call.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import Layers
from .marked_calls import MARK, MOST_EVENTS, Calls, Placed, numbered, placed, row

FUSED = "_fused_"  # in the names of what inductor compiles
OURS = "profiler::"


@dataclass(frozen=True, slots=True)
class Event:
    """What Kineto noted; raw: its own object, for whoever wants to know more."""

    name: str
    start_ns: int
    duration_ns: int
    raw: Any = None

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns


class Recorder:
    """An open network under Kineto, until it is stopped or has noted enough."""

    def __init__(self, module: Any, on_gpu: bool) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        self.module, self.on_gpu = module, on_gpu
        self.given: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}
        """The arguments of the last call."""
        self.results: list[Any] = []
        """Kineto's own: of the first call, of the second, of the others."""
        self._mark = scope(MARK)
        self._count, self._most = 0, MOST_EVENTS
        self._calls: Calls | None = None
        self._more: dict[str, Any] = {}
        self._profiler: Any = started(on_gpu)

    def __call__(self, *given: Any, **named: Any) -> Any:
        """The network's answer, marked; what is done to inputs and outputs is outside."""
        if self._count in (1, 2) or self._count == self._most:
            self._count_events()
        self._count += 1
        self.given, self.named = given, named
        with self._mark:
            return self.module(*given, **named)

    def count(self, metrics: Sequence[str]) -> None:
        """From now on CUPTI counts these around each kernel, and notes no kernels' times."""
        from torch._C._profiler import _ExperimentalConfig

        self.stop()
        counting = _ExperimentalConfig(
            profiler_metrics=list(metrics), profiler_measure_per_kernel=True
        )
        self._more = {"experimental_config": counting}
        self._profiler = started(self.on_gpu, **self._more)

    def calls(self) -> Calls:
        """What was recorded; ends the recording."""
        self.stop()
        if self._calls is None:
            self._calls = Calls()
            for results in self.results:
                read_calls(events_of(results), self._calls)
        return self._calls

    def placed(self, starts_ns: np.ndarray, durations_ns: np.ndarray) -> Placed:
        """The operators of the last calls of all, which are the measured ones."""
        return placed(self.calls(), self._count - len(starts_ns), starts_ns, durations_ns)

    def stop(self) -> None:
        """End the recording; twice is harmless."""
        if self._profiler is not None:
            self.results.append(stopped(self._profiler))
            self._profiler = None

    def _count_events(self) -> None:
        """The first call may compile; the second one says how many calls will be enough."""
        if self._profiler is None:
            return
        self.stop()
        if self._count == 2:
            noted = len(self.results[-1].events())
            self._most = 3 + MOST_EVENTS // max(1, noted)
        if self._count < 3:
            self._profiler = started(self.on_gpu, **self._more)


def scope(name: str) -> Any:
    """A context manager that is an event of this name; the quick kind where there is one."""
    import torch

    try:
        from torch._C._profiler import _RecordFunctionFast

        return _RecordFunctionFast(name)
    except ImportError:
        return _Scope(torch.autograd.profiler.record_function, name)


class _Scope:
    """A context manager that may be entered again."""

    def __init__(self, make: Any, name: str) -> None:
        self._make, self._name = make, name
        self._open: list[Any] = []

    def __enter__(self) -> None:
        self._open.append(self._make(self._name))
        self._open[-1].__enter__()

    def __exit__(self, *error: object) -> None:
        self._open.pop().__exit__(*error)


def show_fused_kernels() -> None:
    """Let inductor compile its kernels so that Kineto notes them; before the first call."""
    import torch._inductor.config as config

    config.cpp.enable_kernel_profile = True


def started(on_gpu: bool, **more: Any) -> Any:
    """Kineto, recording; kernels and the CUDA runtime too where the model is on a GPU."""
    import torch

    device: dict[str, Any] = {"use_device": "cuda"} if on_gpu else {}
    profiler = torch.autograd.profiler.profile(use_kineto=True, **device, **more)
    profiler.__enter__()
    return profiler


def stopped(profiler: Any) -> Any:
    """What Kineto noted."""
    profiler.__exit__(None, None, None)
    return profiler.kineto_results


def events_of(results: Any) -> list[Event]:
    """The events of the marked thread on the CPU, each after those around it."""
    import torch

    cpu = torch.autograd.DeviceType.CPU
    raw = [event for event in results.events() if event.device_type() == cpu]
    threads = {event.start_thread_id() for event in raw if event.name() == MARK}
    found = [
        Event(event.name(), *_times(event), event)
        for event in raw
        if event.start_thread_id() in threads
    ]
    return sorted(found, key=lambda event: (event.start_ns, -event.duration_ns))


def _times(event: Any) -> tuple[int, int]:
    if hasattr(event, "start_ns"):
        return event.start_ns(), event.duration_ns()
    return event.start_us() * 1000, event.duration_us() * 1000  # before PyTorch 2.3


def outermost(events: Sequence[Event]) -> Iterator[tuple[Event, bool]]:
    """The marks (True), and the operators that a call makes itself (False); not what they call."""
    call_end_ns = operator_end_ns = 0
    for event in events:
        if event.name == MARK:
            call_end_ns, operator_end_ns = event.end_ns, 0
            yield event, True
        elif operator_end_ns <= event.start_ns < call_end_ns and _is_operator(event.name):
            operator_end_ns = event.end_ns
            yield event, False


def _is_operator(name: str) -> bool:
    """Not an annotation of the network's code, nor a frame of TorchScript's or Dynamo's."""
    return ("::" in name and not name.startswith(OURS)) or FUSED in name


def read_calls(events: Sequence[Event], calls: Calls) -> None:
    """Add the marked calls and the operators right below them."""
    known = {name: number for number, name in enumerate(calls.names)}
    for event, is_call in outermost(events):
        if is_call:
            calls.starts_ns.append(event.start_ns)
            calls.durations_ns.append(event.duration_ns)
            continue
        number = known.setdefault(event.name, len(known))
        if number == len(calls.names):
            calls.names.append(event.name)
        calls.call.append(len(calls.starts_ns) - 1)
        calls.operator.append(number)
        calls.operator_ns.append(event.start_ns)
        calls.took_ns.append(event.duration_ns)


def read_layers(
    recorder: Recorder,
    describe: Callable[[list[str]], tuple[list[dict[str, Any]], str]],
    starts_ns: np.ndarray,
    durations_ns: np.ndarray,
    warmup_count: int,
) -> Layers:
    """The operators of the measured calls; describe: what those of one call are, given their names.

    A call that does other operators than the described one keeps their names and times alone.
    """
    calls = recorder.calls()
    found = placed(calls, warmup_count, starts_ns, durations_ns)
    bounds = np.searchsorted(found.query, np.arange(found.seen + 1))
    pieces = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    sequences = [tuple(found.operator[a:b].tolist()) for a, b in pieces]
    usual = Counter(sequences).most_common(1)[0][0] if sequences else ()
    table, reason = describe([calls.names[number] for number in usual])
    rows = _Rows(table, calls.names)
    layer = np.empty(len(found.query), np.int64)
    for sequence, (a, b) in zip(sequences, pieces, strict=True):
        layer[a:b] = np.arange(len(usual)) if sequence == usual else rows.of(sequence)
    lost = len(starts_ns) - found.seen
    if len(set(sequences)) > 1:
        reason = reason or "calls differ: in some, operators have names and times alone"
    if lost:
        reason = f"the recording ends at {MOST_EVENTS:,} events; ask for fewer queries"
    return Layers(
        table=table,
        layer=layer,
        starts_ns=found.starts_ns,
        durations_ns=found.durations_ns,
        threads=found.threads,
        lost=lost * len(usual),
        reason=reason,
    )


class _Rows:
    """Rows of the table for operators that nobody described: by name and how many came before."""

    def __init__(self, table: list[dict[str, Any]], names: list[str]) -> None:
        self._table, self._names = table, names
        self._known: dict[tuple[int, int], int] = {}

    def of(self, sequence: Sequence[int]) -> list[int]:
        came: dict[int, int] = {}
        rows = []
        for number in sequence:
            key = number, came.setdefault(number, 0)
            came[number] += 1
            if key not in self._known:
                self._known[key] = len(self._table)
                name = numbered(short(self._names[number]), key[1])
                self._table.append(row(len(self._table), self._names[number], name))
            rows.append(self._known[key])
        return rows


def short(operator: str) -> str:
    """aten::conv2d as conv2d."""
    return operator.rpartition("::")[2]
