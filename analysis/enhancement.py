"""How near a made image comes to the true one: PSNR and SSIM."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from analysis.items import Item
from bus.errors import ProtocolError
from bus.messages import TensorValue

PEAK = 255.0
SIGMA, RADIUS = 1.5, 5
K1, K2 = 0.01, 0.03


class Enhanced(msgspec.Struct, frozen=True, kw_only=True):
    """One item. psnr_db: None where both images are the same."""

    position: int
    input: str
    psnr_db: float | None
    ssim: float


class Enhancement(msgspec.Struct, frozen=True, kw_only=True):
    """The means over the items; of equal images, which have no PSNR, there are `same`."""

    psnr_db: float | None
    ssim: float
    same: int
    items: list[Enhanced]


def enhancement(items: Sequence[Item]) -> Enhancement | None:
    """The likeness of made and true images; None where no item has both."""
    rows = []
    for item in items:
        truth = item.prediction.truth.image if item.prediction.truth else None
        if truth is None or item.prediction.image is None:
            continue
        wanted, made = image_of(truth), image_of(item.prediction.image)
        if wanted.shape != made.shape:
            text = f"{item.prediction.input}: an image of {list(made.shape)} was made"
            raise ProtocolError(f"{text}, and the true one has {list(wanted.shape)}")
        rows.append(
            Enhanced(
                position=item.position,
                input=item.prediction.input,
                psnr_db=psnr_db(wanted, made),
                ssim=ssim(wanted, made),
            )
        )
    if not rows:
        return None
    known = [row.psnr_db for row in rows if row.psnr_db is not None]
    return Enhancement(
        psnr_db=sum(known) / len(known) if known else None,
        ssim=sum(row.ssim for row in rows) / len(rows),
        same=len(rows) - len(known),
        items=rows,
    )


def psnr_db(wanted: np.ndarray, made: np.ndarray) -> float | None:
    """10 log10(255² / mean squared error); None for equal images."""
    error = float(np.mean((wanted - made) ** 2))
    return 10 * math.log10(PEAK**2 / error) if error else None


def ssim(wanted: np.ndarray, made: np.ndarray) -> float:
    """Structural similarity with a Gaussian window, σ 1.5, of 11 pixels; the channels' mean.

    Wang, Bovik, Sheikh, Simoncelli, Image Quality Assessment: From Error Visibility to Structural
    Similarity, 2004. Where the window would leave the image nothing is counted.
    """
    side = min(wanted.shape[:2])
    if side < 2 * RADIUS + 1:
        raise ProtocolError(f"SSIM needs images of at least 11 pixels a side (got {side})")
    mean_w, mean_m = _smooth(wanted), _smooth(made)
    var_w = _smooth(wanted * wanted) - mean_w**2
    var_m = _smooth(made * made) - mean_m**2
    both = _smooth(wanted * made) - mean_w * mean_m
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    top = (2 * mean_w * mean_m + c1) * (2 * both + c2)
    return float(np.mean(top / ((mean_w**2 + mean_m**2 + c1) * (var_w + var_m + c2))))


def _smooth(image: np.ndarray) -> np.ndarray:
    steps = np.arange(-RADIUS, RADIUS + 1)
    window = np.exp(-0.5 * (steps / SIGMA) ** 2)
    window /= window.sum()
    height, width = (size - 2 * RADIUS for size in image.shape[:2])
    rows = sum(w * image[k : k + height] for k, w in enumerate(window))
    return np.asarray(sum(w * rows[:, k : k + width] for k, w in enumerate(window)))


def image_of(told: TensorValue) -> np.ndarray:
    """An image as float64 [height, width, channels]."""
    array = np.frombuffer(told.data, np.dtype(told.dtype).newbyteorder("<"))
    if array.size != math.prod(told.shape):
        text = f"an image of shape {told.shape} holds {array.size} values"
        raise ProtocolError(f"{text}: expected {math.prod(told.shape)}")
    image = array.reshape(told.shape).astype(np.float64)
    return image[:, :, None] if image.ndim == 2 else image
