"""Pictures of what a model says of an image: class maps and masks as PNG, written here."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from bus.messages import Box, ClassMap, TensorValue
from mlmodelscope.predictions import NO_CLASS, class_map

COLORS = (
    *((230, 60, 60), (60, 130, 230), (50, 170, 90), (240, 170, 30), (150, 80, 200)),
    *((30, 180, 190), (240, 110, 170), (140, 110, 60), (120, 190, 40), (90, 90, 220)),
    *((250, 130, 90), (0, 120, 110)),
)
"""Of classes, in turn; class 0 is mostly the background and keeps its own."""
MOST_PIXELS = 64_000_000


def color_of(index: int) -> tuple[int, int, int]:
    """The colour of a class in every picture."""
    return (110, 110, 110) if index == 0 else COLORS[(index - 1) % len(COLORS)]


def hex_of(index: int) -> str:
    """The same for a style sheet."""
    return "#{:02x}{:02x}{:02x}".format(*color_of(index))


def png(pixels: np.ndarray) -> bytes:
    """[height, width, 1 | 3 | 4] of bytes as a PNG (W3C, PNG specification, third edition)."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with filter 0
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 6)
    parts = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    whole = name + data
    return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))


def map_png(found: ClassMap) -> bytes:
    """Each pixel in the colour of its class; where there is none, nothing."""
    classes = class_map(found)
    table = np.zeros((65536, 4), np.uint8)
    for index in np.unique(classes).tolist():
        table[index] = (*color_of(index), 255) if index != NO_CLASS else (0, 0, 0, 0)
    return png(table[classes])


def mask_png(box: Box) -> bytes:
    """The mask of one thing in the colour of its class, see-through elsewhere; empty: it has none.

    Its rows are as long as the box is wide, rounded; what does not come out even, or is damaged, is
    not drawn.
    """
    if not box.mask:
        return b""
    try:
        flat = np.frombuffer(zlib.decompress(box.mask), np.uint8)
    except zlib.error:
        return b""
    width = round(box.x2 - box.x1)
    if width < 1 or flat.size % width:
        return b""
    mask = flat.reshape(-1, width)
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[mask > 0] = (*color_of(max(box.index, 0) + 1), 255)
    return png(pixels)


def image_png(image: TensorValue, data: bytes = b"") -> bytes:
    """A picture that a model made, [height, width, channels] of 0-255; empty: it is none."""
    shape = image.shape
    if len(shape) != 3 or shape[2] not in (1, 3, 4) or not 0 < int(np.prod(shape)) <= MOST_PIXELS:
        return b""
    values = np.frombuffer(data or image.data, image.dtype)
    if values.size != np.prod(shape):
        return b""
    return png(np.clip(np.rint(values), 0, 255).astype(np.uint8).reshape(shape))
