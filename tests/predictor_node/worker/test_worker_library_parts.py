"""Lines of libraries, places among layers, a GPU's trace: pure parts, on text and recordings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from predictor_node.worker.profilers.gpu_trace import gpu_rows, read_kept
from predictor_node.worker.profilers.placing import Layer, place
from predictor_node.worker.profilers.verbose_lines import Call, read_call

# As the libraries printed them: oneDNN 3.12 (in PyTorch 2.13), 3.7 (in TensorFlow 2.21), MKL 2024.
REORDER = (
    "onednn_verbose,v1,1795333260845.104980,primitive,exec,cpu,reorder,jit:uni,undef,"
    "src:f32::blocked:abcd::f0 dst:f32::blocked:Acdb16a::f0,attr-scratchpad:user,,16x3x3x3,"
    "0.00390625\n"
)
POOLING = (
    "onednn_verbose,v1,1795334242468.862061,primitive,exec,cpu,pooling,jit:avx512_core,"
    "forward_training,src:f32::blocked:acdb::f0 dst:f32::blocked:acdb::f0,,alg:pooling_max,"
    "mb4ic64_ih30oh15kh2sh2dh0ph0_iw30ow15kw2sw2dw0pw0,0.168945\n"
)
OLDER = (
    "dnnl_verbose,exec,cpu,matmul,gemm:jit,undef,src_f32::blocked:ab:f0 wei_f32::blocked:ba:f0 "
    "dst_f32::blocked:ab:f0,,,2x14400:14400x10,0.125\n"
)
GEMM = (
    "MKL_VERBOSE SGEMM(T,N,10,2,14400,0x7fff901a3710,0x55f940405300,14400,0x55f9404c4bc0,14400,"
    "0x7fff901a3730,0x55f9404c4580,10) 75.62us CNR:OFF Dyn:0 FastMM:1 TID:0  NThr:1\n"
)
LINES = {
    "reorder": (REORDER, ("reorder", 1795333260845104980, 3906, "jit:uni", "16x3x3x3")),
    "pooling": (
        POOLING,
        (
            *("pooling", 1795334242468862061, 168945, "jit:avx512_core"),
            "mb4ic64_ih30oh15kh2sh2dh0ph0_iw30ow15kw2sw2dw0pw0",
        ),
    ),
    "older": (OLDER, ("matmul", 0, 125000, "gemm:jit", "2x14400:14400x10")),
    "gemm": (GEMM, ("sgemm", 0, 75620, "mkl:sgemm", "T,N,10,2,14400,14400,14400,10")),
}
OTHERS = (
    "onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:1\n",
    "onednn_verbose,v1,primitive,create:cache_miss,cpu,reorder,jit:uni,undef,a,b,c,d,0.1\n",
    "onednn_verbose,v1,1.5,primitive,exec,cpu\n",
    "MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture\n",
    "a line of somebody else's\n",
)


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_a_call(name: str) -> None:
    line, (kind, start_ns, took_ns, implementation, problem) = LINES[name]
    call = read_call(line)
    assert call is not None
    assert (call.name, call.start_ns, call.duration_ns) == (kind, start_ns, took_ns)
    assert call.tags["implementation"] == implementation
    assert call.tags["problem"] == problem


@pytest.mark.parametrize("line", OTHERS)
def test_other_lines_are_none(line: str) -> None:
    assert read_call(line) is None


def call(name: str, start_ns: int, took_ns: int) -> Call:
    return Call(name, start_ns, took_ns, {})


def test_calls_go_where_their_times_are_and_the_others_into_the_next_layer_that_multiplies() -> (
    None
):
    layers = [
        Layer(1000, 1100, "aten::conv2d", 7),
        Layer(1110, 1150, "aten::relu", 7),
        Layer(1200, 1300, "aten::linear", 7),
        Layer(1310, 1400, "aten::linear", 7),
    ]
    calls = [
        call("convolution", 998, 50),  # two too early: the clocks are two
        call("sgemm", 0, 60),
        call("sgemm", 0, 80),
        call("reorder", 1450, 10),  # of no layer
        call("sgemm", 0, 500),  # fits nowhere
    ]
    places = place(calls, layers, Layer(900, 1500, "", 7), skew_ns=0)
    found = [(each.start_ns, each.end_ns, each.timed, each.thread) for each in places]
    assert found == [
        (1000, 1050, True, 7),
        (1240, 1300, False, 7),
        (1320, 1400, False, 7),
        (1450, 1460, True, 7),
        (1460, 1500, False, 0),
    ]


def test_of_layers_side_by_side_none_is_chosen() -> None:
    layers = [Layer(1000, 1100, "MatMul", 7), Layer(1010, 1120, "MatMul", 8)]
    (one,) = place([call("matmul", 1020, 50)], layers, Layer(900, 1500, "", 7), skew_ns=0)
    assert (one.start_ns, one.end_ns, one.thread) == (1020, 1070, 0)


def recorded(recordings: Path, name: str) -> dict[str, Any]:
    with gzip.open(recordings / "gpu_traces" / f"{name}.json.gz") as file:
        trace: dict[str, Any] = json.load(file)
    return trace


# The counts are those of the recordings' own README.
@pytest.mark.parametrize(
    ("name", "kernels", "memcpy"),
    [("a100-alexnet", 79, 16), ("h100-bert-small", 60, 0), ("mi300-bert-small", 60, 0)],
)
def test_every_kernel_of_a_recording_has_its_launch(
    recordings: Path, name: str, kernels: int, memcpy: int
) -> None:
    rows = gpu_rows(recorded(recordings, name), read_kept(None))
    kinds = [row.tags["kind"] for row in rows]
    assert kinds.count("kernel") == kernels
    assert kinds.count("memcpy") >= memcpy
    launches = {row.correlation_id: row for row in rows if row.tags["kind"] == "launch"}
    for row in rows:
        if row.tags["kind"] == "kernel":
            assert launches[row.correlation_id].start_ns <= row.start_ns
            assert row.thread == 0 and row.tags["stream"] is not None


def test_which_runtime_calls_are_kept_is_a_setting(recordings: Path) -> None:
    trace = recorded(recordings, "a100-alexnet")
    every = [row for row in gpu_rows(trace, read_kept("all")) if row.tags["kind"] == "launch"]
    assert len(every) == 361  # its README's count of cuda_runtime
    asked = {row.name for row in gpu_rows(trace, read_kept("cudaDeviceSynchronize"))}
    usual = {row.name for row in gpu_rows(trace, read_kept("launches"))}
    assert asked - usual == {"cudaDeviceSynchronize"} and "cudaLaunchKernel" in usual
