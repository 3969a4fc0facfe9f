"""A WAV file as windows of samples: one channel, at the model's rate, the last one filled up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import WorkerError
from ..job import Item
from . import fields, wav
from .resampling import resample
from .source import content


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioParameters:
    """window 0: all samples in one; hop 0: the window; lead_in: silence before the first."""

    element_type: str = "float32"
    dimensions: tuple[int, ...] = ()
    sample_rate: int = 0
    window: int = 0
    hop: int = 0
    lead_in: int = 0
    mean: float = 0.0
    scale: float = 1.0

    @property
    def step(self) -> int:
        return self.hop or self.window


def read_parameters(input: Mapping[str, Any]) -> AudioParameters:
    parameters = fields.read(AudioParameters, "audio", input)
    sizes = [size for size in parameters.dimensions if size != fields.ANY_SIZE]
    fields.refuse(
        "audio",
        {
            "sample_rate, window, hop and lead_in: numbers from 0 are expected": min(
                parameters.sample_rate, parameters.window, parameters.hop, parameters.lead_in
            )
            < 0,
            f"hop {parameters.hop} is longer than the window {parameters.window}: samples would "
            "be passed over": bool(parameters.window and parameters.hop > parameters.window),
            f"dimensions are {list(parameters.dimensions)}; a window has {parameters.window} "
            "samples": bool(
                parameters.window
                and parameters.dimensions
                and fields.ANY_SIZE not in parameters.dimensions
                and int(np.prod(sizes)) != parameters.window
            ),
            "scale is 0, by which samples would be divided": parameters.scale == 0,
        },
    )
    return parameters


@dataclass(frozen=True, slots=True)
class Heard:
    """One channel of samples, `rate` a second."""

    samples: np.ndarray
    rate: int


def open(item: Item, parameters: AudioParameters) -> Heard:
    """The item's samples at the wanted rate; channels are mixed in equal parts."""
    sound = wav.read(item.name, content(item))
    mixed = sound.samples.mean(axis=1, dtype=np.float64)
    if not mixed.size:
        raise WorkerError("input", f"input {item.name} holds no samples; at least one is expected")
    if not np.isfinite(mixed).all():
        raise WorkerError("input", f"input {item.name} holds samples that are no finite numbers")
    rate = parameters.sample_rate or sound.rate
    return Heard(resample(mixed, sound.rate, rate), rate)


def about(opened: Heard, parameters: AudioParameters) -> dict[str, float]:
    """From one window's beginning to the next, and how long the item is."""
    step = parameters.step or opened.samples.size
    return {"step_s": step / opened.rate, "duration_s": opened.samples.size / opened.rate}


def tensors(opened: Heard, parameters: AudioParameters) -> np.ndarray:
    """One row a window, until every sample lies in one."""
    samples = fields.normalized(opened.samples, parameters.mean, parameters.scale)
    samples = np.concatenate([np.zeros(parameters.lead_in), samples])
    window = parameters.window or samples.size
    step = parameters.step or window
    count = 1 + max(0, -(-(samples.size - window) // step))
    filled = np.zeros((count - 1) * step + window, parameters.element_type)
    filled[: samples.size] = samples
    rows = np.lib.stride_tricks.sliding_window_view(filled, window)[::step]
    if parameters.dimensions:
        rows = _shaped(rows, parameters.dimensions)
    return np.ascontiguousarray(rows)


def _shaped(rows: np.ndarray, dimensions: tuple[int, ...]) -> np.ndarray:
    try:
        return rows.reshape(len(rows), *dimensions)
    except ValueError as error:
        text = f"a window of {rows.shape[1]} samples is no tensor of {list(dimensions)}"
        raise WorkerError("input", f"{text}; give the audio input a window") from error
