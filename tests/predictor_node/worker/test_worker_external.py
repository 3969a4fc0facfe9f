"""An executable as a framework: what it says is believed only when it fits, and it never stays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import PIL
import pytest

from predictor_node import worker
from predictor_node.worker import frameworks
from predictor_node.worker.errors import WorkerError
from predictor_node.worker.frameworks import external, external_child

if TYPE_CHECKING:
    from conftest import MakeJob, Process

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PAGE = ROOT / "docs" / "frameworks-external.md"
X = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
MODEL, FRAMEWORK = 2, 3

MakeExecutable = Callable[..., Path]


@pytest.fixture
def make_executable(tmp_path: Path) -> MakeExecutable:
    """The doubling executable under a name of one's choice."""

    def make(name: str = "doubling") -> Path:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\n{(HERE / 'doubling.py').read_text()}")
        path.chmod(0o755)
        return path

    return make


def opened(path: Path, profile: bool = False, **arguments: Any) -> tuple[Any, Any]:
    framework = frameworks.load("doubling", str(path))
    return framework, framework.open(
        frameworks.Spec(files={}, arguments=arguments, profile=profile)
    )


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def soon_gone(pid: int) -> bool:
    until_s = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < until_s:
        time.sleep(0.02)
    return gone(pid)


def test_a_path_that_is_no_python_file_is_an_executable(make_executable: MakeExecutable) -> None:
    framework, handle = opened(make_executable())
    assert framework.describe() == {"version": "1.2.3", "devices": ["cpu"], "providers": []}
    assert handle.inputs == [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}]
    assert handle.settings == {"device": "cpu", "threads": 1}
    for batch in (X, X[:1], X[::-1], np.asfortranarray(X)):
        (made,) = framework.predict(handle, {"x": batch})
        assert made.tolist() == (batch * 2).tolist()
    framework.close(handle)


def test_a_tensor_larger_than_the_pipe_arrives_whole(make_executable: MakeExecutable) -> None:
    framework, handle = opened(make_executable(), shape=["batch", "any"])
    large = np.arange(3_000_000, dtype=np.float32).reshape(3, -1)
    (made,) = framework.predict(handle, {"x": large})
    assert made.tolist() == (large[:, :4] * 2).tolist()
    framework.close(handle)


