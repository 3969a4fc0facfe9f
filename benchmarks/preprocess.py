"""From a JPEG's bytes to a tensor by our steps, against the same library called bare."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from benchmarks.effort import Effort
from benchmarks.overhead import middle
from benchmarks.report import Result, Row
from benchmarks.rounds import Block, Rounds, Sides, measure
from predictor_node.worker.job import Item
from predictor_node.worker.modalities import image

BUDGET = 1.2
WIDTH, HEIGHT, QUALITY, SEED = 640, 480, 90, 7
SIDE, RATIO, MEAN, SCALE = 224, 0.875, 127.0, 128.0
PARAMETERS = {
    "dimensions": [3, SIDE, SIDE],
    "crop_method": "center",
    "crop_ratio": RATIO,
    "interpolation": "bicubic",
    "mean": MEAN,
    "scale": SCALE,
    "steps": ["decode", "crop", "resize", "normalize", "transpose"],
}


async def run(effort: Effort) -> Result:
    """One photo's worth of pixels, EfficientNet's steps, one thread; both sides in one process."""
    photo = jpeg()
    parameters = image.read_parameters({"type": "image", "parameters": PARAMETERS})
    item = Item("photo.jpg", data=photo)
    np.testing.assert_array_equal(ours(item, parameters), bare(photo))
    kept = Rounds()
    theirs = partial(block, effort, partial(bare, photo))
    sides = Sides(partial(block, effort, partial(ours, item, parameters)), theirs, theirs)
    await measure("preprocess", sides, effort, kept)
    row = Row(
        what=f"JPEG {WIDTH}×{HEIGHT} to tensor, our steps / Pillow and numpy by hand",
        ours=middle(kept.ours),
        theirs=middle(kept.theirs),
        unit="ms",
        compared=kept.ratio(lambda found: found.median_ns),
        at_most=BUDGET,
        same=kept.same(lambda found: found.median_ns),
        note=f"{len(kept.ours)} rounds of {effort.queries} photos a side, equal tensors",
    )
    return Result([row], {"block_medians_ns": kept.medians()})


def ours(item: Item, parameters: image.ImageParameters) -> np.ndarray:
    """What the worker does with an item."""
    return image.tensors(image.open(item, parameters), parameters)


def bare(photo: bytes) -> np.ndarray:
    """The same, written down by hand."""
    with Image.open(io.BytesIO(photo)) as opened:
        pixels = opened.convert("RGB")
    side = int(min(pixels.size) * RATIO)
    left, top = (pixels.width - side + 1) // 2, (pixels.height - side + 1) // 2
    small = pixels.crop((left, top, left + side, top + side)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    array = (np.asarray(small).astype(np.float32) - np.float32(MEAN)) / np.float32(SCALE)
    return np.ascontiguousarray(array.transpose(2, 0, 1))[np.newaxis]


async def block(effort: Effort, once: Callable[[], object]) -> Block:
    """A block of photos, one after the other."""
    starts_ns, durations_ns = [], []
    for _ in range(effort.queries):
        start_ns = time.perf_counter_ns()
        once()
        durations_ns.append(time.perf_counter_ns() - start_ns)
        starts_ns.append(start_ns)
    return Block(starts_ns, durations_ns)


def jpeg() -> bytes:
    """A picture of smooth noise: as hard to decode as a photo, and the same for everyone."""
    noise = np.random.default_rng(SEED).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    into = io.BytesIO()
    smooth.save(into, "JPEG", quality=QUALITY)
    return into.getvalue()
