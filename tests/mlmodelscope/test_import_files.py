"""Files of every kind: what is wrong with each is named, and what is odd is still counted whole."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import codec
from bus.errors import InputError
from collector.timeline import assemble
from mlmodelscope.importing import batches, facts
from mlmodelscope.importing.events import nanoseconds
from mlmodelscope.importing.files import content
from mlmodelscope.importing.profile import Options
from mlmodelscope.importing.reading import read, silently

OP = {"ph": "X", "cat": "cpu_op", "name": "aten::relu", "pid": 7, "tid": 7, "ts": 10, "dur": 5}
GOOD = json.dumps({"schemaVersion": 1, "traceEvents": [OP]}).encode()


def written(folder: Path, data: bytes, name: str = "trace.json") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


FAULTS = {
    "no JSON": (b"\x89PNG\r\n\x1a\n....", "is not JSON: it begins with b'\\x89PNG"),
    "empty": (b"", "is empty"),
    "white space": (b" \n ", "is empty"),
    "gzip cut off": (gzip.compress(GOOD * 50)[:-40], "is cut off: its gzip data ends"),
    "gzip damaged": (gzip.compress(GOOD)[:-8] + b"\1" * 8, "is damaged"),
    "JSON cut off": (GOOD[:-3], "its JSON ends in the middle"),
    "JSON damaged": (GOOD.replace(b'"cat":', b'"cat"'), "is not JSON"),
    "nested without end": (b"[" * 100_000, "is not JSON"),
    "another object": (b'{"nodes": [], "version": 3}', "JSON without traceEvents (its keys: nodes"),
    "events of another kind": (b'{"traceEvents": {"a": 1}}', "traceEvents are no array"),
    "no events": (b'{"schemaVersion": 1, "traceEvents": []}', "holds no events"),
    "no array of events": (b"[1, 2, 3]", "3 entries, none of them an event"),
    "nothing that took time": (
        b'[{"ph": "M", "name": "process_name", "args": {"name": "x"}}]',
        "holds no event that took time (only 1 process_name (M))",
    ),
}


@pytest.mark.parametrize(("data", "says"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)
    assert "expected" in str(caught.value) or "cut off" in says or "middle" in says or "dam" in says


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=says):
            read(path)


def test_a_small_file_cannot_fill_the_memory(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b" " * 10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(InputError, match="more than 5,000,000 bytes unpacked"):
        content(path, silently, limit_bytes=5_000_000)


def test_zipped_or_not_it_is_the_same_content(tmp_path: Path) -> None:
    plain = read(written(tmp_path, GOOD, "a.json"))[0]
    zipped = read(written(tmp_path, gzip.compress(GOOD), "misnamed.json"))[0]
    assert plain.sha256 == zipped.sha256 and plain.data == zipped.data


def test_numbers_that_kineto_writes_and_json_does_not_know(tmp_path: Path) -> None:
    """Kineto writes `inf` for a bandwidth over no time; a name may say `, nan,` and keep it."""
    args = b'{"memory bandwidth (GB/s)": inf, "x": [-nan, NaN, 1], "name": "f(inf, nan)"}'
    event = json.dumps(OP | {"args": "ARGS"}).encode().replace(b'"ARGS"', args)
    _, profile = read(written(tmp_path, b'{"schemaVersion": 1, "traceEvents": [' + event + b"]}"))
    assert json.loads(profile.spans.args[0].__reduce__()[1][0]) == {
        "memory bandwidth (GB/s)": None, "x": [None, None, 1], "name": "f(inf, nan)",
    }  # fmt: skip
    assert profile.notes[0] == "3 values written as nan or inf are read as null"


def test_names_of_any_bytes(tmp_path: Path) -> None:
    data = GOOD.replace(b"aten::relu", b"aten::\xff")
    _, profile = read(written(tmp_path, data))
    assert profile.spans.name == ["aten::\N{REPLACEMENT CHARACTER}"]
    assert "UTF-8" in profile.notes[0]


def test_numbers_too_large_to_travel_are_kept_as_text(tmp_path: Path) -> None:
    large = 2**70
    event = OP | {"args": {"a": [large, 1], "b": {"c": -large}}}
    data = json.dumps({"schemaVersion": large, "traceEvents": [event]}).encode()
    held, profile = read(written(tmp_path, data))
    (batch,) = batches.span_batches(profile, facts.names_of(held, Options()))
    (span,) = codec.unpack_rows(batch.block)
    assert span.tags["a"] == [str(large), 1] and span.tags["b"] == {"c": str(-large)}
    assert profile.about["schemaVersion"] == str(large)


def test_what_is_told_of_a_file_is_bounded(tmp_path: Path) -> None:
    """A message carries 8 MB, whatever a file holds."""
    events = [OP | {"cat": f"c{n}", "tid": n + 1} for n in range(12_000)]
    events += [{"ph": "i", "s": "g", "name": "mark", "ts": n} for n in range(1_500)]
    held, profile = read(written(tmp_path, json.dumps(events).encode()))
    names = facts.names_of(held, Options())
    started, *_ = facts.facts(facts.Import(held, profile, Options(), names), 0, 1)
    assert len(codec.encode(started)) < 1_000_000
    counts = facts.recording(held, profile).events
    assert sum(count.count for count in counts) == len(events) and len(counts) < 510
    assert {(c.count, c.became) for c in counts if c.phase == "i"} == {
        (1000, "metadata"),
        (500, ""),
    }
    assert "10,000 of 12,000 threads" in facts.recording(held, profile).notes[-1]


# Microseconds as written -> nanoseconds, by hand: an epoch time keeps all its digits.
TIMES = {
    "1695835542514261": 1695835542514261000,
    "1695835542514261.5": 1695835542514261500,
    "1695835542514261.123": 1695835542514261123,
    "4203669604595.407": 4203669604595407,
    "0.0004": 0,
    "0.0006": 1,
    "-2.5": -2500,
    "1.5e3": 1500000,
    "1e999999999": None,
    '"12"': None,
    "null": None,
    "": None,
}


@pytest.mark.parametrize(("written_us", "wanted_ns"), TIMES.items())
def test_times_to_the_nanosecond(written_us: str, wanted_ns: int | None) -> None:
    import msgspec

    assert nanoseconds(msgspec.Raw(written_us.encode())) == wanted_ns


def test_another_chrome_trace_becomes_application_spans(tmp_path: Path) -> None:
    def event(ph: str, ts: int, **more: Any) -> dict[str, Any]:
        return {"ph": ph, "pid": 1, "tid": 2, "ts": ts, **more}

    events = [
        event("B", 0, name="outer"),
        event("X", 10, name="inner", dur=20, cat="work"),
        event("i", 15, name="point", s="t"),
        event("E", 100),
        event("E", 101),
        event("B", 102, name="open"),
        event("C", 5, name="queue", args={"length": 3, "name": "x"}),
        event("i", 7, name="mark", s="g"),
        event("b", 7, name="asynchronous"),
        event("X", 200, name="predict", dur=50, cat="model"),
        {"ph": "X", "name": "timeless"},
        "no event",
    ]
    _, profile = read(written(tmp_path, json.dumps(events).encode()))
    spans = profile.spans
    found = {n: (s, d, lev) for n, s, d, lev in zip(
        spans.name, spans.start_ns, spans.duration_ns, spans.level, strict=True)}  # fmt: skip
    assert found == {
        "inner": (10_000, 20_000, 1), "point": (15_000, 0, 1), "outer": (0, 100_000, 1),
        "predict": (200_000, 50_000, 2),
    }  # fmt: skip
    counted = {(e.category, e.phase, e.became): (e.count, e.reason) for e in profile.ledger.told()}
    assert sum(count for count, _ in counted.values()) == len(events)
    assert counted["none", "E", ""][1] == "an end without its beginning"
    assert counted["none", "B", ""][1] == "a beginning without its end"
    assert counted["none", "b", ""][1] == "a phase that is not read"
    assert counted["none", "C", "metric"][0] == counted["none", "i", "metadata"][0] == 1
    (samples,) = profile.samples.values()
    assert (samples.name, samples.times_ns, samples.values) == ("queue length", [5000], [3.0])
    assert [spans.name[row] for row in profile.calls] == ["predict"]
    assert "leaves out" in profile.clock


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
events = st.fixed_dictionaries(
    {},
    optional={
        "ph": st.sampled_from([*"XBEiIMCstfbP", 3, None]),
        "cat": st.sampled_from(["cpu_op", "kernel", "cuda_runtime", "python_function", "Trace",
                                "cuda_profiler_range", "user_annotation", "Node", "other", 5]),
        "name": st.sampled_from(["ProfilerStep#1", "nn.Module: A", "[memory]", "cudaLaunchKernel",
                                 "thread_name", "process_labels"]) | anything,
        "pid": st.integers(0, 3) | anything,
        "tid": st.integers(-1, 3) | anything,
        "ts": st.integers(0, 50) | st.floats(0, 50) | anything,
        "dur": st.integers(0, 20) | anything,
        "s": st.sampled_from(["g", "t"]),
        "args": st.fixed_dictionaries({}, optional={
            "correlation": st.integers(0, 3) | anything, "External id": st.integers(0, 3),
            "Python id": st.integers(1, 3) | anything, "Python parent id": st.integers(0, 3),
            "Bytes": st.integers(), "Device Type": anything, "Input Dims": anything,
            "Input type": anything, "name": anything,
        }) | anything,
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(events | anything, max_size=12), st.booleans(), st.sampled_from(["", "A"]))
def test_whatever_events_there_are_all_are_counted(
    tmp_path_factory: pytest.TempPathFactory, given_: list[Any], alone: bool, call: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    whole = given_ if alone else {"schemaVersion": 1, "traceEvents": given_, "deviceProperties": 3}
    path.write_text(json.dumps(whole))
    try:
        held, profile = read(path, Options(call=call))
    except InputError:
        return
    assert profile.ledger.total() == len(given_)
    names = facts.names_of(held, Options())
    sent = list(batches.span_batches(profile, names))
    assert sum(batch.count for batch in sent) == len(profile.spans)
    told = list(facts.facts(facts.Import(held, profile, Options(), names), 0, len(sent)))
    assert len(assemble(sent, [])) == len(profile.spans)
    assert told
