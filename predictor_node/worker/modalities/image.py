"""Images: the steps that turn a file into a tensor, in the order that a manifest gives them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import WorkerError
from ..job import Item
from . import framing
from .decoders import DECODERS, Wanted, decoder, size_of
from .image_parameters import ANY_SIZE, ImageParameters, read_parameters

__all__ = ("about", "open", "read_parameters", "settings", "stacked", "tensors")

SNIFFED_BYTES = 512
Step = Callable[[Any, ImageParameters], Any]


def crop(image: Any, parameters: ImageParameters) -> Any:
    """A part of the image, as crop_box says; where that reaches beyond it, a border."""
    left, top, width, height = box = framing.crop_box(size_of(image), parameters)
    size = size_of(image)
    if box == (0, 0, *size):
        return image
    if left < 0 or top < 0 or left + width > size[0] or top + height > size[1]:
        pixels = np.asarray(image)
        seen = pixels[max(0, top) : top + height, max(0, left) : left + width]
        bordered = _bordered(seen, (max(0, -left), max(0, -top), width, height), parameters)
        return bordered if isinstance(image, np.ndarray) else Image.fromarray(bordered)
    if isinstance(image, np.ndarray):
        return image[top : top + height, left : left + width]
    return image.crop((left, top, left + width, top + height))


def resize(image: Any, parameters: ImageParameters) -> Any:
    """To the size that resized_size says, and a border around it where the method is pad."""
    size = framing.resized_size(size_of(image), parameters)
    if size != size_of(image):
        image = DECODERS[parameters.decoder].resize(image, size, parameters.interpolation)
    left, top, width, height = framing.border_box(size, parameters)
    if (width, height) == size:
        return image
    bordered = _bordered(np.asarray(image), (-left, -top, width, height), parameters)
    return bordered if isinstance(image, np.ndarray) else Image.fromarray(bordered)


def _bordered(
    pixels: np.ndarray, box: tuple[int, int, int, int], parameters: ImageParameters
) -> np.ndarray:
    """Pixels at a place (left, top) of a field (width, height)."""
    left, top, width, height = box
    field = np.full((height, width, *pixels.shape[2:]), round(parameters.pad_value), np.uint8)
    field[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return field


def normalize(image: Image.Image, parameters: ImageParameters) -> np.ndarray:
    """Channels in the model's order, values shifted and scaled, in the model's element type."""
    return _normalized(_pixels(image), parameters)


def _normalized(pixels: np.ndarray, parameters: ImageParameters) -> np.ndarray:
    if parameters.color_mode == "BGR":
        pixels = pixels[..., ::-1]
    if parameters.mean != 0 or parameters.scale != 1:
        mean = np.asarray(parameters.mean, np.float32)
        scale = np.asarray(parameters.scale, np.float32)
        pixels = (pixels.astype(np.float32) - mean) / scale
    return pixels.astype(parameters.element_type)


def transpose(image: Image.Image | np.ndarray, parameters: ImageParameters) -> np.ndarray:
    """Height, width, channels as the layout wants them, contiguous."""
    order = (2, 0, 1) if parameters.layout.endswith("CHW") else (0, 1, 2)
    return np.ascontiguousarray(_pixels(image).transpose(order))


def _pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    array = np.asarray(image)
    return array[:, :, np.newaxis] if array.ndim == 2 else array


STEPS: dict[str, Step] = {
    "crop": crop,
    "resize": resize,
    "normalize": normalize,
    "transpose": transpose,
}


def preprocess(image: Any, parameters: ImageParameters) -> np.ndarray:
    """Every step after decode, and the check that the tensor is the one that was described."""
    for step in parameters.steps[1:]:
        image = STEPS[step](image, parameters)
    tensor = np.ascontiguousarray(_pixels(image))
    _check_shape(tensor.shape, parameters)
    return tensor


def _check_shape(shape: tuple[int, ...], parameters: ImageParameters) -> None:
    channels, height, width = parameters.dimensions
    chw = parameters.layout.endswith("CHW")
    wanted = (channels, height, width) if chw else (height, width, channels)
    free = parameters.max_dimension > 0 or parameters.keeps_form
    matches = all(
        want in (ANY_SIZE, found) or (free and want != channels)
        for want, found in zip(wanted, shape, strict=True)
    )
    if not matches:
        text = f"the steps {list(parameters.steps)} give a tensor of shape {list(shape)}"
        raise WorkerError("request", f"{text}; the manifest promises {list(wanted)}")


def open(item: Item, parameters: ImageParameters) -> Any:
    """Decode one item, a path or a content; what is no image is named, with what it is instead."""
    if item.array is not None:
        return _from_array(item, parameters)
    name, source = item.name, item.source
    wanted = Wanted(parameters.dimensions[0] == 1, lambda size: framing.ratio(size, parameters))
    try:
        return DECODERS[parameters.decoder].decode(source, wanted)
    except UnidentifiedImageError as error:
        text = f"input {name} is not an image but a {_what_is(source)}; an image is expected"
        raise WorkerError("input", f"{text} (PNG, JPEG, …)") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        text = f"input {name} ({_what_is(source)}) cannot be decoded: {error}; a whole image file"
        raise WorkerError("input", f"{text} is expected") from error


def _from_array(item: Item, parameters: ImageParameters) -> Any:
    """An image that came as pixels: [height, width], or with 1 or 3 channels, 0–255."""
    pixels = np.asarray(item.array)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3):
        text = f"input {item.name} is an array of {pixels.dtype} {list(pixels.shape)}"
        raise WorkerError("input", f"{text}; uint8 [height, width] or [height, width, 3] expected")
    image = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels)
    image = image.convert("L" if parameters.dimensions[0] == 1 else "RGB")
    return np.asarray(image) if parameters.decoder == "opencv" else image


def tensors(image: Any, parameters: ImageParameters) -> np.ndarray:
    """The image as the one row of a batch."""
    return preprocess(image, parameters)[np.newaxis]


def stacked(
    arrays: np.ndarray, parameters: ImageParameters
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Images that came as pixels, all at once, and what is to be said of each of them.

    None where their size or their colours must change first: that is done image by image.
    """
    wanted, (across, down) = parameters.dimensions[0], (arrays.shape[2:3] + arrays.shape[1:2])
    pixels = arrays[..., np.newaxis] if arrays.ndim == 3 else arrays
    size, kept = (across, down), (0, 0, across, down)
    moved = (
        framing.resized_size(size, parameters) != size,
        framing.border_box(size, parameters) != kept,
        framing.crop_box(size, parameters) != kept,
    )
    if pixels.dtype != np.uint8 or pixels.shape[3] not in (1, wanted) or any(moved):
        return None
    if pixels.shape[3] != wanted:
        pixels = np.repeat(pixels, wanted, axis=3)
    if "normalize" in parameters.steps:
        pixels = _normalized(pixels, parameters)
    if "transpose" in parameters.steps and parameters.layout.endswith("CHW"):
        pixels = pixels.transpose(0, 3, 1, 2)
    made = np.ascontiguousarray(pixels)
    _check_shape(made.shape[1:], parameters)
    where = framing.geometry(size, size, parameters)
    return made, {"geometry": where, "color_mode": parameters.color_mode}


