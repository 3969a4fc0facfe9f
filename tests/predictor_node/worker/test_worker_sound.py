"""WAV files against the standard library's and scipy's readers, rates against scipy's filter."""

import io
import wave
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import resample_poly

from predictor_node.worker.errors import WorkerError
from predictor_node.worker.job import Item
from predictor_node.worker.modalities import audio, wav
from predictor_node.worker.modalities.resampling import resample

NOISE = np.random.default_rng(5).uniform(-1, 1, 4000)


def written(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file as scipy writes it."""
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


# (element type, the samples as scipy writes them) -> what they are worth, by hand
TYPES = {
    "8 bit": (np.array([0, 128, 255], np.uint8), [-1, 0, 127 / 128]),
    "16 bit": (np.array([-32768, 0, 16384], np.int16), [-1, 0, 0.5]),
    "32 bit": (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
    "floats": (np.array([-0.25, 0, 0.5], np.float32), [-0.25, 0, 0.5]),
    "doubles": (np.array([-0.25, 0, 0.5], np.float64), [-0.25, 0, 0.5]),
    "two channels": (np.array([[0, 16384], [-32768, 0]], np.int16), [[0, 0.5], [-1, 0]]),
}


@pytest.mark.parametrize("case", TYPES)
def test_every_kind_of_sample(case: str) -> None:
    samples, worth = TYPES[case]
    read = wav.read("a.wav", written(samples, 8000))
    assert read.rate == 8000
    np.testing.assert_array_equal(np.squeeze(read.samples), np.float32(worth))


def test_24_bits_as_the_standard_library_writes_them(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(44100)
        for value in (-(2**23), -1, 0, 2**22):
            file.writeframes(value.to_bytes(3, "little", signed=True))
    read = wav.read("a.wav", (tmp_path / "a.wav").read_bytes())
    np.testing.assert_array_equal(read.samples[:, 0], [-1, np.float32(-(2.0**-23)), 0, 0.5])


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [(8000, 16000), (44100, 16000), (48000, 16000), (44100, 22050), (16000, 22050), (11025, 8000)],
)
def test_resampling_is_scipys(rate: int, wanted: int) -> None:
    shared = gcd(rate, wanted)
    theirs = resample_poly(NOISE, wanted // shared, rate // shared)
    ours = resample(NOISE, rate, wanted)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def opened(data: bytes, **parameters: Any) -> np.ndarray:
    read = audio.read_parameters({"parameters": parameters})
    return audio.tensors(audio.open(Item("a.wav", data=data), read), read)


def test_channels_are_mixed_in_equal_parts() -> None:
    data = written(np.array([[16384, -8192], [0, 32767]], np.int16), 8000)
    np.testing.assert_allclose(opened(data), [[0.125, 32767 / 65536]])


# (samples, parameters) -> rows, by hand
WINDOWS = {
    "all in one": ({}, [[1, 2, 3, 4, 5]]),
    "the last one filled": ({"window": 2}, [[1, 2], [3, 4], [5, 0]]),
    "overlapping": ({"window": 3, "hop": 2}, [[1, 2, 3], [3, 4, 5]]),
    "after silence": ({"window": 3, "hop": 2, "lead_in": 1}, [[0, 1, 2], [2, 3, 4], [4, 5, 0]]),
    "longer than the sound": ({"window": 7}, [[1, 2, 3, 4, 5, 0, 0]]),
    "of a shape": (
        {"window": 4, "dimensions": [4, 1]},
        [[[1], [2], [3], [4]], [[5], [0], [0], [0]]],
    ),
    "shifted and scaled": ({"mean": 1, "scale": 2}, [[0, 0.5, 1, 1.5, 2]]),
    "of any length": ({"dimensions": [-1]}, [[1, 2, 3, 4, 5]]),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_windows(case: str) -> None:
    parameters, rows = WINDOWS[case]
    found = opened(written(np.arange(1, 6, dtype=np.float32), 8000), **parameters)
    np.testing.assert_array_equal(found, rows)
    assert found.dtype == np.float32


WHOLE = written(np.arange(100, dtype=np.int16), 8000)
# bytes -> what the refusal says
NOT_SOUND = {
    "a picture": (b"\x89PNG\r\n\x1a\n1234567890", "no WAV file"),
    "nothing": (b"", r"begins with 'nothing' \(0 bytes\)"),
    "cut off": (WHOLE[:-50], "cut off: 150 of 200 bytes"),
    "no samples": (WHOLE[:36], "no data chunk"),
    "compressed": (WHOLE[:20] + b"\x11\x00" + WHOLE[22:], "format 17, 16 bit"),
    "not numbers": (written(np.array([0, np.nan], np.float32), 8000), "no finite numbers"),
}


@pytest.mark.parametrize("case", NOT_SOUND)
def test_what_is_no_sound_is_named(case: str) -> None:
    data, text = NOT_SOUND[case]
    with pytest.raises(WorkerError, match=text) as caught:
        opened(data)
    assert caught.value.kind == "input"
    assert "a.wav" in caught.value.text


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"window": 10, "hop": 20}, "longer than the window"),
        ({"window": 10, "dimensions": [9]}, "a window has 10 samples"),
        ({"layout": "NCHW"}, "unknown audio parameter 'layout'"),
        ({"element_type": "float33"}, "did you mean float"),
        ({"hop": -1}, "numbers from 0"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(WorkerError, match=text):
        opened(WHOLE, **parameters)
