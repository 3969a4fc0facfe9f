"""Five recordings of real GPUs, read whole; the raw JSON and its README say what is expected."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bus.messages import JobFinished
from collector.timeline import PlacedSpan, Timeline, assemble
from mlmodelscope.importing import batches, facts
from mlmodelscope.importing.files import Content
from mlmodelscope.importing.profile import Options, Profile
from mlmodelscope.importing.reading import read

# Complete events by category, as the README of the recordings counts them.
README: dict[str, dict[str, int]] = {
    "a100-alexnet": {
        "cpu_op": 359, "cuda_runtime": 361, "kernel": 79, "gpu_memcpy": 16, "cuda_sync": 41,
    },
    "a100-counters": {"cuda_profiler_range": 77},
    "h100-bert-small": {"cpu_op": 479, "cuda_runtime": 110, "kernel": 60},
    "mi300-bert-small": {"cpu_op": 519, "kernel": 60},
    "mi250-toy": {"cpu_op": 70, "kernel": 14},
}  # fmt: skip
DEVICES = {
    "a100-alexnet": ("NVIDIA A100-PG509-200", 8),
    "a100-counters": ("NVIDIA A100-PG509-200", 8),
    "h100-bert-small": ("NVIDIA H100 80GB HBM3", 1),
    "mi300-bert-small": ("AMD Instinct MI300X VF", 1),
    "mi250-toy": ("AMD Radeon Graphics", 4),
}
ASYNCHRONOUS = ("kernel", "gpu_memcpy", "gpu_memset", "cuda_sync")
RECORDINGS = pytest.mark.parametrize("name", README)
BERTS = pytest.mark.parametrize("name", ["h100-bert-small", "mi300-bert-small"])

Raw = dict[str, Any]


class Recorded:
    """One file three times: as raw events, as we read it, and as the collector assembles it."""

    def __init__(self, path: Path, options: Options | None = None) -> None:
        self.raw: Raw = json.loads(gzip.decompress(path.read_bytes()), parse_float=Decimal)
        self.events: list[Raw] = self.raw["traceEvents"]
        self.content, self.profile = read(path, options)
        self.timeline = assembled(self.content, self.profile)
        self.spans = {span.span_id: span for span in self.timeline}

    def complete(self, *categories: str) -> list[Raw]:
        return [e for e in self.events if e["ph"] == "X" and e["cat"] in categories]

    def at(self, category: str) -> list[PlacedSpan]:
        return [span for span in self.timeline if span.tags["category"] == category]

    def above(self, span: PlacedSpan) -> list[PlacedSpan]:
        chain: list[PlacedSpan] = []
        while span.parent_id:
            span = self.spans[span.parent_id]
            chain.append(span)
        return chain


def assembled(content: Content, profile: Profile) -> Timeline:
    names = facts.names_of(content, Options())
    sent = list(batches.span_batches(profile, names))
    told = facts.facts(facts.Import(content, profile, Options(), names), 0, len(sent))
    return assemble(sent, [fact for fact in told if isinstance(fact, JobFinished)])


@pytest.fixture(scope="module")
def recorded(recordings: Path) -> Any:
    held: dict[str, Recorded] = {}

    def get(name: str) -> Recorded:
        if name not in held:
            held[name] = Recorded(recordings / "gpu_traces" / f"{name}.json.gz")
        return held[name]

    return get


def tightest_operator(file: Recorded, launch: Raw) -> Raw | None:
    """Search every operator on the launch's thread for the shortest that holds the launch."""
    holding = [
        op
        for op in file.complete("cpu_op")
        if (op["pid"], op["tid"]) == (launch["pid"], launch["tid"])
        and op["ts"] <= launch["ts"]
        and launch["ts"] + launch["dur"] <= op["ts"] + op["dur"]
    ]
    return min(holding, key=lambda op: op["dur"], default=None)


