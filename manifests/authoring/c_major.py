"""Writes C4, E4 and G4 for models that hear notes: as sound, or as the tensor of one window.

python manifests/authoring/c_major.py manifests/models/samples/c-major.wav
python manifests/authoring/c_major.py manifests/models/samples/c-major.npz
"""

import argparse
import wave
from pathlib import Path

import numpy as np

RATE = 8000
SECONDS = 2.0
NOTES = (60, 64, 67)  # MIDI numbers; 69 is A4, 440 Hz
PARTIALS = (1.0, 0.5, 0.25, 0.125)


WINDOW, WINDOW_RATE, HEARD_S = 43844, 22050, 0.6
"""What Basic Pitch hears at once; the chord ends early in it, which keeps the file small."""


def samples(rate: int = RATE, count: int = int(RATE * SECONDS)) -> np.ndarray:
    """The chord as plucked strings: four partials each, fading away, 16 bit."""
    times_s = np.arange(count) / rate
    sound = np.zeros_like(times_s)
    for note in NOTES:
        pitch_hz = 440.0 * 2 ** ((note - 69) / 12)
        for number, strength in enumerate(PARTIALS, start=1):
            sound += strength * np.sin(2 * np.pi * number * pitch_hz * times_s)
    sound *= np.exp(-1.5 * times_s) * np.minimum(1, times_s / 0.01)
    return np.rint(sound / np.abs(sound).max() * 0.8 * 32767).astype("<i2")


def window() -> np.ndarray:
    """One window as the model takes it: [samples, 1], -1 to 1."""
    heard = samples(WINDOW_RATE, int(WINDOW_RATE * HEARD_S))
    silence = np.zeros(WINDOW - len(heard), heard.dtype)
    return (np.concatenate([heard, silence]) / 32768).astype(np.float32)[:, np.newaxis]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a C major chord.")
    parser.add_argument("target", type=Path, help="the .wav or .npz file to write")
    target = parser.parse_args().target
    if target.suffix == ".npz":
        np.savez_compressed(target, audio=window())
        return
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples().tobytes())


if __name__ == "__main__":
    main()
