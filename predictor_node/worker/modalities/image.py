"""Images: the steps that turn a file into a tensor, in the order that a manifest gives them."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import WorkerError, unknown
from ..job import Item

DEFAULT_STEPS = ("decode", "resize", "crop", "normalize", "transpose")
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
ELEMENT_TYPES = ("float32", "float16", "uint8", "int32", "int64")
LAYOUTS = ("NCHW", "NHWC", "CHW", "HWC")
ANY_SIZE = -1
SNIFFED_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageParameters:
    """How an image becomes a tensor; dimensions are C, H, W whatever the layout.

    mean and scale apply as (x - mean) / scale to 0–255 values; a vector has one number a channel,
    in the order of color_mode.
    """

    dimensions: tuple[int, int, int]
    element_type: str = "float32"
    layout: str = "NCHW"
    color_mode: str = "RGB"
    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    crop_method: str = "none"
    crop_ratio: float = 1.0
    keep_aspect_ratio: bool = False
    max_dimension: int = 0
    interpolation: str = "bilinear"
    steps: tuple[str, ...] = DEFAULT_STEPS

    @property
    def height_width(self) -> tuple[int, int]:
        return self.dimensions[1:]

    @property
    def crops_after_resize(self) -> bool:
        """Whether resize must leave room for a crop that comes later."""
        return (
            self.crop_method != "none"
            and "crop" in self.steps
            and self.steps.index("crop") > self.steps.index("resize")
        )


Step = Callable[[Any, ImageParameters], Any]


def decode(source: str | bytes, parameters: ImageParameters) -> Image.Image:
    """The image's pixels, in colour or (one channel) in grey; EXIF rotation is not applied."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return image.convert("L" if parameters.dimensions[0] == 1 else "RGB")


def crop(image: Image.Image, parameters: ImageParameters) -> Image.Image:
    """After resize the target's own size; before it, crop_ratio of the largest box of its form."""
    height, width = parameters.height_width
    if parameters.crop_method == "none" or ANY_SIZE in (height, width):
        return image
    if not ("resize" in parameters.steps and parameters.crops_after_resize):
        # Exact arithmetic on the ratio as it is written: 0.7 of 300 pixels is 210, not 209.
        ratio = Fraction(str(parameters.crop_ratio))
        largest = min(Fraction(image.width, width), Fraction(image.height, height))
        width, height = int(width * largest * ratio), int(height * largest * ratio)
    left = top = 0
    if parameters.crop_method == "center":
        # An odd remainder leaves its extra pixel before the box, as EfficientNet's own code does.
        left, top = (image.width - width + 1) // 2, (image.height - height + 1) // 2
    return image.crop((left, top, left + width, top + height))


def resize(image: Image.Image, parameters: ImageParameters) -> Image.Image:
    """To the target's size, or keeping the form: around a later crop, inside it, or to a limit."""
    height, width = parameters.height_width
    known = ANY_SIZE not in (height, width)
    if known and parameters.crops_after_resize:
        scale = max(width / image.width, height / image.height) / parameters.crop_ratio
    elif parameters.max_dimension:
        scale = min(1.0, parameters.max_dimension / max(image.size))
    elif not known:
        return image
    elif parameters.keep_aspect_ratio:
        scale = min(width / image.width, height / image.height)
    else:
        return image.resize((width, height), FILTERS[parameters.interpolation])
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, FILTERS[parameters.interpolation])


def normalize(image: Image.Image, parameters: ImageParameters) -> np.ndarray:
    """Channels in the model's order, values shifted and scaled, in the model's element type."""
    pixels = _pixels(image)
    if parameters.color_mode == "BGR":
        pixels = pixels[:, :, ::-1]
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
    "decode": decode,
    "crop": crop,
    "resize": resize,
    "normalize": normalize,
    "transpose": transpose,
}
IMAGE_STEPS = ("decode", "crop", "resize")  # the others have left the image behind for an array


def read_parameters(given: Mapping[str, Any]) -> ImageParameters:
    """A manifest's image input, checked; empty fields mean the default."""
    named = given.get("parameters") or {}
    known = {field.name for field in fields(ImageParameters)}
    for name in named:
        if name not in known and name != "input_layer":
            raise unknown("image parameter", name, known)
    chosen: dict[str, Any] = {
        k: v for k, v in named.items() if k in known and v not in ("", [], None)
    }
    if len(chosen.get("dimensions", ())) != 3:
        text = f"an image input has dimensions {named.get('dimensions')}; [C, H, W] is expected"
        raise WorkerError("request", text)
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()}
    parameters = ImageParameters(**chosen)
    _check(parameters)
    return parameters


