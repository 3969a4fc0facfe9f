"""One side of the comparison of assemblies, in a process of its own.

python -m benchmarks.assembly_side make FOLDER COUNT           writes the same spans in both forms
python -m benchmarks.assembly_side ours|distinct|json FOLDER   seconds and bytes it took, as JSON

distinct: ours, of spans none of which has the tags of another.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from bus import codec
from bus.messages import Span, SpansRecorded
from collector.timeline import assemble

MODEL, FRAMEWORK, LIBRARY = 2, 3, 4
LAYERS, PRIMITIVES = 40, 3
THREAD = 4711
EPOCH_NS = 1_800_000_000_000_000_000
ROWS = 1_000
BATCHES, DISTINCT, TEXT = "batches.msgpack", "distinct.msgpack", "spans.json"

_batches = msgspec.msgpack.Decoder(list[SpansRecorded])


def traced() -> Iterator[Span]:
    """What a run at library level makes: predicts, their layers, and primitives in each layer.

    No span says its parent, as profilers do not; a layer's tags are the same each time it runs.
    """
    at_ns, number = EPOCH_NS, 1 << 32
    shapes = [{"index": i, "operator": "Conv", "shape": [1, 24 + i, 56, 56]} for i in range(LAYERS)]
    primitives = [{"implementation": f"jit:avx512_{i}", "kind": "forward"} for i in range(LAYERS)]
    query = 0
    while True:
        began_ns, inside = at_ns, []
        for layer in range(LAYERS):
            layer_ns = at_ns
            for part in range(PRIMITIVES):
                number += 1
                name, took_ns = f"convolution_{part}", 800 + 40 * layer
                tags = primitives[layer]
                inside.append(
                    Span(number, 0, LIBRARY, name, at_ns, took_ns, THREAD, 0, tags),
                )
                at_ns += took_ns + 90 * part
            number += 1
            name = f"/blocks.{layer // 6}/Conv_{layer}"
            inside.append(
                Span(
                    number, 0, FRAMEWORK, name, layer_ns, at_ns - layer_ns, THREAD, 0, shapes[layer]
                )
            )
        number += 1
        about = {"query": query, "batch_size": 1}
        yield Span(number, 0, MODEL, "predict", began_ns, at_ns - began_ns, THREAD, 0, about)
        yield from inside
        query, at_ns = query + 1, at_ns + 5_000


def make(folder: Path, count: int) -> None:
    """The spans as a worker's batches, and as JSON: an array of objects with the same fields."""
    spans = list(islice(traced(), count))
    (folder / BATCHES).write_bytes(msgspec.msgpack.encode(batches_of(spans)))
    own = [msgspec.structs.replace(s, tags={**s.tags, "number": s.span_id}) for s in spans]
    (folder / DISTINCT).write_bytes(msgspec.msgpack.encode(batches_of(own)))
    fields = Span.__struct_fields__
    rows = [{name: getattr(span, name) for name in fields} for span in spans]
    (folder / TEXT).write_text(json.dumps(rows))


def batches_of(spans: list[Span]) -> list[SpansRecorded]:
    return [
        SpansRecorded(
            evaluation_id="e",
            job_id="j",
            attempt=1,
            node_id="n",
            source="worker",
            batch=first // ROWS,
            run=0,
            levels={},
            count=ROWS,
            first_start_ns=0,
            last_end_ns=0,
            block=codec.pack_rows(spans[first : first + ROWS]),
        )
        for first in range(0, len(spans), ROWS)
    ]


def ours(folder: Path, file: str = BATCHES) -> Callable[[], Any]:
    batches = _batches.decode((folder / file).read_bytes())
    return lambda: assemble(batches, [])


def distinct(folder: Path) -> Callable[[], Any]:
    return ours(folder, DISTINCT)


def theirs(folder: Path) -> Callable[[], Any]:
    text = (folder / TEXT).read_text()
    return lambda: json.loads(text)


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """How long it takes, and by how much the process grows meanwhile at most."""
    gc.collect()
    _forget_peak()
    before = _resident_bytes("VmRSS")
    began_s = time.perf_counter()
    result = work()
    took_s = time.perf_counter() - began_s
    grown = _resident_bytes("VmHWM") - before
    return {"spans": len(result), "seconds": took_s, "bytes": grown}


def _forget_peak() -> None:
    """Linux: the high water mark begins anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def _resident_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


if __name__ == "__main__":
    what, place = sys.argv[1], Path(sys.argv[2])
    if what == "make":
        make(place, int(sys.argv[3]))
        print()
    else:
        print(
            json.dumps(measured({"ours": ours, "distinct": distinct, "json": theirs}[what](place)))
        )