@RECORDINGS
def test_as_many_spans_as_the_readme_counts(recorded, name: str) -> None:
    file = recorded(name)
    stored = Counter(span.tags["category"] for span in file.timeline)
    assert {category: stored[category] for category in README[name]} == README[name]
    complete = Counter(e["cat"] for e in file.events if e["ph"] == "X")
    del complete["Trace"]  # the profiler's own window, kept as such
    assert stored == complete
    assert file.timeline.complete and not file.timeline.missing
    assert not file.timeline.ambiguous.any() and not file.timeline.repaired


@RECORDINGS
def test_every_event_is_kept_or_counted(recorded, name: str) -> None:
    file = recorded(name)
    told = file.profile.ledger.told()
    assert sum(count.count for count in told) == len(file.events)
    counted: Counter[tuple[str, str]] = Counter()
    for count in told:
        counted[count.category, count.phase] += count.count
        assert count.became or count.reason
    of_file = Counter(
        (e.get("cat") or (e["name"] if e["ph"] == "M" else "none"), e["ph"]) for e in file.events
    )
    assert counted == of_file
    samples = [s for s in file.profile.samples.values() if s.name.startswith("memory allocated")]
    assert sum(len(s.values) for s in samples) == of_file["cpu_instant_event", "i"]


@RECORDINGS
def test_every_kernel_lies_under_its_launchs_operator(recorded, name: str) -> None:
    file = recorded(name)
    launches = {e["args"]["correlation"]: e for e in file.complete("cuda_runtime", "cuda_driver")}
    work = {(e["cat"], e["args"]["correlation"]): e for e in file.complete(*ASYNCHRONOUS)}
    assert len(work) == len(file.complete(*ASYNCHRONOUS))
    beyond = without = 0
    for (category, correlation), event in work.items():
        (span,) = (s for s in file.at(category) if s.correlation_id == correlation)
        operator = tightest_operator(file, launches[correlation])
        parent = file.spans.get(span.parent_id)
        if operator is None:  # synchronising outside any: in an annotation, or after the last
            assert category == "cuda_sync"
            assert parent is None or parent.tags["category"] == "user_annotation"
            without += 1
            continue
        assert parent is not None
        assert parent.name == operator["name"]
        assert parent.tags["Ev Idx"] == operator["args"]["Ev Idx"]  # of its kind, just this one
        beyond += event["ts"] + event["dur"] > operator["ts"] + operator["dur"]
    assert without == (5 if name == "a100-alexnet" else 0)
    kernels = name != "a100-counters"
    assert (beyond > 0) == kernels, "these files have kernels that end after their operator"


def test_every_counter_range_has_its_counters_and_its_operator(recorded) -> None:
    file = recorded("a100-counters")
    ranges = sorted(file.complete("cuda_profiler_range"), key=lambda e: e["ts"])
    launches = sorted(
        (e for e in file.complete("cuda_runtime") if e["name"] == "cudaLaunchKernel"),
        key=lambda e: e["ts"],
    )
    assert len(ranges) == len(launches) == 77
    for span, event, launch in zip(
        sorted(file.at("cuda_profiler_range"), key=lambda s: s.start_ns),
        ranges, launches, strict=True,
    ):  # fmt: skip
        assert span.name == event["name"] and span.tags["counters"] == event["args"]
        assert len(span.tags["counters"]) == 9
        assert span.correlation_id == launch["args"]["correlation"]
        operator = tightest_operator(file, launch)
        assert operator and file.spans[span.parent_id].tags["Ev Idx"] == operator["args"]["Ev Idx"]
        assert span.tags["joined_by"] == "order of launches"
        assert "evenly" in span.tags["times"]
    # What a kernel is called fits what its operator does, where both say it.
    fitting = {
        "aten::addmm": "gemm",
        "aten::max_pool2d_with_indices": "max_pool",
        "aten::native_dropout": "dropout",
        "aten::_adaptive_avg_pool2d": "average_pool",
    }
    seen = Counter[str]()
    for span in file.at("cuda_profiler_range"):
        operator_name = file.spans[span.parent_id].name
        if operator_name in fitting and "epilogue" not in span.name:
            assert fitting[operator_name] in span.name
            seen[operator_name] += 1
    assert seen["aten::addmm"] == 6 and len(seen) == 4