def _check(parameters: ImageParameters) -> None:
    for name, choices in (
        ("element_type", ELEMENT_TYPES),
        ("layout", LAYOUTS),
        ("color_mode", ("RGB", "BGR", "L")),
        ("crop_method", ("none", "center", "topleft")),
        ("interpolation", tuple(FILTERS)),
    ):
        if getattr(parameters, name) not in choices:
            raise unknown(name, getattr(parameters, name), choices)
    for step in parameters.steps:
        if step not in STEPS:
            raise unknown("step", step, STEPS)
    steps, channels = parameters.steps, parameters.dimensions[0]
    arrays_begin = next((i for i, s in enumerate(steps) if s not in IMAGE_STEPS), len(steps))
    faults = {
        f"steps are {list(steps)}; decode must come first, once": (
            steps[0] != "decode" or steps.count("decode") != 1
        ),
        f"steps are {list(steps)}; crop and resize come before normalize and transpose": any(
            step in IMAGE_STEPS for step in steps[arrays_begin:]
        ),
        f"steps are {list(steps)}; each may come once": len(set(steps)) != len(steps),
        f"dimensions have {channels} channels; 1 or 3 are expected": channels not in (1, 3),
        f"dimensions are {list(parameters.dimensions)}; sizes from 1, or -1, are expected": any(
            size < 1 and size != ANY_SIZE for size in parameters.height_width
        ),
        f"crop_ratio is {parameters.crop_ratio}; above 0, up to 1 is expected": not (
            0 < parameters.crop_ratio <= 1
        ),
        "scale holds a zero, by which pixels would be divided": not np.all(parameters.scale),
        f"mean and scale have one number, or {channels}: one a channel": any(
            np.ndim(vector) and np.size(vector) != channels
            for vector in (parameters.mean, parameters.scale)
        ),
    }
    for text, wrong in faults.items():
        if wrong:
            raise WorkerError("request", f"image input: {text}")


def preprocess(image: Any, parameters: ImageParameters) -> np.ndarray:
    """Every step after decode, and the check that the tensor is the one that was described."""
    for step in parameters.steps[1:]:
        image = STEPS[step](image, parameters)
    tensor = np.ascontiguousarray(_pixels(image))
    channels, height, width = parameters.dimensions
    chw = parameters.layout.endswith("CHW")
    wanted = (channels, height, width) if chw else (height, width, channels)
    free = parameters.keep_aspect_ratio or parameters.max_dimension > 0
    matches = all(
        want in (ANY_SIZE, found) or (free and want != channels)
        for want, found in zip(wanted, tensor.shape, strict=True)
    )
    if not matches:
        text = f"the steps {list(parameters.steps)} give a tensor of shape {list(tensor.shape)}"
        raise WorkerError("request", f"{text}; the manifest promises {list(wanted)}")
    return tensor


def open(item: Item, parameters: ImageParameters) -> Image.Image:
    """Decode one item, a path or a content; what is no image is named, with what it is instead."""
    if item.array is not None:
        return _from_array(item, parameters)
    name, source = item.name, item.source
    try:
        return decode(source, parameters)
    except UnidentifiedImageError as error:
        text = f"input {name} is not an image but a {_what_is(source)}; an image is expected"
        raise WorkerError("input", f"{text} (PNG, JPEG, …)") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        text = f"input {name} ({_what_is(source)}) cannot be decoded: {error}; a whole image file"
        raise WorkerError("input", f"{text} is expected") from error


def _from_array(item: Item, parameters: ImageParameters) -> Image.Image:
    """An image that came as pixels: [height, width], or with 1 or 3 channels, 0–255."""
    pixels = np.asarray(item.array)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3):
        text = f"input {item.name} is an array of {pixels.dtype} {list(pixels.shape)}"
        raise WorkerError("input", f"{text}; uint8 [height, width] or [height, width, 3] expected")
    image = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels)
    return image.convert("L" if parameters.dimensions[0] == 1 else "RGB")


def tensors(image: Any, parameters: ImageParameters) -> np.ndarray:
    """The image as the one row of a batch."""
    return preprocess(image, parameters)[np.newaxis]


def about(image: Any, parameters: ImageParameters) -> dict[str, Any]:
    """The image's own size in pixels."""
    return {"width": image.width, "height": image.height}


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
