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

from benchmarks import fleet, model_files
from benchmarks.effort import Effort
from benchmarks.model_files import ModelFiles
from benchmarks.overhead import middle
from benchmarks.preprocess import bare, jpeg
from benchmarks.report import Result, Row
from benchmarks.rounds import Block, Rounds, Sides, measure
from predictor_node import worker
from predictor_node.worker.dataset_run import DatasetRun
from predictor_node.worker.job import read_job
from predictor_node.worker.models import WarmModels

BUDGET = 1.1
TOP = 5


async def run(effort: Effort) -> Result:
    """Photos in a folder, EfficientNet-Lite0, one thread, batch 1; both sides in one process."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        with fleet.running(()) as system:
            async with fleet.connected(system) as bus:
                files = await model_files.fetch(folder, bus)
        photos = _photos(folder / "photos", effort.queries)
        models = WarmModels()
        ours = partial(by_worker, files, photos, folder, models)
        theirs = partial(by_hand, _session(files), photos)
        np.testing.assert_array_equal(ours(), theirs())
        kept, other = Rounds(), partial(_block, theirs)
        sides = Sides(partial(_block, ours), other, other)
        await measure("accuracy", sides, effort, kept)
        models.close()
    row = Row(
        what="a pass over photos, our worker / a loop by hand",
        ours=middle(kept.ours),
        theirs=middle(kept.theirs),
        unit="ms",
        compared=kept.ratio(lambda found: found.median_ns),
        at_most=BUDGET,
        same=kept.same(lambda found: found.median_ns),
        note=f"{len(kept.ours)} passes over {effort.queries} photos a side, equal answers",
    )
    return Result([row], {"pass_ns": kept.medians()})


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


def _session(files: ModelFiles) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(files.graph), options)


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


async def _block(once: Callable[[], object]) -> Block:
    """One whole pass."""
    start_ns = time.perf_counter_ns()
    once()
    return Block([start_ns], [time.perf_counter_ns() - start_ns])
