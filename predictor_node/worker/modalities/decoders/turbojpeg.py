"""TurboJPEG: JPEG only; decodes an image that will be made smaller at k/8 of its size.

What is left to resize is done by Pillow. Fewer coefficients are read, so pixels differ more than
another decoder's would, and large photographs take a fraction of the time.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from . import pillow

INSTALL = (
    "pip install PyTurboJPEG (==1.8.3 where libjpeg-turbo is version 2) and the library itself "
    "(apt-get install libturbojpeg0)"
)
JPEG = b"\xff\xd8"


def decode(data: str | bytes, wanted: Any) -> Image.Image:
    """The pixels at the smallest of the library's sizes that is not below the one wanted."""
    import turbojpeg

    content = data if isinstance(data, bytes) else Path(data).read_bytes()
    if not content.startswith(JPEG):
        raise ValueError("TurboJPEG reads JPEG files only: choose pillow or opencv for others")
    library = _library()
    width, height, *_ = library.decode_header(content)
    least = wanted.ratio((width, height))
    factors = [factor for factor in library.scaling_factors if least <= factor[0] / factor[1] <= 1]
    factor = min(factors, key=lambda f: f[0] / f[1], default=(1, 1))
    pixels = library.decode(
        content,
        pixel_format=turbojpeg.TJPF_GRAY if wanted.grey else turbojpeg.TJPF_RGB,
        scaling_factor=factor,
    )
    image = Image.fromarray(pixels[:, :, 0] if wanted.grey else pixels)
    image.info["given"] = (width, height)
    return image


resize = pillow.resize


def version() -> str:
    from importlib.metadata import version

    _library()
    return version("PyTurboJPEG")


@lru_cache(maxsize=1)
def _library() -> Any:
    import turbojpeg

    return turbojpeg.TurboJPEG()