@RECORDINGS
def test_the_devices_that_it_ran_on(recorded, name: str) -> None:
    file = recorded(name)
    wanted, count = DEVICES[name]
    (device,) = file.profile.devices
    assert (device.kind, device.name, device.count) == ("gpu", wanted, count)
    assert device.memory_bytes == file.raw["deviceProperties"][0]["totalGlobalMem"]


@BERTS
def test_times_are_the_epochs(recorded, name: str) -> None:
    """The recording's author wrote down when it was: two seconds after the profile began."""
    file = recorded(name)
    written_s = float(file.raw["metadata"]["timestamp"])
    first_ns = min(span.start_ns for span in file.timeline)
    assert 0 < written_s - first_ns / 1e9 < 10
    (step,) = (e for e in file.events if e["name"] == "ProfilerStep#6" and e["pid"] > 10)
    (span,) = (s for s in file.timeline if s.level == 2)
    assert span.start_ns == file.raw["baseTimeNanoseconds"] + int(step["ts"] * 1000)
    assert span.duration_ns == int(step["dur"] * 1000)


@BERTS
def test_one_call_holds_modules_operators_and_kernels(recorded, name: str) -> None:
    file = recorded(name)
    for kernel in file.at("kernel"):
        names = [span.name for span in file.above(kernel)]
        assert names[0].startswith(("aten::", "triton", "flash", "TorchDynamo"))
        assert "ProfilerStep#6" in names and "nn.Module: BertLMHeadModel_0" in names
    layers = file.profile.layers
    assert [layer.index for layer in layers] == list(range(len(layers)))
    linear = next(layer for layer in layers if layer.name == "aten::linear")
    raw = next(e for e in file.complete("cpu_op") if e["name"] == "aten::linear")
    shape, *_ = raw["args"]["Input Dims"]
    assert linear.inputs[0].shape == shape == [1, 141, 512]
    assert linear.inputs[0].dtype == "bfloat16" and raw["args"]["Input type"][0] == "c10::BFloat16"


@BERTS
def test_python_functions_lie_in_their_callers(recorded, name: str) -> None:
    """Python's own stack, except where the step lies between a function and its caller."""
    file = recorded(name)
    functions = {e["args"]["Python id"]: e for e in file.complete("python_function")}
    between = 0
    for span in file.at("python_function"):
        caller = functions.get(span.tags["Python parent id"])
        parent = file.spans.get(span.parent_id)
        if parent is not None and parent.name.startswith("ProfilerStep#"):
            between += 1
        elif caller is not None:
            assert parent and parent.tags["Python id"] == caller["args"]["Python id"]
        else:
            assert parent is None
    assert 0 < between < 20


def test_annotations_name_the_calls_where_nothing_else_does(recordings: Path) -> None:
    path = recordings / "gpu_traces" / "a100-alexnet.json.gz"
    assert "--call" in Recorded(path).profile.unavailable["model calls"]
    file = Recorded(path, Options(call="measure|forward"))
    raw = [e for e in file.complete("user_annotation") if "measure|forward" in e["name"]]
    outer, inner = sorted(raw, key=lambda e: e["ts"])
    assert inner["ts"] + inner["dur"] < outer["ts"] + outer["dur"]  # so there is one call
    (call,) = file.timeline.at("model")
    assert (call.start_ns, call.duration_ns) == (outer["ts"] * 1000, outer["dur"] * 1000)
    # AlexNet: 5 convolutions, 3 pools and 1 adaptive one, 7 rectifiers, 3 linear, 2 dropouts.
    found = Counter(layer.name for layer in file.profile.layers)
    wanted = {"aten::conv2d": 5, "aten::max_pool2d": 3, "aten::adaptive_avg_pool2d": 1,
              "aten::relu_": 7, "aten::linear": 3, "aten::dropout": 2}  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    nothing = Recorded(path, Options(call="no such thing")).profile
    assert not nothing.calls and "no such thing" in nothing.unavailable["model calls"]


