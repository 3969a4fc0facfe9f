"""A worker that only traces: writes the spans it is asked for down its pipe, as every worker does.

python -m benchmarks.span_worker COUNT [SECONDS]    begins at a line on stdin, frames on stdout;
for SECONDS it gives the same COUNT spans again and again, as fast as it can
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time

from benchmarks.span_rows import FRAMEWORK, spans
from predictor_node.worker.frames import Sender
from predictor_node.worker.trace import Clock, Trace


def main(count: int, seconds: float = 0.0) -> None:
    made = list(spans(count, time.perf_counter_ns()))
    gc.freeze()  # a worker holds no such list for the collector to walk
    say = Sender(os.dup(sys.stdout.fileno()))
    trace = Trace(1 << 32, 1, Clock(), say)
    trace.begin_run(0, FRAMEWORK)
    say({"said": "ready"})
    sys.stdin.readline()
    until_s = time.monotonic() + seconds
    while True:
        for span in made:
            trace.add(FRAMEWORK, span.name, span.start_ns, span.duration_ns, span.tags)
        if time.monotonic() >= until_s:
            break
    trace.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    say({"said": "finished", "spans": dict(trace.emitted), "peak_bytes": peak})


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(float, sys.argv[2:]))