def about(image: Any, parameters: ImageParameters) -> dict[str, Any]:
    """Where the given image's pixels went, and the order of its channels."""
    size = size_of(image)
    given = getattr(image, "info", {}).get("given", size)
    where = framing.geometry(given, size, parameters)
    return {"geometry": where, "color_mode": parameters.color_mode}


def settings(parameters: ImageParameters) -> dict[str, str]:
    """What a result records of how it was made: pixels differ between decoders."""
    return {"decoder": f"{parameters.decoder} {decoder(parameters.decoder).version()}"}


def _what_is(source: str | bytes) -> str:
    """What a file looks like, for people: its kind and its size."""
    if isinstance(source, bytes):
        head, size = source[:SNIFFED_BYTES], f"{len(source)} bytes"
    else:
        file = Path(source)
        if not file.is_file():
            return "missing file"
        with file.open("rb") as stream:
            head = stream.read(SNIFFED_BYTES)
        size = f"{file.stat().st_size} bytes"
    if not head:
        return f"empty file, {size}"
    for magic, kind in ((b"\x89PNG", "PNG"), (b"\xff\xd8", "JPEG"), (b"%PDF", "PDF")):
        if head.startswith(magic):
            return f"{kind} file, {size}"
    # The sniffed bytes may end inside a character: what cannot be read at the very end is ignored.
    text = head.decode("utf-8", "replace").rstrip("\ufffd")
    kind = "binary" if "\ufffd" in text or "\0" in text else "text"
    return f"{kind} file, {size}"
