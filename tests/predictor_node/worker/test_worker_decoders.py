"""Each decoder beside its own library called directly, and every way to fit an image to a size."""

import io
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from predictor_node.worker.errors import WorkerError
from predictor_node.worker.job import Item
from predictor_node.worker.modalities import image as modality

turbojpeg = pytest.importorskip("turbojpeg")
try:
    turbojpeg.TurboJPEG()
except (OSError, RuntimeError):
    turbojpeg = None
NEEDS_TURBOJPEG = pytest.mark.skipif(turbojpeg is None, reason="libturbojpeg is not installed")


def photograph(width: int = 320, height: int = 240) -> Image.Image:
    """Soft forms with some noise: a JPEG of it is nothing like a JPEG of noise alone."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 19), np.cos(y / 23), np.sin((x + y) / 31)], axis=-1)
    grain = np.random.default_rng(7).normal(0, 4, waves.shape)
    return Image.fromarray(np.clip(waves * 100 + 128 + grain, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    file = io.BytesIO()
    photograph().save(file, "JPEG", quality=90)
    return file.getvalue()


def tensor(data: bytes, **parameters: Any) -> np.ndarray:
    given = {"element_type": "uint8", "layout": "HWC", **parameters}
    read = modality.read_parameters({"parameters": given})
    (row,) = modality.tensors(modality.open(Item("a.jpg", data=data), read), read)
    return row


CV2 = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


@pytest.mark.parametrize("interpolation", CV2)
def test_opencv_decodes_and_resizes(jpeg: bytes, interpolation: str) -> None:
    made = tensor(jpeg, dimensions=[3, 50, 70], decoder="opencv", interpolation=interpolation)
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    wanted = cv2.resize(pixels, (70, 50), interpolation=CV2[interpolation])[..., ::-1]
    np.testing.assert_array_equal(made, wanted)


def test_opencv_crops_and_greys(jpeg: bytes) -> None:
    crop = {"crop_method": "center", "crop_ratio": 0.8, "decoder": "opencv"}
    made = tensor(jpeg, dimensions=[3, 100, 100], **crop)
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), cv2.COLOR_BGR2RGB)
    # The short side of 240 becomes 125, the long one 320 * 125 / 240 = 166.7.
    resized = cv2.resize(pixels, (167, 125), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(made, resized[13:113, 34:134])
    grey = tensor(jpeg, dimensions=[1, -1, -1], color_mode="L", decoder="opencv")
    wanted = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(grey[..., 0], wanted)


@NEEDS_TURBOJPEG
def test_turbojpeg_decodes_no_more_than_is_needed(jpeg: bytes) -> None:
    made = tensor(jpeg, dimensions=[3, 55, 70], decoder="turbojpeg", interpolation="bicubic")
    # 55 of 240 rows are needed: 2/8 are 60, and 1/8 too few.
    eighths = turbojpeg.TurboJPEG().decode(
        jpeg, pixel_format=turbojpeg.TJPF_RGB, scaling_factor=(1, 4)
    )
    assert eighths.shape == (60, 80, 3)
    wanted = Image.fromarray(eighths).resize((70, 55), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(made, wanted)


@NEEDS_TURBOJPEG
@pytest.mark.parametrize("dimensions", [[3, -1, -1], [3, 240, 320], [1, -1, -1]])
def test_turbojpeg_leaves_the_size_where_nothing_is_resized(
    jpeg: bytes, dimensions: list[int]
) -> None:
    made = tensor(jpeg, dimensions=dimensions, decoder="turbojpeg")
    wanted = Image.open(io.BytesIO(jpeg)).convert("L" if dimensions[0] == 1 else "RGB")
    # Pillow is built on the same library; grey is taken from the file's own, not from RGB.
    assert np.abs(made.squeeze().astype(int) - np.asarray(wanted).astype(int)).max() <= 2


@NEEDS_TURBOJPEG
def test_turbojpegs_smaller_image_is_still_told_in_given_pixels(jpeg: bytes) -> None:
    given = {"dimensions": [3, 24, 32], "decoder": "turbojpeg"}
    read = modality.read_parameters({"parameters": given})
    about = modality.about(modality.open(Item("a.jpg", data=jpeg), read), read)
    assert about["geometry"].to_given(16, 12) == pytest.approx((160, 120))


@NEEDS_TURBOJPEG
def test_turbojpeg_reads_jpeg_only() -> None:
    file = io.BytesIO()
    photograph().save(file, "PNG")
    with pytest.raises(WorkerError, match="choose pillow or opencv"):
        tensor(file.getvalue(), dimensions=[3, 9, 9], decoder="turbojpeg")


@pytest.mark.parametrize(("decoder", "module"), [("opencv", "cv2"), ("turbojpeg", "turbojpeg")])
def test_a_decoder_that_is_not_installed_names_its_package(
    monkeypatch: pytest.MonkeyPatch, decoder: str, module: str
) -> None:
    modality.DECODERS["turbojpeg"]._library.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)  # as if there were none: import raises
    with pytest.raises(WorkerError, match=f"decoder {decoder} is not installed") as caught:
        modality.read_parameters({"parameters": {"dimensions": [3, 9, 9], "decoder": decoder}})
    assert "pip install" in caught.value.text


@pytest.mark.parametrize("decoder", ["pillow", "opencv"])
@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8 half a JPEG"])
def test_what_is_no_image_is_named(decoder: str, data: bytes) -> None:
    with pytest.raises(WorkerError, match=r"input a\.jpg") as caught:
        tensor(data, dimensions=[3, 9, 9], decoder=decoder)
    assert caught.value.kind == "input"


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# 320 x 240 to 100 x 100, as Pillow's own functions do it
METHODS = {
    "stretch": lambda image: image.resize((100, 100), Image.Resampling.BILINEAR),
    "cover": lambda image: image.resize((133, 100), Image.Resampling.BILINEAR),
    "contain": lambda image: image.resize((100, 75), Image.Resampling.BILINEAR),
}


@pytest.mark.parametrize("method", METHODS)
def test_resize_methods(method: str) -> None:
    image = photograph()
    made = tensor(png(image), dimensions=[3, 100, 100], resize_method=method)
    np.testing.assert_array_equal(made, METHODS[method](image))


@pytest.mark.parametrize("decoder", ["pillow", "opencv"])
def test_pad_puts_the_image_into_the_middle(decoder: str) -> None:
    made = tensor(
        png(photograph()),
        dimensions=[3, 100, 100],
        resize_method="pad",
        pad_value=114,
        decoder=decoder,
    )
    assert made.shape == (100, 100, 3)
    contained = tensor(
        png(photograph()), dimensions=[3, 100, 100], resize_method="contain", decoder=decoder
    )
    np.testing.assert_array_equal(made[13:88], contained)
    assert (made[:13] == 114).all() and (made[88:] == 114).all()
    if decoder == "pillow":
        wanted = ImageOps.expand(Image.fromarray(contained), (0, 13, 0, 12), (114, 114, 114))
        np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"decoder": "pilow"}, "did you mean pillow"),
        ({"resize_method": "fill"}, "unknown resize_method"),
        ({"color_mode": "L"}, "color_mode L is one channel"),
        ({"pad_value": 300}, "a pixel, 0 to 255"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(WorkerError, match=text):
        modality.read_parameters({"parameters": {"dimensions": [3, 9, 9], **parameters}})


def test_the_decoder_is_recorded(tmp_path: Path) -> None:
    given = {"dimensions": [3, 9, 9], "decoder": "opencv"}
    read = modality.read_parameters({"parameters": given})
    assert modality.settings(read) == {"decoder": f"opencv {cv2.__version__}"}