def test_a_backward_thread_lies_in_the_step_that_waits_for_it(recorded) -> None:
    file = recorded("mi250-toy")
    backward = [s for s in file.at("cpu_op") if s.name.startswith("autograd::engine")]
    assert backward
    for span in backward:
        assert [up.name for up in file.above(span)] == ["ProfilerStep#1"]
    shadow = {s.name: file.spans[s.parent_id].name for s in file.at("gpu_user_annotation")}
    assert shadow == {name: name for name in ("ProfilerStep#1", "Optimizer.step#SGD.step")}


@RECORDINGS
def test_what_is_said_of_arrows_is_true(recorded, name: str) -> None:
    """They are not kept: a correlation id says the same, or a sequence number does."""
    file = recorded(name)
    ids = {e["args"]["correlation"] for e in file.complete("cuda_runtime", "cuda_driver")}
    assert {e["id"] for e in file.events if e.get("cat") == "ac2g"} <= ids
    for arrow in (e for e in file.events if e.get("cat") == "fwdbwd"):
        ends = [
            op for op in file.complete("cpu_op")
            if op["tid"] == arrow["tid"] and op["ts"] <= arrow["ts"] <= op["ts"] + op["dur"]
        ]  # fmt: skip
        assert any("Sequence number" in op["args"] for op in ends)


@RECORDINGS
def test_the_arguments_are_all_there(recorded, name: str) -> None:
    file = recorded(name)
    for event in file.complete("kernel", "cpu_op")[::7]:
        key = "correlation" if event["cat"] == "kernel" else "Ev Idx"
        (span,) = (s for s in file.at(event["cat"]) if s.tags.get(key) == event["args"][key])
        assert span.name == event["name"]
        kept = {key: span.tags[key] for key in event["args"]}
        assert kept == json.loads(json.dumps(event["args"], default=float))


@pytest.mark.parametrize("asked", ["launches", "cudaDeviceSynchronize"])
def test_which_runtime_calls_are_kept_is_a_choice(recordings: Path, asked: str) -> None:
    path = recordings / "gpu_traces" / "a100-alexnet.json.gz"
    whole, some = Recorded(path), Recorded(path, Options(cuda_runtime=asked))
    kept = [span.name for span in some.at("cuda_runtime")]
    device = {
        e["args"]["correlation"] for e in whole.complete("kernel", "gpu_memcpy", "gpu_memset")
    }
    device |= {e["args"]["correlation"] for e in whole.complete("cuda_sync")}
    expected = [
        event["name"]
        for event in whole.complete("cuda_runtime")
        if event["args"]["correlation"] in device or event["name"] == asked
    ]
    assert sorted(kept) == sorted(expected) and len(kept) < 361
    (left_out,) = [e for e in some.profile.ledger.told() if "not asked for" in e.reason]
    assert left_out.count == 361 - len(kept)
    kernels = [(span.name, span.parent_id) for span in some.at("kernel")]
    assert kernels == [(span.name, span.parent_id) for span in whole.at("kernel")]


def test_launches_of_counted_kernels_are_kept(recordings: Path) -> None:
    options = Options(cuda_runtime="launches")
    some = Recorded(recordings / "gpu_traces" / "a100-counters.json.gz", options)
    assert len(some.at("cuda_profiler_range")) == len(some.at("cuda_runtime")) == 77
    assert all(span.correlation_id for span in some.at("cuda_profiler_range"))
