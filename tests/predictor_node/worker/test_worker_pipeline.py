"""Tensors worked out by hand in numpy, and crops that equal Pillow's to the pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from predictor_node.worker.job import Item
from predictor_node.worker.modalities import image as modality
from predictor_node.worker.modalities.image import ImageParameters, crop, preprocess, resize

# Two rows of three pixels: every value is different, so that no two layouts look alike.
PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10


def read_parameters(parameters: dict[str, Any]) -> ImageParameters:
    read: ImageParameters = modality.read_parameters({"type": "image", "parameters": parameters})
    return read


def tensor_of(pixels: np.ndarray, folder: Path, **parameters: Any) -> np.ndarray:
    path = folder / "image.png"
    Image.fromarray(pixels).save(path)
    read = read_parameters({"dimensions": [3, *pixels.shape[:2]], **parameters})
    return preprocess(modality.open(Item("image.png", str(path)), read), read)


def test_the_golden_tensor(tmp_path: Path) -> None:
    tensor = tensor_of(PIXELS, tmp_path, mean=[10, 20, 30], scale=2, color_mode="RGB")
    red = [[(0 - 10) / 2, (30 - 10) / 2, (60 - 10) / 2], [40.0, 55.0, 70.0]]
    green = [[(10 - 20) / 2, (40 - 20) / 2, (70 - 20) / 2], [40.0, 55.0, 70.0]]
    blue = [[(20 - 30) / 2, (50 - 30) / 2, (80 - 30) / 2], [40.0, 55.0, 70.0]]
    np.testing.assert_array_equal(tensor, np.array([red, green, blue], np.float32))
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW", "HWC"])
@pytest.mark.parametrize("color_mode", ["RGB", "BGR"])
@pytest.mark.parametrize(
    ("mean", "scale"), [(0, 1), (127, 128), (127.5, 127.5), ([1, 2, 3], [4, 5, 6]), (0, [1, 2, 4])]
)
def test_every_layout_colour_mean_and_scale(
    tmp_path: Path, layout: str, color_mode: str, mean: Any, scale: Any
) -> None:
    tensor = tensor_of(
        PIXELS, tmp_path, layout=layout, color_mode=color_mode, mean=mean, scale=scale
    )
    ordered = PIXELS if color_mode == "RGB" else PIXELS[..., [2, 1, 0]]
    wanted = (ordered.astype(np.float64) - np.array(mean)) / np.array(scale)
    if layout.endswith("CHW"):
        wanted = np.moveaxis(wanted, 2, 0)
    np.testing.assert_allclose(tensor, wanted, rtol=1e-6)


@pytest.mark.parametrize("element_type", ["float32", "float16", "uint8", "int32", "int64"])
def test_element_types(tmp_path: Path, element_type: str) -> None:
    tensor = tensor_of(PIXELS, tmp_path, element_type=element_type, layout="NHWC")
    assert tensor.dtype == np.dtype(element_type)
    np.testing.assert_array_equal(tensor.astype(np.int64), PIXELS.astype(np.int64))


def test_one_channel_is_grey(tmp_path: Path) -> None:
    grey = np.array([[0, 128], [255, 7]], np.uint8)
    assert tensor_of(grey, tmp_path, dimensions=[1, 2, 2]).tolist() == [[[0, 128], [255, 7]]]


def test_transparency_is_dropped_not_blended(tmp_path: Path) -> None:
    pixels = np.dstack([PIXELS, np.zeros((2, 3), np.uint8)])
    tensor = tensor_of(pixels, tmp_path, layout="HWC")
    np.testing.assert_array_equal(tensor, PIXELS)


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


STEPS = ["decode", "crop", "resize", "normalize", "transpose"]
# (image, dimensions, ratio, method) -> the box, by hand
BOXES_BEFORE_RESIZE = [
    ((451, 300), [3, 224, 224], 0.875, "center", (95, 19, 357, 281)),  # int(262.5), odd rest first
    ((451, 300), [3, 224, 224], 0.875, "topleft", (0, 0, 262, 262)),
    ((600, 400), [3, 224, 224], 0.875, "center", (125, 25, 475, 375)),
    ((300, 300), [3, 10, 10], 0.7, "topleft", (0, 0, 210, 210)),
    ((400, 400), [3, 10, 20], 1, "center", (0, 100, 400, 300)),  # the target's form, not a square
    ((451, 300), [3, 224, 224], 0.875, "none", (0, 0, 451, 300)),
]


@pytest.mark.parametrize(("size", "dimensions", "ratio", "method", "box"), BOXES_BEFORE_RESIZE)
def test_a_crop_before_resize_is_pillows(
    size: tuple[int, int],
    dimensions: list[int],
    ratio: float,
    method: str,
    box: tuple[int, int, int, int],
) -> None:
    image = noise(*size)
    parameters = read_parameters(
        {"dimensions": dimensions, "crop_ratio": ratio, "crop_method": method, "steps": STEPS}
    )
    np.testing.assert_array_equal(crop(image, parameters), image.crop(box))


@pytest.mark.parametrize("decoder", ["pillow", "opencv"])
@pytest.mark.parametrize("size", [(90, 60), (60, 90), (60, 60)])
def test_a_crop_beyond_the_image_has_a_black_border(size: tuple[int, int], decoder: str) -> None:
    """As timm prepares VOLO: the shorter side at 46 / 1.15, then torchvision's CenterCrop of 46."""
    given = {"dimensions": [3, 46, 46], "crop_ratio": 1.15, "crop_method": "center"}
    parameters = read_parameters(
        {**given, "decoder": decoder, "steps": ["decode", "resize", "crop"]}
    )
    image = noise(*size)
    small = resize(image if decoder == "pillow" else np.asarray(image), parameters)
    pixels = np.asarray(small)
    height, width = pixels.shape[:2]
    assert min(height, width) == 40
    # torchvision.transforms.functional.center_crop: less is put before than behind.
    before = [(max(0, 46 - side)) // 2 for side in (height, width)]
    behind = [(max(0, 46 - side) + 1) // 2 for side in (height, width)]
    padded = np.pad(pixels, [*zip(before, behind, strict=True), (0, 0)])
    top, left = ((side - 46) // 2 for side in padded.shape[:2])
    np.testing.assert_array_equal(
        np.asarray(crop(small, parameters)), padded[top : top + 46, left : left + 46]
    )


def test_center_is_not_topleft() -> None:
    image = noise(60, 40)
    found = [
        np.asarray(
            crop(
                image,
                read_parameters(
                    {
                        "dimensions": [3, 20, 20],
                        "crop_method": method,
                        "crop_ratio": 0.5,
                        "steps": STEPS,
                    }
                ),
            )
        )
        for method in ("center", "topleft")
    ]
    np.testing.assert_array_equal(found[0], np.asarray(image)[10:30, 20:40])
    np.testing.assert_array_equal(found[1], np.asarray(image)[:20, :20])


FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@pytest.mark.parametrize("interpolation", FILTERS)
def test_resize_then_crop_is_pillows(tmp_path: Path, interpolation: str) -> None:
    image = noise(451, 300)
    parameters = read_parameters(
        {
            "dimensions": [3, 224, 224],
            "crop_method": "center",
            "crop_ratio": 0.875,
            "interpolation": interpolation,
            "layout": "HWC",
        }
    )
    # The short side becomes 224 / 0.875 = 256, the long one 451 * 256 / 300 = 384.85.
    wanted = image.resize((385, 256), FILTERS[interpolation]).crop((81, 16, 305, 240))
    np.testing.assert_array_equal(preprocess(image, parameters), np.asarray(wanted))


# (parameters) -> the size after resize, from 400 wide and 200 high
SIZES = {
    "stretched": ({}, (100, 100)),
    "inside, keeping its form": ({"keep_aspect_ratio": True}, (100, 50)),
    "down to a limit": ({"max_dimension": 80}, (80, 40)),
    "never up to a limit": ({"max_dimension": 800}, (400, 200)),
    "any size": ({"dimensions": [3, -1, -1]}, (400, 200)),
    "around a crop": ({"crop_method": "center", "crop_ratio": 0.5}, (400, 200)),
}


@pytest.mark.parametrize("case", SIZES)
def test_resize_sizes(case: str) -> None:
    parameters, size = SIZES[case]
    read = read_parameters({"dimensions": [3, 100, 100], **parameters})
    assert resize(noise(400, 200), read).size == size


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    ratio=st.sampled_from([1, 1.0, 0.875, 0.9, 0.5]),
    method=st.sampled_from(["center", "topleft"]),
)
def test_resize_and_crop_always_give_the_promised_shape(
    width: int, height: int, target: tuple[int, int], ratio: float, method: str
) -> None:
    parameters = read_parameters(
        {"dimensions": [3, *target], "crop_method": method, "crop_ratio": ratio}
    )
    assert preprocess(noise(width, height), parameters).shape == (3, *target)
