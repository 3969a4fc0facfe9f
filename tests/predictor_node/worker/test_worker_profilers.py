"""The door: a profiler of one's own is loaded, entered around the measured loop, and told of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeJob = Callable[..., dict[str, Any]]

WATCH = '''
"""Notes that it was entered, each query, and that it was left."""
from contextlib import contextmanager
from . import Session

LEVEL = "{level}"

def available():
    return {why!r}

class Hook:
    def __init__(self):
        self.before_, self.after_ = [], []
    def before(self, query):
        {trouble}
        self.before_.append(query)
    def after(self, query):
        self.after_.append(query)

@contextmanager
def profile(session: Session):
    assert len(session.starts_ns) == 0
    hook, entered_ns = Hook(), session.now_ns()
    yield hook
    assert hook.before_ == hook.after_ == list(range(session.run.queries))
    assert (session.starts_ns > entered_ns).all()
    for query, (start_ns, took_ns) in enumerate(zip(session.starts_ns, session.durations_ns)):
        tags = {{"query": query, **session.settings}}
        session.add_span(LEVEL, "watched", int(start_ns), int(took_ns), session.thread, tags)
    session.add_sample("watched.queries", "queries", LEVEL, session.now_ns(), len(hook.after_))
'''


def write(folder: Path, name: str = "watch", **words: str) -> dict[str, str]:
    path = folder / f"{name}.py"
    path.write_text(WATCH.format(**({"level": "system", "why": "", "trouble": "pass"} | words)))
    return {name: str(path)}


def runs(*levels: str) -> list[dict[str, Any]]:
    return [
        {"index": index, "batch_size": 1, "level": level, "queries": 3, "warmup": 1}
        for index, level in enumerate(levels)
    ]


def test_a_profiler_looks_at_runs_of_its_level_and_deeper(
    shared_worker: Any, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(
        runs=runs("model", "framework", "system", "full"),
        profilers=write(tmp_path),
        settings={"threads": 1, "profile.colour": "red"},
    )
    said = shared_worker.run(job)
    finished = said.one("finished")
    seen = said.spans(5)
    assert [(span["run"], span["tags"]) for span in seen] == [
        (run, {"query": query, "colour": "red"}) for run in (2, 3) for query in range(3)
    ]
    predicts = {(s["run"], s["start_ns"], s["duration_ns"]) for s in said.spans(2)}
    assert {(s["run"], s["start_ns"], s["duration_ns"]) for s in seen} <= predicts
    assert [
        (s["name"], s["unit"], s["level"], s["run"], s["values"]) for s in said.all("samples")
    ] == [("watched.queries", "queries", "system", run, [3.0]) for run in (2, 3)]
    assert finished["spans"]["system"] == 6 and finished["lost"] == 0
    nobody = "no profiler of this level is known to this node"
    assert finished["unavailable"] == {"library": nobody, "hardware": nobody}


UNABLE = {
    "it cannot": ({"why": "no such counter here"}, "watch: no such counter here"),
    "it fails in a query": (
        {"trouble": "1 / 0"},
        "watch: it failed: ZeroDivisionError: division by zero",
    ),
    "it is broken": ({"level": "sistem"}, None),
}


@pytest.mark.parametrize("case", UNABLE)
def test_what_a_profiler_lacks_is_told(
    shared_worker: Any, make_job: MakeJob, tmp_path: Path, case: str
) -> None:
    words, why = UNABLE[case]
    job = make_job(runs=runs("system"), profilers=write(tmp_path, "watch", **words))
    said = shared_worker.run(job)
    assert len(said.one("measured")["durations_ns"]) == 3
    unavailable = said.one("finished")["unavailable"]
    if why is None:
        assert "LEVEL is 'sistem'" in unavailable["profiler watch"]
        assert unavailable["system"].startswith("no profiler")
    else:
        assert unavailable["system"].startswith(why)
