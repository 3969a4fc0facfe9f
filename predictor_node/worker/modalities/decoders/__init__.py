"""The libraries that can decode an image and resize it: their pixels differ, so a manifest chooses.

    decode(data, wanted) -> image          its pixels, in colour or in grey; Undecodable
    resize(image, (width, height), interpolation) -> image
    version() -> str

An image is Pillow's, or an array of height, width and (in colour) channels red, green, blue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ...errors import WorkerError, unknown
from . import opencv, pillow, turbojpeg

DECODERS: dict[str, ModuleType] = {"pillow": pillow, "opencv": opencv, "turbojpeg": turbojpeg}


@dataclass(frozen=True, slots=True)
class Wanted:
    """grey: one channel. ratio: how much smaller an image of (width, height) will be made anyway:
    a decoder that can decode less for that may, but never less than that."""

    grey: bool
    ratio: Callable[[tuple[int, int]], float]


def decoder(name: str) -> ModuleType:
    """The decoder of this name, installed; WorkerError names its package."""
    if name not in DECODERS:
        raise unknown("decoder", name, DECODERS)
    found = DECODERS[name]
    try:
        found.version()
    except (ImportError, OSError, RuntimeError) as error:
        text = f"decoder {name} is not installed in this environment: {error}"
        raise WorkerError("framework", f"{text}; {found.INSTALL}, or ask for pillow") from error
    return found


def size_of(image: Any) -> tuple[int, int]:
    """Width and height of an image of any decoder."""
    return (image.shape[1], image.shape[0]) if hasattr(image, "shape") else image.size
