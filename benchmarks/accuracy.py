"""A dataset through a model by our worker's pass, against the loop that one writes by hand."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from benchmarks import accuracy_digits, model_files, services
from benchmarks.effort import Effort
from benchmarks.model_files import ModelFiles
from benchmarks.overhead import middle
from benchmarks.preprocess import bare, jpeg
from benchmarks.report import Result, Row
from benchmarks.rounds import Block, Rounds, Sides, measure
from bus.errors import EvaluationError
from predictor_node import worker
from predictor_node.worker.dataset_run import DatasetRun
from predictor_node.worker.job import read_job
from predictor_node.worker.models import WarmModels

BUDGET = 1.1
TOP = 5
BATCH_SIZES = (1, 32)
TO_DECIDE = 50
"""An effort of so many queries is to decide something, and gets all digits."""
MOST_DIGITS, FEW_DIGITS = 5_000, 300

Once = Callable[[], object]


async def run(effort: Effort) -> Result:
    """Photos through EfficientNet-Lite0 and digits through MNIST-CNN, one thread, one process."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        with services.running(()) as system:
            async with services.connected(system) as bus:
                files = await model_files.fetch(folder, bus)
                count = MOST_DIGITS if effort.queries >= TO_DECIDE else FEW_DIGITS
                digits = await accuracy_digits.fetch(folder, bus, count)
        models, rounds = WarmModels(), {"photos": Rounds()}
        photos = _photos(folder / "photos", effort.queries)
        ours = partial(by_worker, files, photos, folder, models)
        theirs = partial(by_hand, _session(files.graph), photos)
        np.testing.assert_array_equal(ours(), theirs())
        await _measure("photos", ours, theirs, effort, rounds["photos"])
        about = f"{effort.queries} photos a side, equal answers"
        rows = [_row("photos", rounds["photos"], about)]
        session, table = _session(digits.graph), digits.table
        for size in BATCH_SIZES:
            what = f"digits, batch {size}"
            kept = rounds[what] = Rounds()
            ours_too = partial(accuracy_digits.by_worker, digits, models, size)
            theirs_too = partial(accuracy_digits.by_hand, session, table, size)
            if ours_too() != theirs_too():
                raise EvaluationError("the loop by hand", "peer", f"the sides disagree: {what}")
            await _measure(what, ours_too, theirs_too, effort, kept)
            rows.append(_row(what, kept, f"{count:,} digits a side, the same five best of each"))
        models.close()
    return Result(rows, {f"{what}, pass_ns": kept.medians() for what, kept in rounds.items()})


async def _measure(what: str, ours: Once, theirs: Once, effort: Effort, kept: Rounds) -> None:
    other = partial(_block, theirs)
    await measure(f"accuracy, {what}", Sides(partial(_block, ours), other, other), effort, kept)


def _row(what: str, kept: Rounds, note: str) -> Row:
    return Row(
        what=f"a pass over {what}, our worker / a loop by hand",
        ours=middle(kept.ours),
        theirs=middle(kept.theirs),
        unit="ms",
        compared=kept.ratio(lambda found: found.median_ns),
        at_most=BUDGET,
        same=kept.same(lambda found: found.median_ns),
        note=f"{len(kept.ours)} passes over {note}",
    )


def by_worker(files: ModelFiles, photos: Path, folder: Path, models: WarmModels) -> list[int]:
    """What the node asks of its worker: each item's best class."""
    manifest = files.manifest
    job = read_job(
        {
            "job_id": "job",
            "framework": "onnxruntime",
            "plugin": str(Path(worker.__file__).parent / "frameworks" / "onnxruntime.py"),
            "model": {
                "name": manifest.name,
                "version": manifest.version,
                "key": manifest.name,
                "files": {"graph": str(files.graph), "weights": ""},
            },
            "inputs": msgspec.to_builtins(manifest.inputs),
            "outputs": msgspec.to_builtins(manifest.outputs),
            "items": [],
            "runs": [{"index": 0, "queries": 0, "warmup": 0, "scenario": "dataset"}],
            "settings": {"device": "cpu", "threads": 1},
            "folder": str(folder / "unpacked"),
            "dataset": {"name": "photos", "format": "images", "files": {"images": str(photos)}},
        }
    )
    frames: list[dict[str, Any]] = []
    DatasetRun(job, models, frames.append, threading.Event()).run()
    return [
        made["classes"][0]["index"]
        for frame in frames
        if frame["said"] == "predictions"
        for made in frame["predictions"]
    ]


def by_hand(session: Any, photos: Path) -> list[int]:
    """The same, written down: read, prepare, predict, softmax, the five best."""
    said = []
    for path in sorted(photos.iterdir()):
        scores = session.run(None, {"images": bare(path.read_bytes())})[0][0]
        powers = np.exp(scores - scores.max())
        said.append(int(np.argsort(-powers / powers.sum())[:TOP][0]))
    return said


def _session(graph: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(graph), options)


def _photos(folder: Path, count: int) -> Path:
    """As many different photos as are asked for."""
    folder.mkdir()
    first = jpeg()
    for number in range(count):
        path = folder / f"{number:04}.jpg"
        path.write_bytes(first)
        with Image.open(path) as photo:
            photo.rotate(number).save(path, quality=90)
    return folder


async def _block(once: Once) -> Block:
    """One whole pass."""
    start_ns = time.perf_counter_ns()
    once()
    return Block([start_ns], [time.perf_counter_ns() - start_ns])
