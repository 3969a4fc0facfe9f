"""Decoding and predicting at the same time: the same answers, in less than the sum of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

COUNT, TOOK_MS = 10, 25
PLUGIN = f'''
"""A framework that takes its time, and sums what it is fed."""
import time
import numpy as np


class Handle:
    inputs = [{{"name": "x", "dtype": "float32", "shape": [-1, 3, 64, 64]}}]
    outputs = [{{"name": "y", "dtype": "float32", "shape": [-1, 2]}}]
    settings = {{}}


def describe():
    return {{"version": "1", "devices": ["cpu"], "providers": []}}


def open(spec):
    return Handle()


def predict(handle, batch):
    time.sleep({TOOK_MS / 1000})
    total = batch["x"].reshape(len(batch["x"]), -1).sum(axis=1)
    return [np.stack([total, -total], axis=1).astype(np.float32)]


def close(handle):
    pass
'''


@pytest.fixture
def make_pass(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A job over photos that take about as long to decode as the framework takes to predict."""
    plugin = tmp_path / "slow.py"
    plugin.write_text(PLUGIN)
    photos = tmp_path / "photos"
    photos.mkdir()
    draw = np.random.default_rng(4)
    for number in range(COUNT):
        noise = draw.integers(0, 256, (120, 160, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((1280, 960)).save(photos / f"{number:02}.jpg")

    def make(pipelined: bool) -> dict[str, Any]:
        run = {"index": 0, "batch_size": 1, "queries": 0, "warmup": 0, "scenario": "dataset"}
        options = {"name": "dataset", "pipelined": pipelined}
        parameters = {"element_type": "float32", "dimensions": [3, 64, 64], "scale": 255}
        return {
            "job_id": "job",
            "framework": "slow",
            "plugin": str(plugin),
            "model": {"name": "m", "version": "1.0.0", "key": "m", "files": {}},
            "inputs": [{"type": "image", "name": "x", "parameters": parameters}],
            "outputs": [{"type": "classification", "parameters": {}}],
            "items": [],
            "runs": [{**run, "options": options}],
            "settings": {},
            "folder": str(tmp_path / "folder"),
            "dataset": {"name": "photos", "format": "images", "files": {"images": str(photos)}},
        }

    return make


def test_together_they_take_less_than_their_sum(shared_worker, make_pass) -> None:  # type: ignore[no-untyped-def]
    """Decoding takes as long as predicting: side by side they take less than both in turn."""
    plain, piped = (shared_worker.run(make_pass(pipelined)) for pipelined in (False, True))
    assert _answers(plain) == _answers(piped)
    assert len(_named(piped, "prepare")) == len(_named(piped, "predict")) == COUNT
    assert _wall_ns(plain) > 0.95 * _busy_ns(plain)
    assert _wall_ns(piped) < 0.9 * _busy_ns(piped)


def test_the_spans_show_it(shared_worker, make_pass) -> None:  # type: ignore[no-untyped-def]
    """Decoding lies beside predicting in time."""
    said = shared_worker.run(make_pass(True))
    prepared, predicted = _named(said, "prepare"), _named(said, "predict")
    assert {span["thread"] for span in prepared}.isdisjoint(span["thread"] for span in predicted)
    (run,) = _named(said, "run")
    assert {span["parent"] for span in prepared} == {run["id"]}
    overlapping = [
        span
        for span in prepared
        if any(
            other["start_ns"] < span["start_ns"] + span["duration_ns"]
            and span["start_ns"] < other["start_ns"] + other["duration_ns"]
            for other in predicted
        )
    ]
    assert len(overlapping) >= COUNT // 2


def test_an_unreadable_photo_fails_in_its_turn(shared_worker, make_pass) -> None:  # type: ignore[no-untyped-def]
    job = make_pass(True)
    Path(job["dataset"]["files"]["images"], "05.jpg").write_bytes(b"not a photo")
    failed = shared_worker.run(job).one("failed")
    assert failed["kind"] == "input" and "05.jpg" in failed["text"]


def _answers(said: Any) -> list[Any]:
    return [made for frame in said.all("predictions") for made in frame["predictions"]]


def _named(said: Any, name: str) -> list[dict[str, Any]]:
    return [span for span in said.spans() if span["name"] == name]


def _wall_ns(said: Any) -> int:
    (run,) = _named(said, "run")
    return int(run["duration_ns"])


def _busy_ns(said: Any) -> int:
    spans = [*_named(said, "prepare"), *_named(said, "predict")]
    return sum(span["duration_ns"] for span in spans)
