"""python -m benchmarks.analyses_side COUNT TAGS: seconds and bytes of all analyses, as JSON.

TAGS: `shared`, as a worker's layers and calls have them, or `own`: each span has others, as in a
recording of a GPU.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import islice
from typing import Any

import msgspec

from analysis.evidence import Evidence
from analysis.fifteen import FIFTEEN, answers, asked_of
from benchmarks.assembly_side import ROWS, traced
from bus import codec
from bus.messages import (
    EvaluationFinished,
    JobFinished,
    JobStarted,
    Message,
    NodeAnnounced,
    Run,
    RunMeasured,
    Span,
    SpansRecorded,
)
from collector.timeline import Timeline, assemble

FACT: dict[str, Any] = {
    "evaluation_id": "e",
    "job_id": "j",
    "attempt": 1,
    "node_id": "n",
    "at_ns": 0,
}
LIBRARY = 4


def evidence(count: int, own_tags: bool) -> tuple[list[Message], Timeline]:
    """A run at library level of so many spans, as the collector gives it back."""
    batches, durations_ns, spans = [], [], traced()
    for number in range(0, count, ROWS):
        rows = [_told(span, own_tags) for span in islice(spans, min(ROWS, count - number))]
        durations_ns += [row.duration_ns for row in rows if row.name == "predict"]
        batches.append(
            SpansRecorded(
                evaluation_id="e",
                job_id="j",
                attempt=1,
                node_id="n",
                source="worker",
                batch=number // ROWS,
                run=0,
                levels={},
                count=len(rows),
                first_start_ns=0,
                last_end_ns=0,
                block=codec.pack_rows(rows),
            )
        )
    node = NodeAnnounced(node_id="n", incarnation="i")
    queries = len(durations_ns)
    started = JobStarted(
        **FACT,
        sequence=0,
        incarnation="i",
        model="M",
        model_version="1",
        model_digest="d",
        framework="pytorch",
        framework_version="1",
        environment="default",
        runs=[Run(index=0, batch_size=1, level="library", queries=queries, warmup=0)],
        node=node,
    )
    measured = RunMeasured(
        **FACT,
        sequence=1,
        run=0,
        batch_size=1,
        level="library",
        scenario="online",
        start_ns=0,
        starts_ns=[0] * queries,
        durations_ns=durations_ns,
    )
    ended = EvaluationFinished(evaluation_id="e", at_ns=0, jobs=[])
    facts = [started, measured, JobFinished(**FACT, sequence=2), ended]
    return facts, assemble(batches, [])


def _told(span: Span, own_tags: bool) -> Span:
    """A primitive with the tags that a library call has."""
    own = {"number": span.span_id} if own_tags else {}
    if span.level != LIBRARY:
        return msgspec.structs.replace(span, tags={**span.tags, **own}) if own else span
    tags = {
        **span.tags,
        **own,
        "library": "onednn",
        "problem": "mb1_ic24oc24_ih56oh56kh3_iw56ow56kw3",
    }
    return msgspec.structs.replace(span, tags=tags)


def main(count: int, own_tags: bool) -> None:
    facts, timeline = evidence(count, own_tags)
    began_s = time.perf_counter()
    asked, each, rows = asked_of(Evidence(facts, timeline)), {}, 0
    for number in FIFTEEN:
        from_s = time.perf_counter()
        (answer,) = answers(asked, [number])
        rows += len(answer.rows)
        each[number] = round(time.perf_counter() - from_s, 4)
    took_s = time.perf_counter() - began_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": took_s, "bytes": peak, "rows": rows, "each": each}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "own")