FAULTS: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "its end": (
        {"fault": "exit"},
        "framework",
        ["doubling", "ended with code 3", "asked to predict,", "out of luck"],
    ),
    "its crash": ({"fault": "segfault"}, "framework", ["was killed by SIGSEGV"]),
    "its silence": ({"fault": "mute"}, "framework", ["closed its standard output and went on"]),
    "an endless frame": ({"fault": "oversize"}, "framework", ["4294967295 bytes", "at most 268"]),
    "a print": ({"fault": "printed"}, "framework", ["b'Hell'", "logs belong on standard error"]),
    "noise": ({"fault": "no messagepack"}, "framework", ["not MessagePack"]),
    "a list": ({"fault": "a list"}, "framework", ["holds a list; a map was expected"]),
    "a strange key": ({"fault": "a key that is a list"}, "framework", ["not MessagePack"]),
    "half a frame": ({"fault": "half a frame"}, "framework", ["ended with code 0"]),
    "another word": ({"fault": "another word"}, "framework", ["'opened'", "'predicted' was exp"]),
    "a failure": ({"fault": "failed"}, "input", ["doubling says: the row is odd"]),
    "an unknown kind": ({"fault": "an unknown kind"}, "framework", ["no reason given"]),
    "too many rows": (
        {"made": {"shape": [2, 5]}},
        "framework",
        ["output double is float32 [2, 5], which takes 40 bytes; 32 were sent"],
    ),
    "another shape": (
        {"made": {"shape": [8, 1]}},
        "framework",
        ["output double is float32 [8, 1]; it declared float32 [batch, 4]"],
    ),
    "a shape to guess": (
        {"made": {"shape": [-1, 4]}},
        "framework",
        ["is float32 [-1, 4]; it declared"],
    ),
    "another dtype": (
        {"made": {"dtype": "int32"}},
        "framework",
        ["is int32 [2, 4]; it declared float32"],
    ),
    "an unknown dtype": ({"made": {"dtype": "complex"}}, "framework", ["'complex'; known: float"]),
    "text for bytes": ({"made": {"data": "12"}}, "framework", ["has str as data; bytes are"]),
    "no tensor": ({"outputs": [3]}, "framework", ["is 3; dtype, shape and data are expected"]),
    "no outputs": ({"outputs": []}, "framework", ["0 outputs were sent; a list of double is"]),
    "outputs that are a map": ({"outputs": {}}, "framework", ["dict were sent"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_an_executable_does_wrong_is_named(make_executable: MakeExecutable, case: str) -> None:
    arguments, kind, words = FAULTS[case]
    framework, handle = opened(make_executable(), **arguments)
    with pytest.raises(WorkerError) as caught:
        framework.predict(handle, {"x": X})
    assert caught.value.kind == kind
    for word in words:
        assert word in caught.value.text
    process = handle.child._process
    framework.close(handle)
    assert process.poll() is not None


def test_one_that_is_lost_stays_lost(make_executable: MakeExecutable) -> None:
    framework, handle = opened(make_executable(), fault="exit")
    for _ in range(2):
        with pytest.raises(WorkerError, match="ended with code 3"):
            framework.predict(handle, {"x": X})
    framework.close(handle)


OPENED: dict[str, tuple[dict[str, Any], str]] = {
    "no inputs": ({"inputs": []}, "its inputs are []; a list of name, dtype and shape"),
    "inputs that are text": ({"inputs": "x"}, "its inputs are 'x'"),
    "no name": ({"outputs": [{"dtype": "float32", "shape": []}]}, "a list of name, dtype"),
    "no dtype": ({"outputs": [{"name": "y", "shape": [4]}]}, "y in its outputs is of dtype None"),
    "no shape": ({"outputs": [{"name": "y", "dtype": "int8"}]}, "y in its outputs has the shape"),
    "a negative size": (
        {"outputs": [{"name": "y", "dtype": "int8", "shape": [-3]}]},
        "has the shape [-3]; sizes, or names",
    ),
    "a name twice": (
        {"inputs": [{"name": "x", "dtype": "int8", "shape": [1]}] * 2},
        "its inputs bear one name twice",
    ),
    "settings that are a list": ({"settings": []}, "settings and providers of a model"),
}


@pytest.mark.parametrize("case", OPENED)
def test_what_a_model_declares_is_checked(make_executable: MakeExecutable, case: str) -> None:
    changes, words = OPENED[case]
    with pytest.raises(WorkerError, match=re.escape(words)):
        opened(make_executable(), opened=changes)


DESCRIBED = {
    "doubling-newer": "it speaks protocol 2; this worker speaks 1",
    "doubling-nameless": "version is None and devices are ['cpu']",
    "doubling-dying": "asked to describe, ended with code 1; .* no library here",
    "doubling-silent": "asked to describe, did not answer in time",
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_one_that_cannot_be_used_says_why(
    make_executable: MakeExecutable, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "DESCRIBE_S", 0.6 if name == "doubling-silent" else 20)
    words = DESCRIBED[name]
    with pytest.raises(WorkerError, match=words if ".*" in words else re.escape(words)):
        frameworks.load(name, str(make_executable(name))).describe()


def test_what_is_no_executable_is_refused_before_it_runs(tmp_path: Path) -> None:
    text = tmp_path / "notes"
    text.write_text("to do: buy milk")
    with pytest.raises(WorkerError, match=r"notes, .* may not be run: chmod \+x it"):
        frameworks.load("notes", str(text)).describe()
    with pytest.raises(WorkerError, match="has no executable at .*absent"):
        frameworks.load("absent", str(tmp_path / "absent")).describe()
    text.chmod(0o755)
    with pytest.raises(WorkerError, match="ended with code 126; .*Exec format error.* a #! line"):
        frameworks.load("notes", str(text)).describe()


BATCHES: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "another shape": ({"x": X[:, :3]}, "x takes float32 [batch, 4]; float32 [2, 3] was given"),
    "another dtype": ({"x": X.astype(np.int32)}, "x takes float32 [batch, 4]; int32 [2, 4]"),
    "another name": ({"y": X}, "the model's inputs are x; y were given"),
    "nothing": ({}, "the model's inputs are x; none were given"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_wrong_batch_is_refused_and_the_next_one_runs(
    make_executable: MakeExecutable, case: str
) -> None:
    batch, words = BATCHES[case]
    framework, handle = opened(make_executable())
    with pytest.raises(WorkerError, match=re.escape(words)) as caught:
        framework.predict(handle, batch)
    assert caught.value.kind == "request"
    assert framework.predict(handle, {"x": X})[0].tolist() == (X * 2).tolist()
    framework.close(handle)


@pytest.mark.parametrize("fault", ["hang", "never closed"])
def test_one_that_hangs_is_ended_with_its_model(
    make_executable: MakeExecutable, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_child, "END_S", 0.2)
    framework, handle = opened(make_executable(), fault=fault)
    if fault == "hang":
        handle.child.write("predict", [b"\0\0\0\x01"])  # it waits for the rest of a frame
    begin_s = time.monotonic()
    framework.close(handle)
    assert time.monotonic() - begin_s < 2
    assert handle.child._process.returncode is not None


def hanging_job(make_job: MakeJob, path: Path, pid_file: Path) -> dict[str, Any]:
    arguments = {"input": "images", "shape": ["batch", 3, 224, 224]}
    arguments |= {"fault": "hang", "pid_file": str(pid_file)}
    model = {"name": "Double", "version": "1.0.0", "key": "double", "files": {}}
    return make_job(
        framework="doubling",
        plugin=str(path),
        model=model | {"arguments": arguments},
        outputs=[{"type": "feature", "name": "double"}],
        settings={"device": "cpu"},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("how", ["the worker is killed", "the node dies"])
def test_no_executable_outlives_its_worker(
    fresh_worker: Process,
    make_job: MakeJob,
    make_executable: MakeExecutable,
    tmp_path: Path,
    how: str,
) -> None:
    fresh_worker.tell(
        {"do": "run", "job": hanging_job(make_job, make_executable(), tmp_path / "p")}
    )
    while fresh_worker.hear()["said"] != "opened":
        pass
    pid = int((tmp_path / "p").read_text())
    while not (tmp_path / "p.hanging").exists():  # deaf, to the end of its standard input too
        time.sleep(0.02)
    assert not gone(pid)
    if how == "the worker is killed":
        fresh_worker.popen.kill()
    else:
        os.close(fresh_worker.writing)
    assert soon_gone(pid)


def test_a_worker_runs_an_executable_as_any_framework(
    shared_worker: Process, make_job: MakeJob, make_executable: MakeExecutable, tmp_path: Path
) -> None:
    job = hanging_job(make_job, make_executable(), tmp_path / "p")
    del job["model"]["arguments"]["fault"]
    job["runs"][0]["level"] = "framework"
    said = shared_worker.run(job)
    assert said.one("finished")["unavailable"] == {}
    assert said.one("opened")["version"] == "1.2.3"
    settings = said.one("opened")["settings"]
    assert settings == {"device": "cpu", "threads": 1, "decoder": f"pillow {PIL.__version__}"}
    assert [each["input"] for each in said.one("predictions")["predictions"]] == [
        "coffee.png",
        "chelsea.png",
    ]
    # The executable timed each of its predictions itself: they lie in the middle of the calls.
    calls, own = said.spans(MODEL), said.spans(FRAMEWORK)
    assert [span["name"] for span in own] == ["predict"] * 4
    for call, inner in zip(calls, own, strict=True):
        assert inner["duration_ns"] == 600
        before_ns = inner["start_ns"] - call["start_ns"]
        assert before_ns == (call["duration_ns"] - 600) // 2
    assert gone(int((tmp_path / "p").read_text()))  # a profiled model is not kept open


def test_an_executable_holds_a_model_warm(
    fresh_worker: Process, make_job: MakeJob, make_executable: MakeExecutable, tmp_path: Path
) -> None:
    job = hanging_job(make_job, make_executable(), tmp_path / "p")
    del job["model"]["arguments"]["fault"]
    names = ("framework", "plugin", "model", "inputs", "outputs", "folder", "settings")
    fresh_worker.tell({"do": "open", "handle": "a", "model": {name: job[name] for name in names}})
    assert fresh_worker.hear()["said"] == "opened"
    for _ in range(2):
        fresh_worker.tell({"do": "predict", "handle": "a", "items": job["items"][:1], "top_k": 1})
        assert fresh_worker.hear()["said"] == "predicted"
    fresh_worker.tell({"do": "close", "handle": "a"})
    assert fresh_worker.hear() == {"said": "closed"}
    assert gone(int((tmp_path / "p").read_text()))


def test_one_that_measures_nothing_has_no_layers(make_executable: MakeExecutable) -> None:
    framework, handle = opened(make_executable("doubling-plain"), profile=True)
    assert framework.layers is None
    framework.close(handle)


def test_layers_are_paired_with_calls_by_their_number(make_executable: MakeExecutable) -> None:
    framework, handle = opened(make_executable("doubling-layers"), profile=True)
    for _ in range(4):
        framework.predict(handle, {"x": X})
    # One call to warm up, two that count, one after them; 1,000 ns each, 600 its own: 200 before.
    starts_ns, durations_ns = np.array([5000, 7000]), np.array([1000, 1000])
    layers = framework.layers(handle, starts_ns, durations_ns, 1)
    assert [(row["index"], row["name"], row["operator"]) for row in layers.table] == [
        (0, "read", "Read"),
        (1, "double", ""),
    ]
    assert layers.layer.tolist() == [0, 1, 0, 1]
    assert layers.starts_ns.tolist() == [5300, 5500, 7300, 7500]
    assert layers.durations_ns.tolist() == [200, 300, 200, 300]
    framework.close(handle)


LAYERS: dict[str, tuple[dict[str, Any], str]] = {
    "a row that is not there": ({"table": [{"name": "one"}]}, "not among the 1 of its table"),
    "columns of two lengths": ({"call": b"\0" * 8}, "must be equally long"),
    "half a number": ({"call": b"\0" * 5}, "each a row of int64"),
    "a list": ({"call": [1]}, "must be bytes"),
    "no table": ({"table": 3}, "a list of maps, each with a name"),
    "words for bytes": ({"table": [{"name": "a", "output_bytes": "2"}]}, "int is expected"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers_that_make_no_sense_are_refused(make_executable: MakeExecutable, case: str) -> None:
    changes, words = LAYERS[case]
    framework, handle = opened(make_executable("doubling-layers"), profile=True, layers=changes)
    framework.predict(handle, {"x": X})
    with pytest.raises(WorkerError, match=words):
        framework.layers(handle, np.array([0]), np.array([1000]), 0)
    framework.close(handle)


def test_describe_lists_an_executable_beside_modules(make_executable: MakeExecutable) -> None:
    good, dying = make_executable(), make_executable("doubling-dying")
    answer = subprocess.run(
        [
            *(sys.executable, "-c", worker.BOOTSTRAP, str(Path(worker.__file__).parent)),
            *("--describe", f"--plugin=doubling={good}", f"--plugin=dying={dying}"),
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    described = json.loads(answer.stdout)
    (found,) = [each for each in described["frameworks"] if each["plugin"] == str(good)]
    assert found["name"] == "doubling"
    assert (found["version"], found["devices"], found["providers"]) == ("1.2.3", ["cpu"], [])
    (unusable,) = [each for each in described["unusable"] if each["name"] == "dying"]
    assert "no library here" in unusable["text"]


def test_the_documented_exchange_is_the_real_one() -> None:
    """Every frame shown in hexadecimal says what the page says; `predict` byte by byte as sent."""
    shown = re.findall(r"```text\n(\w+)\n((?:[0-9a-f ]+\n)+)```", PAGE.read_text())
    frames = {word: bytes.fromhex(digits) for word, digits in shown}
    assert list(frames) == ["describe", "described", "predict", "predicted"]
    for frame in frames.values():
        assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    said = {word: msgpack.unpackb(frame[4:]) for word, frame in frames.items()}
    assert said["describe"] == {"do": "describe", "protocol": external.PROTOCOL}
    assert said["described"]["version"] == "1.0.0"
    x = np.array([[1, -2]], np.float32)
    declared = [{"name": "x", "dtype": "float32", "shape": ["batch", 2]}]
    heads = external.predict_heads({"x": x}, declared)
    assert b"".join([*heads, x.tobytes()]) == frames["predict"]
    made = external.read_tensor(said["predicted"]["outputs"][0], {**declared[0], "name": "double"})
    assert made.tolist() == [[2, -4]]
