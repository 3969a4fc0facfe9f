"""The system level, for real: what a predict does to the operating system is in its span's tags."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from predictor_node.worker.profilers import perf_events, syscalls, system, system_counters
from predictor_node.worker.profilers.perf_events import SOFTWARE, Event, NotCounted

MakeJob = Callable[..., dict[str, Any]]
PROFILERS = {"system": system.__file__}
PAGES, WRITTEN, READ, SLEEPS, BUSY_S = 300, 40_000, 7_000, 3, 0.02
DEEDS = f'''
"""A framework that does nothing but known deeds."""
import mmap, os, time
import numpy as np

class Handle:
    def __init__(self, folder):
        self.file = os.open(os.path.join(folder, "deeds"), os.O_RDWR | os.O_CREAT)
        self.inputs = [{{"name": "images", "dtype": "float32", "shape": [1, 3, 224, 224]}}]
        self.outputs = [{{"name": "logits", "dtype": "float32", "shape": [1, 1000]}}]
        self.settings = {{}}

def describe():
    return {{"version": "1.0.0", "devices": ["cpu"], "providers": []}}

def open(spec):
    return Handle(spec.folder)

def close(handle):
    os.close(handle.file)

def predict(handle, batch):
    memory = mmap.mmap(-1, {PAGES} * 4096)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range({PAGES}):
        memory[page * 4096] = 1
    memory.close()
    os.pwrite(handle.file, b"x" * {WRITTEN}, 0)
    os.pread(handle.file, {READ}, 0)
    for _ in range({SLEEPS}):
        time.sleep(0.001)
    end = time.thread_time() + {BUSY_S}
    while time.thread_time() < end:
        pass
    return [np.full((len(batch["images"]), 1000), 0.25, np.float32)]
'''


@pytest.fixture
def deeds(shared_worker: Any, make_job: MakeJob, tmp_path: Path) -> Any:
    """What a real worker says of a run at system level of a model whose deeds are known."""
    plugin = tmp_path / "deeds.py"
    plugin.write_text(DEEDS)
    (tmp_path / "work").mkdir()
    job = make_job(
        {"level": "system", "queries": 5, "warmup": 1},
        framework="deeds",
        plugin=str(plugin),
        profilers=PROFILERS,
        folder=str(tmp_path / "work"),
        settings={},
    )
    said = shared_worker.run(job)
    assert said.frames[-1]["said"] == "finished", said.frames[-1]
    return said


def test_each_predict_has_its_counts(deeds: Any) -> None:
    spans = deeds.spans(5)
    predicts = [(s["start_ns"], s["duration_ns"], s["thread"]) for s in deeds.spans(2)]
    assert [(s["start_ns"], s["duration_ns"], s["thread"]) for s in spans] == predicts
    for query, tags in enumerate(span["tags"] for span in spans):
        assert tags["query"] == query
        assert PAGES <= tags["minor_faults"] <= PAGES + 60
        assert tags["major_faults"] == 0
        assert SLEEPS <= tags["voluntary_switches"] <= SLEEPS + 1
        # To the byte: what reading the counters itself reads is taken out again.
        assert (tags["written_bytes"], tags["write_calls"]) == (WRITTEN, 1)
        assert (tags["read_bytes"], tags["read_calls"]) == (READ, 1)
        assert BUSY_S <= tags["cpu_ns"] / 1e9 < BUSY_S * 2
        assert tags["run_delay_ns"] >= 0
    assert "framework" in deeds.one("finished")["unavailable"]  # it reads no layers back


@pytest.mark.skipif(
    bool(why := perf_events.why_not(Event("task_clock_ns", SOFTWARE, 1))), reason=f"perf: {why}"
)
def test_perf_counts_time_and_migrations(deeds: Any) -> None:
    for tags in (span["tags"] for span in deeds.spans(5)):
        assert BUSY_S <= tags["task_clock_ns"] / 1e9 < BUSY_S * 2
        assert abs(tags["task_clock_ns"] - tags["cpu_ns"]) < 5e6
        assert 0 <= tags["cpu_migrations"] <= 20


def test_a_thread_that_ended_meanwhile_is_left_out() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with ExitStack() as stack:
        threads = [threading.get_native_id(), ended.pid]
        for make in (system_counters._delays, system_counters._migrations):
            try:
                counter = make(threads, stack)
            except NotCounted:
                continue
            assert all(value >= 0 for value in counter.read())


@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="no pressure (CONFIG_PSI)")
def test_pressure_is_sampled(deeds: Any) -> None:
    found = {frame["name"]: frame for frame in deeds.all("samples")}
    assert set(found) == {"pressure.cpu", "pressure.memory", "pressure.io"}
    for frame in found.values():
        assert (frame["unit"], frame["level"], frame["run"]) == ("percent", "system", 0)
        assert all(0 <= value <= 100 for value in frame["values"])
        assert frame["times_ns"] == sorted(frame["times_ns"])


# ---------------------------------------------------------------- system calls

TABLE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 61.54    0.000416         416         1           mmap
 38.46    0.000260          13        20         3 futex
  0.00    0.000000           0        12           clock_nanosleep
------ ----------- ----------- --------- --------- ------------------
100.00    0.000676          20        33         3 total
"""


def test_a_table_of_strace_is_read() -> None:
    assert [(call.name, call.calls, call.seconds) for call in syscalls.read_table(TABLE)] == [
        ("mmap", 1, 0.000416),
        ("futex", 20, 0.00026),
        ("clock_nanosleep", 12, 0.0),
    ]


def test_system_calls_are_counted_only_for_whom_asks(
    shared_worker: Any, make_job: MakeJob, tmp_path: Path
) -> None:
    if why := syscalls.available():
        pytest.skip(why)
    (tmp_path / "deeds.py").write_text(DEEDS)
    both = {"syscalls": syscalls.__file__, **PROFILERS}
    (tmp_path / "work").mkdir()
    job = make_job(
        {"level": "full", "queries": 10, "warmup": 1},
        framework="deeds",
        plugin=str(tmp_path / "deeds.py"),
        profilers=both,
        folder=str(tmp_path / "work"),
        settings={},
    )
    unasked = shared_worker.run(job)
    assert "--setting profile.syscalls=strace" in unasked.one("finished")["unavailable"]["full"]
    assert len(unasked.spans(5)) == 10
    assert "bpftrace is not used" in syscalls.wanted({"syscalls": "bpftrace"})
    said = shared_worker.run({**job, "settings": {"profile.syscalls": "strace"}})
    found = {frame["name"]: frame["values"] for frame in said.all("samples")}
    assert found["syscalls.pwrite64"] == [10.0]
    assert found["syscalls.pread64"] == [10.0]
    assert found["syscalls.clock_nanosleep"] == [10.0 * SLEEPS]
    assert found["syscalls.clock_nanosleep.time"][0] >= 0
    assert said.spans(5) == []  # strace looks alone
