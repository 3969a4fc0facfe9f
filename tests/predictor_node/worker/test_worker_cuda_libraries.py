"""cuDNN's and cuBLAS' logs, and CUPTI's counters: on text as they write it, and on a recording."""

from __future__ import annotations

import gzip
import json
import threading
from array import array
from calendar import timegm
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmodelscope.importing.profile import HARDWARE
from mlmodelscope.importing.reading import read
from predictor_node.worker import profilers
from predictor_node.worker.job import Run
from predictor_node.worker.profilers import gpu_counters
from predictor_node.worker.profilers.captured import Captured
from predictor_node.worker.profilers.counter_ranges import counter_rows
from predictor_node.worker.profilers.cuda_log_lines import OURS, computes, on_clock, read_log
from predictor_node.worker.profilers.cuda_logs import logged
from predictor_node.worker.profilers.placing import Layer, place
from predictor_node.worker.profilers.verbose_lines import Call
from predictor_node.worker.trace import LEVELS, Clock, Times, Trace

# In the forms of cuDNN 8 and 9, cuBLAS 11 to 13 and cuBLASLt 13, as their users show them.
CONVOLUTION = """\
I! CuDNN (v8005) function cudnnSetConvolutionGroupCount() called:
i!     groupCount: type=int; val=1;
i! Time: 2024-01-30T19:56:26.861800 (0d+0h+0m+0s since start)
i! Process=1452; Thread=3240; GPU=NULL; Handle=NULL; StreamId=NULL.

I! CuDNN (v8005) function cudnnConvolutionForward() called:
i!     handle: type=cudnnHandle_t; streamId=(nil) (defaultStream);
i!     xDesc: type=cudnnTensorDescriptor_t:
i!         dataType: type=cudnnDataType_t; val=CUDNN_DATA_HALF (2);
i!         dimA: type=int; val=[32,896,1,832];
i!     xData: location=dev; addr=0x7f1f48d80000;
i!     wDesc: type=cudnnFilterDescriptor_t:
i!         dataType: type=cudnnDataType_t; val=CUDNN_DATA_HALF (2);
i!         dimA: type=int; val=[1792,896,1,19];
i!     convDesc: type=cudnnConvolutionDescriptor_t:
i!         dataType: type=cudnnDataType_t; val=CUDNN_DATA_FLOAT (0);
i!         mathType: type=cudnnMathType_t; val=CUDNN_TENSOR_OP_MATH (1);
i!     algo: type=cudnnConvolutionFwdAlgo_t; val=CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM (0);
i! Time: 2024-01-30T19:56:26.861863 (0d+0h+0m+0s since start)
i! Process=1452; Thread=3240; GPU=0; Handle=0x55d0c0; StreamId=(nil) (defaultStream).

"""
BACKEND = """\
I! CuDNN (v92400 43) function cudnnBackendSetAttribute() called:
i!     attributeName: type=cudnnBackendAttributeName_t; val=CUDNN_ATTR_ENGINE_GLOBAL_INDEX (200);
i! Time: 2026-07-16T13:13:52.122999 (0d+0h+0m+5s since start)
i! Process=34152; Thread=34384; GPU=NULL; Handle=NULL; StreamId=NULL.

I! CuDNN (v92400 43) function cudnnBackendExecute() called:
i!     handle: type=cudnnHandle_t; streamId=0x0;
i! Time: 2026-07-16T13:13:53.216568 (0d+0h+0m+6s since start)
i! Process=34152; Thread=34384; GPU=0; Handle=0x1; StreamId=0x0.
"""
SGEMM = """\
I! cuBLAS (v11.2) function cublasStatus_t cublasSetStream_v2(cublasHandle_t, cudaStream_t) called:
i!  streamId: type=SOME TYPE; val=POINTER (IN HEX:0x0x2)
i! Time: 2021-02-19T07:13:36 elapsed from start 0.033333 minutes or 2.000000 seconds
i!Process=14055; Thread=140220191823680; GPU=0; Handle=POINTER (IN HEX:0x0xa8af7b0)
i! COMPILED WITH: GNU GCC/G++ / 5.3.1 20160406 (Red Hat 5.3.1-6)
I! cuBLAS (v11.2) function cublasStatus_t cublasGemmEx(cublasHandle_t, int, int, int) called:
i!  transa: type=cublasOperation_t; val=CUBLAS_OP_T(1)
i!  m: type=int; val=1024
i!  n: type=int; val=100
i!  k: type=int; val=3072
i!  Atype: type=cudaDataType_t; val=CUDA_R_16F(2)
i!  computeType: type=cublasComputeType_t; val=CUBLAS_COMPUTE_32F(68)
i! Time: 2021-02-19T07:13:36 elapsed from start 0.033333 minutes or 2.000000 seconds
i!Process=14055; Thread=140220191823680; GPU=0; Handle=POINTER (IN HEX:0x0xa8af7b0)
"""
BARE = "I! cuBLAS (v10.2) function cublasStatus_t cublasSgemm_v2(cublasContext*, int) called\n"
LT = (
    "[2025-09-10 17:32:51][cublasLt][133267][Api][cublasLtMatmulAlgoGetHeuristic] Adesc=[…]\n"
    "[cublasLt][3794797][Trace][cublasLtSSSMatmul] A=0X400380DD0A00 Adesc=[type=R_32F rows=1000 "
    "cols=500 ld=1000] B=0X4 Bdesc=[type=R_32F rows=500 cols=200 ld=500] C=0X5 Cdesc=[type=R_32F "
    "rows=1000 cols=200 ld=1000] D=0X5 Ddesc=[type=R_32F rows=1000 cols=200 ld=1000] "
    "computeDesc=[computeType=COMPUTE_32F_FAST_TF32 scaleType=R_32F] algo=[algoId=21 "
    "tile=MATMUL_TILE_128x128 stages=MATMUL_STAGES_32x5] workSpace=0X0 beta=0 stream=0X0\n"
)


