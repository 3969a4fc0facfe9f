"""What a manifest says of an image input, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from .decoders import decoder, pillow

DEFAULT_STEPS = ("decode", "resize", "crop", "normalize", "transpose")
METHODS = ("auto", "stretch", "cover", "contain", "pad")
ELEMENT_TYPES = ("float32", "float16", "uint8", "int32", "int64")
LAYOUTS = ("NCHW", "NHWC", "CHW", "HWC")
ANY_SIZE = -1
MOST_CROP = 2.0
"""Above 1 a crop reaches beyond the image on every side, and a border is seen there."""
IMAGE_STEPS = ("decode", "crop", "resize")  # the others have left the image behind for an array


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
    decoder: str = "pillow"
    resize_method: str = "auto"
    interpolation: str = "bilinear"
    pad_value: float = 0.0
    steps: tuple[str, ...] = DEFAULT_STEPS

    @property
    def height_width(self) -> tuple[int, int]:
        return self.dimensions[1:]

    @property
    def crops_after_resize(self) -> bool:
        """Whether resize must leave room for a crop that comes later."""
        return (
            self.crop_method != "none"
            and {"crop", "resize"} <= {*self.steps}
            and self.steps.index("crop") > self.steps.index("resize")
        )

    @property
    def keeps_form(self) -> bool:
        """Whether what resize makes has a size of its own, and no crop or border mends it."""
        return self.keep_aspect_ratio or (
            self.method in ("contain", "cover") and not self.crops_after_resize
        )

    @property
    def method(self) -> str:
        """How resize fits the image to the target, `auto` looked through."""
        if self.resize_method != "auto" or ANY_SIZE in self.height_width:
            return self.resize_method
        if self.crops_after_resize:
            return "cover"
        if self.max_dimension:
            return "auto"
        return "contain" if self.keep_aspect_ratio else "stretch"


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
    decoder(parameters.decoder)  # before anything is loaded: is it there?
    return parameters


def _check(parameters: ImageParameters) -> None:
    for name, choices in (
        ("element_type", ELEMENT_TYPES),
        ("layout", LAYOUTS),
        ("color_mode", ("RGB", "BGR", "L")),
        ("resize_method", METHODS),
        ("crop_method", ("none", "center", "topleft")),
        ("interpolation", tuple(pillow.FILTERS)),
    ):
        if getattr(parameters, name) not in choices:
            raise unknown(name, getattr(parameters, name), choices)
    for step in parameters.steps:
        if step not in DEFAULT_STEPS:
            raise unknown("step", step, DEFAULT_STEPS)
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
        f"color_mode L is one channel, and dimensions have {channels}": (
            parameters.color_mode == "L" and channels != 1
        ),
        f"pad_value is {parameters.pad_value}; a pixel, 0 to 255, is expected": not (
            0 <= parameters.pad_value <= 255
        ),
        f"dimensions are {list(parameters.dimensions)}; sizes from 1, or -1, are expected": any(
            size < 1 and size != ANY_SIZE for size in parameters.height_width
        ),
        f"crop_ratio is {parameters.crop_ratio}; above 0, up to 2 is expected": not (
            0 < parameters.crop_ratio <= MOST_CROP
        ),
        f"crop_ratio is {parameters.crop_ratio}, a border, and no resize comes before the crop": (
            parameters.crop_ratio > 1 and not parameters.crops_after_resize
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
