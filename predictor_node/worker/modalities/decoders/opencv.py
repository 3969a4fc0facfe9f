"""OpenCV: fast; its filters look at the same few neighbours however much smaller an image gets."""

from pathlib import Path
from typing import Any

import numpy as np

INSTALL = "pip install opencv-python-headless"
FILTERS = {
    "nearest": "INTER_NEAREST",
    "bilinear": "INTER_LINEAR",
    "bicubic": "INTER_CUBIC",
    "lanczos": "INTER_LANCZOS4",
}


def decode(data: str | bytes, wanted: Any) -> np.ndarray:
    """The pixels, red first; EXIF rotation is not applied, transparency is dropped."""
    import cv2

    content = data if isinstance(data, bytes) else Path(data).read_bytes()
    how = cv2.IMREAD_GRAYSCALE if wanted.grey else cv2.IMREAD_COLOR
    # An empty array makes OpenCV raise, and what is no image makes it give None.
    image = None
    if content:
        raw = np.frombuffer(content, np.uint8)
        image = cv2.imdecode(raw, how | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError("OpenCV reads no image in it")
    return image if wanted.grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    import cv2

    return cv2.resize(image, size, interpolation=getattr(cv2, FILTERS[interpolation]))


def version() -> str:
    import cv2

    return str(cv2.__version__)
