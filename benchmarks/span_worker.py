"""A worker that only traces: writes the spans it is asked for down its pipe, as every worker does.

python -m benchmarks.span_worker COUNT      begins at a line on stdin; frames come out on stdout
"""

from __future__ import annotations

import gc
import os
import sys
import time

from benchmarks.span_rows import FRAMEWORK, spans
from predictor_node.worker.frames import Sender
from predictor_node.worker.trace import Clock, Trace


def main(count: int) -> None:
    made = list(spans(count, time.perf_counter_ns()))
    gc.freeze()  # a worker holds no such list for the collector to walk
    say = Sender(os.dup(sys.stdout.fileno()))
    trace = Trace(1 << 32, 1, Clock(), say)
    trace.begin_run(0, FRAMEWORK)
    say({"said": "ready"})
    sys.stdin.readline()
    for span in made:
        trace.add(FRAMEWORK, span.name, span.start_ns, span.duration_ns, span.tags)
    trace.flush()
    say({"said": "finished", "spans": dict(trace.emitted)})


if __name__ == "__main__":
    main(int(sys.argv[1]))