def calls(text: str, kept: str = "work") -> list[Call]:
    return [call for _, call in read_log([(1, line) for line in text.splitlines(True)], kept)]


AT_NS = timegm((2024, 1, 30, 19, 56, 26)) * 1_000_000_000 + 861_863_000
READ = {
    "a convolution of cuDNN 8": (
        CONVOLUTION,
        Call(
            "cudnnConvolutionForward",
            AT_NS,
            0,
            {
                "library": "cudnn",
                "version": "8005",
                "implementation": "CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM",
                "problem": "x:32x896x1x832 w:1792x896x1x19",
                "tensors": "x:half w:half",
                "math": "CUDNN_TENSOR_OP_MATH",
                "device": "0",
            },
            3240,
        ),
    ),
    "a plan of cuDNN 9": (
        BACKEND,
        Call(
            "cudnnBackendExecute",
            timegm((2026, 7, 16, 13, 13, 53)) * 1_000_000_000 + 216_568_000,
            0,
            {"library": "cudnn", "version": "92400", "device": "0"},
            34384,
        ),
    ),
    "a multiplication of cuBLAS": (
        SGEMM,
        Call(
            "cublasGemmEx",
            0,  # whole seconds say nothing of when a call was
            0,
            {
                "library": "cublas",
                "version": "11.2",
                "problem": "m=1024 n=100 k=3072",
                "tensors": "A:CUDA_R_16F",
                "math": "CUBLAS_COMPUTE_32F",
                "device": "0",
            },
            140220191823680,
        ),
    ),
    "a line alone": (BARE, Call("cublasSgemm_v2", 0, 0, {"library": "cublas", "version": "10.2"})),
    "a line of cuBLASLt": (
        LT,
        Call(
            "cublasLtSSSMatmul",
            0,
            0,
            {
                "library": "cublaslt",
                "implementation": "algoId=21 tile=MATMUL_TILE_128x128 stages=MATMUL_STAGES_32x5",
                "problem": "A:1000x500 B:500x200 D:1000x200",
                "tensors": "A:R_32F B:R_32F D:R_32F",
                "math": "COMPUTE_32F_FAST_TF32",
            },
        ),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_record_is_a_call(name: str) -> None:
    text, call = READ[name]
    assert calls(text) == [call]


def test_which_calls_are_kept_is_a_setting() -> None:
    every = calls(CONVOLUTION + BACKEND + SGEMM + LT, "all")
    assert [call.name for call in every] == [
        *("cudnnSetConvolutionGroupCount", "cudnnConvolutionForward"),
        *("cudnnBackendSetAttribute", "cudnnBackendExecute"),
        *("cublasSetStream_v2", "cublasGemmEx"),
        *("cublasLtMatmulAlgoGetHeuristic", "cublasLtSSSMatmul"),
    ]
    assert not computes("cublasCreate_v2") and computes("cudnnSoftmaxForward")


@pytest.mark.parametrize("text", ["", "i! Time: soon\n", "I! CuDNN (v1 function\n", "i!  m: val\n"])
def test_damaged_text_is_no_call(text: str) -> None:
    assert calls(text) == []


def test_a_damaged_field_costs_only_itself() -> None:
    damaged = CONVOLUTION.replace("i!         dimA: type=int; val=[32,896,1,832];", "i! \x00;;")
    (call,) = calls(damaged)
    assert call.tags["problem"] == "w:1792x896x1x19"


@pytest.mark.parametrize("hours", [-9.5, 0, 5.75])
def test_the_zone_of_a_log_does_not_matter(hours: float) -> None:
    local_ns = AT_NS + round(hours * 3600e9)
    assert on_clock(local_ns, AT_NS + 40_000_000) == AT_NS


def test_cudnn_goes_where_it_was_on_its_thread_and_cublas_into_what_multiplies() -> None:
    layers = [
        Layer(1000, 1100, "aten::conv2d", 7),
        Layer(1000, 1200, "aten::conv2d", 8),
        Layer(1300, 1400, "aten::linear", 7),
    ]
    said = [
        Call("cudnnConvolutionForward", 1050, 0, {}, 8),
        Call("cudnnConvolutionForward", 1060, 0, {}, 7),
        Call("cublasSgemm_v2", 0, 0, {}, 7),
    ]
    found = place(said, layers, Layer(900, 1500, "", 7), skew_ns=0)
    assert [(each.start_ns, each.end_ns, each.timed, each.thread) for each in found] == [
        (1050, 1050, True, 8),
        (1060, 1060, True, 7),
        (1400, 1400, False, 7),
    ]


# ---------------------------------------------------------------- a session


@pytest.fixture
def session(tmp_path: Path) -> Iterator[profilers.Session]:
    trace = Trace(0, 0, Clock(), lambda frame: None)
    trace.begin_run(0, LEVELS.index("full"))
    yield profilers.Session(
        run=Run(0, level="full", queries=2),
        framework="pytorch",
        plugin=None,
        handle=None,
        folder=str(tmp_path),
        settings={},
        thread=threading.get_native_id(),
        times=Times(2),
        trace=trace,
    )


def test_a_log_is_read_query_by_query(session: profilers.Session, tmp_path: Path) -> None:
    """What is printed behind somebody else's half line is found, and theirs is printed."""
    own = SGEMM.replace("140220191823680", str(threading.get_ident()))
    begun_ns = AT_NS - session.trace.clock.offset_ns
    session.times.starts_ns = array("q", [begun_ns - 1_000_000, begun_ns - 100_000])
    session.times.done = 2
    captured = Captured(tmp_path / "log.txt")
    captured.path.write_text(f"Hi! there{own}{CONVOLUTION}")
    captured.ends = array("q", [0, len(f"Hi! there{own}"), 10_000])
    first, second = logged(session, captured, "work").values()
    assert [call.name for call in first] == ["cublasGemmEx"]
    assert first[0].thread == session.thread
    assert [(call.name, call.start_ns) for call in second] == [("cudnnConvolutionForward", AT_NS)]
    assert not captured.path.exists()
    assert OURS.search(b"Hi! there") is None


def test_counting_says_what_it_lacks(session: profilers.Session, tmp_path: Path) -> None:
    """PyTorch's own profiler is asked for counters; this build has no CUPTI that could count."""
    import torch

    from predictor_node.worker.frameworks.pytorch_profile import Recorder

    class Handle:
        recorder = Recorder(torch.nn.ReLU(), on_gpu=False)

    counting = session.__class__(
        **{name: getattr(session, name) for name in session.__slots__ if name not in OTHERS},
        handle=Handle,
        settings={"gpu_counters": "usual"},
    )
    for _ in range(4):
        Handle.recorder(torch.zeros(1))
    with gpu_counters.profile(counting):
        for query in range(2):
            counting.times.starts_ns[query] = Clock().offset_ns
            Handle.recorder(torch.zeros(1))
            counting.times.done = query + 1
    assert counting.kept.reasons == [gpu_counters.NO_RANGES]
    assert len(Handle.recorder.calls().starts_ns) == 6
    assert list(tmp_path.iterdir()) == []


OTHERS = ("handle", "settings", "kept")


def test_the_settings_name_the_counters() -> None:
    usual = gpu_counters.metrics("usual")
    assert len(usual) == 12 and "dram__bytes_read.sum" in usual
    assert gpu_counters.metrics("a.sum, b.sum") == ["a.sum", "b.sum"]
    assert "profile.gpu_counters=usual" in gpu_counters.wanted({})


# ---------------------------------------------------------------- a recording


def recorded(recordings: Path) -> dict[str, Any]:
    with gzip.open(recordings / "gpu_traces" / "a100-counters.json.gz") as file:
        trace: dict[str, Any] = json.load(file)
    return trace


def test_each_range_of_a_recording_has_its_launch(recordings: Path) -> None:
    """The same counters under the same launches as the import finds: two readers, one answer."""
    rows, why = counter_rows(recorded(recordings))
    assert why == "" and len(rows) == 77  # its README's count
    _, profile = read(recordings / "gpu_traces" / "a100-counters.json.gz")
    spans = profile.spans
    imported = {
        spans.correlation_id[row]: spans.more[row]["counters"]
        for row in range(len(spans.name))
        if spans.level[row] == HARDWARE
    }
    assert {row.correlation_id: row.tags["counters"] for row, _ in rows} == imported
    for row, launch in rows:
        assert launch is not None and row.correlation_id == launch.correlation_id
        assert (row.start_ns, row.duration_ns) == (launch.start_ns, launch.duration_ns)


def test_ranges_that_are_not_as_many_as_launches_are_joined_to_none(recordings: Path) -> None:
    trace = recorded(recordings)
    first = next(e for e in trace["traceEvents"] if e.get("cat") == "cuda_profiler_range")
    trace["traceEvents"].remove(first)
    rows, why = counter_rows(trace)
    assert len(rows) == 76 and all(launch is None for _, launch in rows)
    assert why == "76 counter ranges of 1 devices could not be joined to 77 launches"


# ---------------------------------------------------------------- the door


def test_who_asks_for_it_on_a_cpu_is_told_why_not(
    shared_worker: Any, make_job: Callable[..., dict[str, Any]]
) -> None:
    named = {"cuda-logs": "cuda_logs", "gpu-counters": "gpu_counters"}
    folder = Path(profilers.__file__).parent
    looking = {name: str(folder / f"{module}.py") for name, module in named.items()}
    runs = [{"index": 0, "batch_size": 1, "level": "full", "queries": 2, "warmup": 1}]
    asked = {"threads": 1, "profile.cuda_logs": "work", "profile.gpu_counters": "usual"}
    job = make_job(framework="pytorch", runs=runs, profilers=looking, settings=asked)
    finished = shared_worker.run(job).one("finished")
    why = "it is for device gpu, not cpu"
    assert finished["unavailable"]["library"] == f"cuda-logs: {why}"
    assert finished["unavailable"]["full"] == f"gpu-counters: {why}"
