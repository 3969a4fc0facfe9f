"""Samples at another rate: a polyphase filter, a sinc under a Kaiser window.

y[n] is the sum of x[k] h[n down - k up]: `up` zeros would lie between the samples, all are passed
through the low-pass h, and every `down`-th is kept; the zeros are never computed. h has ten
crossings of zero on each side and a Kaiser window of beta 5, as scipy.signal.resample_poly has.
"""

from functools import lru_cache
from math import gcd

import numpy as np

CROSSINGS = 10
BETA = 5.0
BLOCK = 1 << 14  # samples at a time: the memory that they take while they are made stays small


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """One channel at `wanted` samples a second; as it is where that is its rate already."""
    if rate == wanted or not samples.size:
        return samples
    shared = gcd(rate, wanted)
    up, down = wanted // shared, rate // shared
    phases, half = _phases(up, down)
    taps = phases.shape[1]
    count = -(-samples.size * up // down)
    padded = np.concatenate([np.zeros(taps), samples, np.zeros(taps)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps)
    made = np.empty(count, np.float32)
    for first in range(0, count, BLOCK):
        places = np.arange(first, min(first + BLOCK, count)) * down + half
        under = windows[places // up + 1]  # those that end with sample places // up
        made[first : first + BLOCK] = np.einsum("ij,ij->i", under, phases[places % up])
    return made


@lru_cache(maxsize=8)
def _phases(up: int, down: int) -> tuple[np.ndarray, int]:
    """The filter cut into one row a phase, each back to front, and the place of its middle."""
    widest = max(up, down)
    half = CROSSINGS * widest
    times = np.arange(-half, half + 1)
    low_pass = np.sinc(times / widest) * np.kaiser(2 * half + 1, BETA)
    low_pass *= up / low_pass.sum()
    taps = -(-low_pass.size // up)
    filled = np.concatenate([low_pass, np.zeros(taps * up - low_pass.size)])
    return np.ascontiguousarray(filled.reshape(taps, up).T[:, ::-1]), half
