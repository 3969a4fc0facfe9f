"""A small evaluation at three levels: its times are chosen, so that answers are worked out by hand.

One conv and one relu; two queries a run; the conv launches two kernels, the relu one. Each deeper
run is slower than the one above it, as real ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.evidence import Evidence
from bus import codec
from bus.messages import (
    Device,
    EvaluationFinished,
    GraphDescribed,
    JobFinished,
    JobStarted,
    LayerDescribed,
    Message,
    NodeAnnounced,
    Run,
    RunMeasured,
    Span,
    SpansRecorded,
    TensorSpec,
)
from collector.timeline import Timeline, assemble

MODEL, FRAMEWORK, LIBRARY, HARDWARE = 2, 3, 4, 6
MS = 1_000_000
FACT: dict[str, Any] = {
    "evaluation_id": "e1",
    "job_id": "j1",
    "attempt": 1,
    "node_id": "n1",
    "at_ns": 0,
}
V100 = Device(kind="gpu", name="Tesla V100-SXM2-16GB", memory_bytes=16 << 30)
FLOAT = "smsp__sass_thread_inst_executed_op_f{}_pred_on.sum"
# (name, ms, additions, multiplications, fused ones, bytes read, bytes written, occupancy)
KERNELS = {
    "conv": [
        ("winograd", 3.0, 10e6, 20e6, 30e9, 2e9, 1e9, 50.0),
        ("relu_inside", 1.0, 5e6, 0.0, 0.0, 1e9, 1e9, 25.0),
    ],
    "relu": [("relu_inside", 0.5, 1e6, 0.0, 0.0, 5e8, 5e8, 100.0)],
}
LAYERS = ("conv", "relu")
LAYER_MS = {"conv": 5.0, "relu": 2.0}


def counters(kernel: tuple[Any, ...]) -> dict[str, float]:
    _, _, add, multiply, fused, read, written, occupancy = kernel
    return {
        FLOAT.format("add"): add,
        FLOAT.format("mul"): multiply,
        FLOAT.format("fma"): fused,
        "dram__bytes_read.sum": read,
        "dram__bytes_write.sum": written,
        "sm__warps_active.avg.pct_of_peak_sustained_active": occupancy,
    }


def spans_of(run: int, level: int, slower: float = 1.0, on_device: bool = True) -> list[Span]:
    """Two queries of one run, down to a level."""
    spans: list[Span] = []

    def add(level: int, name: str, at: float, ms: float, thread: int, tags: dict[str, Any]) -> None:
        number = (run + 1) * 1000 + len(spans)
        correlation = tags.pop("number", 0)
        start_ns, took_ns = round(at * MS), round(ms * MS)
        spans.append(Span(number, 0, level, name, start_ns, took_ns, thread, correlation, tags))

    for query in (0, 1):
        begin = 1000.0 * (run + 1) + 100.0 * query
        add(MODEL, "predict", begin, 10 * slower, 7, {"query": query})
        at = begin + 0.5
        for index, layer in enumerate(LAYERS if level >= FRAMEWORK else ()):
            took = LAYER_MS[layer] * slower
            tags = {"index": index, "operator": layer.title(), "output_bytes": 400 * (index + 1)}
            add(FRAMEWORK, layer, at, took, 7, tags)
            for place, kernel in enumerate(KERNELS[layer] if level >= LIBRARY else ()):
                number = run * 100 + query * 10 + index * 4 + place + 1
                launch = {"kind": "launch", "number": number}
                if on_device:
                    add(LIBRARY, "cudaLaunchKernel", at + 0.1 * (place + 1), 0.05, 7, launch)
                    late = {"kind": "kernel", "number": number}
                    add(
                        LIBRARY, kernel[0], begin + 40 + 10 * index + 4 * place, kernel[1], -1, late
                    )
                    told = {"counters": counters(kernel), "number": number}
                    add(HARDWARE, kernel[0], begin + 40 + 10 * index, 1.0, -2, told)
            at += took
    return spans


def timeline_of(runs: dict[int, Sequence[Span]]) -> Timeline:
    """The runs of one worker, assembled as the collector does."""
    batches = [
        SpansRecorded(
            evaluation_id="e1",
            job_id="j1",
            attempt=1,
            node_id="n1",
            source="worker",
            batch=number,
            run=number,
            levels={},
            count=len(spans),
            first_start_ns=0,
            last_end_ns=0,
            block=codec.pack_rows(list(spans)),
        )
        for number, spans in runs.items()
    ]
    return assemble(batches, [])


def measured(run: int, batch_size: int, level: str, took_ns: int, queries: int = 10) -> RunMeasured:
    return RunMeasured(
        **FACT,
        sequence=run + 2,
        run=run,
        batch_size=batch_size,
        level=level,  # type: ignore[arg-type]
        scenario="online",
        start_ns=0,
        starts_ns=[took_ns * n for n in range(queries)],
        durations_ns=[took_ns] * queries,
    )


def facts(
    runs: Sequence[Run], measurements: Sequence[RunMeasured], gpu: bool = True
) -> list[Message]:
    """What a node tells of them: the conv's shapes as a framework gives them."""

    def tensor(*shape: int) -> TensorSpec:
        return TensorSpec(dtype="float32", shape=list(shape))

    conv = LayerDescribed(
        index=0,
        name="conv",
        operator="Conv",
        inputs=[tensor(1, 3, 8, 8), tensor(4, 3, 3, 3)],
        outputs=[tensor(1, 4, 8, 8)],
    )
    relu = LayerDescribed(
        index=1,
        name="relu",
        operator="Relu",
        inputs=[tensor(1, 4, 8, 8)],
        outputs=[tensor(1, 4, 8, 8)],
    )
    node = NodeAnnounced(node_id="n1", incarnation="i", devices=[V100] if gpu else [])
    started = JobStarted(
        **FACT,
        sequence=0,
        incarnation="i",
        model="Small",
        model_version="1.0.0",
        model_digest="d",
        framework="onnxruntime",
        framework_version="1",
        environment="default",
        runs=list(runs),
        node=node,
    )
    graph = GraphDescribed(**FACT, sequence=1, run=1, layers=[conv, relu])
    ended = JobFinished(**FACT, sequence=99)
    return [
        started,
        graph,
        *measurements,
        ended,
        EvaluationFinished(evaluation_id="e1", at_ns=1, jobs=[]),
    ]


def leveled(deepest_is_slower: float = 2.0, on_device: bool = True) -> Evidence:
    """M, M/L and M/L/G at batch 1: 10 ms, 1.2 times that, and deepest_is_slower times that."""
    levels = ((0, "model", MODEL, 1.0), (1, "framework", FRAMEWORK, 1.2))
    levels += ((2, "library", LIBRARY, deepest_is_slower),)  # type: ignore[assignment]
    runs = [
        Run(index=n, batch_size=1, level=level, queries=10, warmup=0)  # type: ignore[arg-type]
        for n, level, _, _ in levels
    ]
    told = [measured(n, 1, level, round(10 * MS * slow)) for n, level, _, slow in levels]
    spans = {n: spans_of(n, depth, slow, on_device) for n, _, depth, slow in levels}
    return Evidence(facts(runs, told, on_device), timeline_of(spans))
