"""Sizes and boxes, without pixels: what resize, crop and a border make of an image's size."""

from fractions import Fraction

from .geometry import Geometry
from .image_parameters import ANY_SIZE, ImageParameters


def resized_size(size: tuple[int, int], parameters: ImageParameters) -> tuple[int, int]:
    """The size (width, height) that resize makes of this one."""
    height, width = parameters.height_width
    known, method = ANY_SIZE not in (height, width), parameters.method
    if method == "auto" and parameters.max_dimension:
        scale = min(1.0, parameters.max_dimension / max(size))
    elif not known:
        return size
    elif method == "cover":
        scale = max(width / size[0], height / size[1])
        scale /= parameters.crop_ratio if parameters.crops_after_resize else 1
    elif method in ("contain", "pad"):
        scale = min(width / size[0], height / size[1])
    else:
        return width, height
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def crop_box(size: tuple[int, int], parameters: ImageParameters) -> tuple[int, int, int, int]:
    """Left, top, width, height: after resize the target's own size; before it, crop_ratio of the
    largest box of its form."""
    height, width = parameters.height_width
    if parameters.crop_method == "none" or ANY_SIZE in (height, width):
        return 0, 0, *size
    if not parameters.crops_after_resize:
        # Exact arithmetic on the ratio as it is written: 0.7 of 300 pixels is 210, not 209.
        ratio = Fraction(str(parameters.crop_ratio))
        largest = min(Fraction(size[0], width), Fraction(size[1], height))
        width, height = int(width * largest * ratio), int(height * largest * ratio)
    left = top = 0
    if parameters.crop_method == "center":
        # An odd remainder leaves its extra pixel before the box, as EfficientNet's own code does.
        left, top = (size[0] - width + 1) // 2, (size[1] - height + 1) // 2
    return left, top, width, height


def border_box(size: tuple[int, int], parameters: ImageParameters) -> tuple[int, int, int, int]:
    """The target's box around an image that lies in its middle: left and top are not above 0."""
    height, width = parameters.height_width
    if parameters.method != "pad" or ANY_SIZE in (height, width):
        return 0, 0, *size
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height


def geometry(
    given: tuple[int, int], size: tuple[int, int], parameters: ImageParameters
) -> Geometry:
    """Where the steps put the pixels of an image that was decoded at this size."""
    found = Geometry(given, given).resized(size)
    for step in parameters.steps:
        if step == "resize":
            found = found.resized(resized_size(found.input, parameters))
            left, top, *shown = border_box(found.input, parameters)
            found = found.cut(left, top, (shown[0], shown[1]))
        elif step == "crop":
            left, top, *shown = crop_box(found.input, parameters)
            found = found.cut(left, top, (shown[0], shown[1]))
    return found


def ratio(size: tuple[int, int], parameters: ImageParameters) -> float:
    """How much smaller resize makes an image of this size, at least."""
    if "resize" not in parameters.steps:
        return 1.0
    before = parameters.steps[: parameters.steps.index("resize")]
    shown = crop_box(size, parameters)[2:] if "crop" in before else size
    made = resized_size((shown[0], shown[1]), parameters)
    return max(made[0] / shown[0], made[1] / shown[1])
