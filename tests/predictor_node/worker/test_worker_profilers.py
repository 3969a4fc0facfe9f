"""The door: a profiler of one's own is loaded, entered around the measured loop, and told of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from predictor_node.worker import profilers
from predictor_node.worker.errors import WorkerError
from predictor_node.worker.profilers.periodic import sampled
from predictor_node.worker.trace import LEVELS, Clock, Times, Trace

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


# ---------------------------------------------------------------- bounds


@pytest.fixture
def session(tmp_path: Path) -> profilers.Session:
    """A profiler's view of a run, whose spans are kept until they fill a block."""
    return profilers.Session(
        run=None,  # type: ignore[arg-type]
        framework="none",
        plugin=None,
        handle=None,
        folder=str(tmp_path),
        settings={},
        thread=1,
        times=Times(0),
        trace=Trace(0, 0, Clock(), lambda frame: None),
    )


def test_what_is_beyond_the_bounds_is_counted(
    session: profilers.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorkerError, match="did you mean system"):
        session.add_sample("s", "", "sistem", 0, 1)
    monkeypatch.setattr(profilers, "MOST_SPANS", 3)
    monkeypatch.setattr(profilers, "MOST_SAMPLES", 2)
    session.trace.begin_run(0, LEVELS.index("system"))
    for number in range(5):
        session.add_span("system", "s", number, 1, 1, {})
        session.add_sample("s", "", "system", number, number)
    assert (session.kept.spans, session.trace.lost) == (3, 2)
    assert (session.kept.sample_count, session.kept.lost_samples) == (2, 3)


def test_a_thread_samples_beside_the_loop(session: profilers.Session) -> None:
    taken = iter(range(1000))
    with sampled(session, "hardware", 0.01, lambda: {("power", "watts"): float(next(taken))}):
        time.sleep(0.1)
    times_ns, values = session.kept.samples["power", "watts", "hardware"]
    assert values == [float(number) for number in range(len(values))] and 3 <= len(values) <= 12
    assert times_ns == sorted(times_ns)
    assert "profiler" not in {thread.name for thread in threading.enumerate()}


def test_a_sampled_thing_that_goes_away_is_told(session: profilers.Session) -> None:
    taken = iter([{("power", "watts"): 1.0}])
    with sampled(session, "hardware", 0.01, lambda: next(taken)):
        time.sleep(0.05)
    assert session.kept.samples["power", "watts", "hardware"][1] == [1.0]
    assert session.kept.reasons == ["it could be read no longer: StopIteration: "]
