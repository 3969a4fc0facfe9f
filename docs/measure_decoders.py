"""Prints the table of docs/pipeline.md: how far the decoders' pixels lie apart, and their times.

python docs/measure_decoders.py PHOTO.jpg
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from predictor_node.worker.job import Item
from predictor_node.worker.modalities import image

DECODERS = ("pillow", "opencv", "turbojpeg")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
TIMES = 15


def made(photo: Path, decoder: str, interpolation: str) -> tuple[np.ndarray, float]:
    """The 224 × 224 pixels that an ImageNet classifier would see, and the milliseconds."""
    parameters = image.read_parameters(
        {
            "parameters": {
                **{"dimensions": [3, 224, 224], "element_type": "uint8", "layout": "HWC"},
                **{"crop_method": "center", "crop_ratio": 0.875},
                **{"decoder": decoder, "interpolation": interpolation},
            }
        }
    )
    times_ms = []
    for _ in range(TIMES):
        began_s = time.perf_counter()
        opened = image.open(Item(photo.name, path=str(photo)), parameters)
        (pixels,) = image.tensors(opened, parameters)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return pixels.astype(int), median(times_ms)


def main() -> None:
    photo = Path(sys.argv[1])
    print("| decoder | interpolation | mean difference | 99th percentile | largest | ms |")
    print("|---|---|---|---|---|---|")
    for interpolation in INTERPOLATIONS:
        reference, _ = made(photo, "pillow", interpolation)
        for decoder in DECODERS:
            pixels, took_ms = made(photo, decoder, interpolation)
            apart = np.abs(pixels - reference)
            high = np.percentile(apart, 99)
            print(
                f"| {decoder} | {interpolation} | {apart.mean():.2f} | {high:.0f} "
                f"| {apart.max()} | {took_ms:.1f} |"
            )


if __name__ == "__main__":
    main()
