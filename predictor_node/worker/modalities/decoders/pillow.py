"""Pillow: reads most formats; when it makes an image smaller, its filters look at every pixel."""

import io
from typing import Any

import PIL
from PIL import Image

INSTALL = "pip install pillow"
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def decode(data: str | bytes, wanted: Any) -> Image.Image:
    """The pixels of a path's or a content's image; EXIF rotation is not applied."""
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return image.convert("L" if wanted.grey else "RGB")


def resize(image: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    return image.resize(size, FILTERS[interpolation])


def version() -> str:
    return PIL.__version__
