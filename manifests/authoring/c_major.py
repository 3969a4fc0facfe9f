"""Writes samples/c-major.wav: two seconds of C4, E4 and G4, for models that hear notes.

python manifests/authoring/c_major.py manifests/models/samples/c-major.wav
"""

import argparse
import wave
from pathlib import Path

import numpy as np

RATE = 8000
SECONDS = 2.0
NOTES = (60, 64, 67)  # MIDI numbers; 69 is A4, 440 Hz
PARTIALS = (1.0, 0.5, 0.25, 0.125)


def samples() -> np.ndarray:
    """The chord as plucked strings: four partials each, fading away, 16 bit."""
    times_s = np.arange(int(RATE * SECONDS)) / RATE
    sound = np.zeros_like(times_s)
    for note in NOTES:
        pitch_hz = 440.0 * 2 ** ((note - 69) / 12)
        for number, strength in enumerate(PARTIALS, start=1):
            sound += strength * np.sin(2 * np.pi * number * pitch_hz * times_s)
    sound *= np.exp(-1.5 * times_s) * np.minimum(1, times_s / 0.01)
    return np.rint(sound / np.abs(sound).max() * 0.8 * 32767).astype("<i2")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write two seconds of a C major chord.")
    parser.add_argument("target", type=Path, help="the .wav file to write")
    with wave.open(str(parser.parse_args().target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples().tobytes())


if __name__ == "__main__":
    main()
