"""What is said of a timeline: by the command, to programs, and in words of what is wrong."""

from __future__ import annotations

import json

from bus import codec
from bus.messages import Clock, JobFinished, Span, SpansRecorded
from collector.timeline import Timeline, assemble
from mlmodelscope import completeness


def test_show_says_what_was_emitted_and_stored(mlms) -> None:  # type: ignore[no-untyped-def]
    done = mlms("evaluate", "EfficientNet-Lite0", "--runs", "3", "--output", "json")
    assert done.returncode == 0, done.stderr
    shown = mlms("show", json.loads(done.stdout)["evaluation_id"][:12], "--output", "json")
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)["timeline"]
    assert (told["complete"], told["missing"], told["dropped"]) == (True, "", {})
    assert told["stored"] == told["emitted"] and told["stored"]["model"] == 3
    assert (told["lost"], told["ambiguous"], told["repaired"]) == (0, 0, 0)
    # One machine, whose client, coordinator and node each measured against the collector.
    assert 0 <= told["clock_error_ns"] < 1_000_000_000
    assert told["reference_clock"].startswith("collector@")
    assert {name.split("/")[1] for name in told["clock_errors_ns"]} == {
        "client",
        "coordinator",
        "node",
        "worker",
    }


def lossy() -> Timeline:
    """A layer that could be of two predicts, and losses at two levels of two sources."""
    spans = [Span(1, 0, 2, "p", 0, 60, 1), Span(2, 0, 2, "p", 5, 60, 2), Span(3, 0, 3, "l", 9, 2)]
    batch = SpansRecorded(
        evaluation_id="e",
        job_id="j",
        attempt=1,
        node_id="n1",
        source="worker",
        batch=0,
        levels={"model": 2, "framework": 1},
        count=3,
        first_start_ns=0,
        last_end_ns=65,
        clock=Clock(reference="collector@h", error_ns=1_500_000),
        block=codec.pack_rows(spans),
    )
    finished = JobFinished(
        evaluation_id="e",
        job_id="j",
        attempt=1,
        node_id="n1",
        sequence=0,
        at_ns=0,
        spans={"application": 4, "model": 2, "framework": 1_001},
        span_batches={"worker": 2, "node": 1},
        lost_spans=7,
        emitted={"worker": {"model": 2, "framework": 1_001}, "node": {"application": 4}},
        dropped={"worker": {"library": 7}},
    )
    return assemble([batch], [finished])


def test_a_timeline_that_lost_spans_says_which_level_and_whose() -> None:
    told = completeness.account(lossy())
    assert told["dropped"] == {
        "node": {"application": 4},
        "worker": {"framework": 1_000, "library": 7},
    }
    assert (told["complete"], told["lost"]) == (False, 7)
    missing = (
        "1 of 1 batches of node on n1, 1 of 2 batches of worker on n1, "
        "4 spans of level application from node, 1000 spans of level framework from worker, "
        "7 spans of level library from worker"
    )
    assert told["missing"] == missing
    again = completeness.account(Timeline.from_chunks(lossy().to_chunks()))
    assert again == told == completeness.account(lossy().to_chunks()[0])


def test_in_words() -> None:
    first, unclear, clocks = completeness.words(lossy())
    assert first.startswith("not complete: 1 of 1 batches of node")
    again = "evaluate again with --serialize to have them told apart"
    assert unclear == f"1 spans whose parent is ambiguous ({again})"
    assert clocks == "clocks agree within 1.500 ms"
