"""What models say of pictures, as a person sees it: tiny real models, answers worked by hand."""

from __future__ import annotations

import io
import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bus.messages import Box, ClassMap, Interval
from mlmodelscope.client import Client
from web import pixels
from web.said import marks_of

WIDTH, HEIGHT = 48, 32
MANIFEST = """
name: {name}
version: 1.0.0
task: {kind}
framework: {{name: onnxruntime, version: ">=1.17"}}
inputs:
  - type: image
    name: x
    parameters: {{element_type: float32, dimensions: [3, 32, 48], layout: NCHW, color_mode: RGB,
                 resize_method: stretch, mean: 0, scale: 255}}
outputs:
  - type: {kind}
    parameters: {parameters}
model: {{graph_path: {name}.onnx, format: onnx}}
"""
NAMES = "url: names.txt"
MODELS = {
    # The strongest channel of each pixel is its class.
    "strongest": ("semantic_segmentation", f"{{{NAMES}}}"),
    "negative": ("image_enhancement", "{mean: 0, scale: 255}"),
    "things": (
        "instance_segmentation",
        f"{{boxes_layer: boxes, probabilities_layer: scores, classes_layer: classes, "
        f"masks_layer: masks, box_format: xyxy, {NAMES}}}",
    ),
}


def graph(name: str) -> onnx.ModelProto:
    """The model of one kind."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    constants: dict[str, np.ndarray] = {}
    if name == "strongest":
        nodes = [helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)]
        outputs = [helper.make_tensor_value_info("y", TensorProto.INT64, [1, HEIGHT, WIDTH])]
    elif name == "negative":
        constants = {"one": np.ones(1, np.float32)}
        nodes = [helper.make_node("Sub", ["one", "x"], ["y"])]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])]
    else:
        constants = {
            # A mask fills its box: the left half of the first one, all of the second.
            "boxes_": np.array([[[0, 0, 16, 16], [32, 16, 48, 32]]], np.float32),
            "scores_": np.array([[0.9, 0.2]], np.float32),
            "classes_": np.array([[0, 2]], np.float32),
            "masks_": np.array([[[[1, 0]] * 2, [[1, 1]] * 2]], np.float32),
            "nothing": np.zeros(1, np.float32),
        }
        nodes = [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
        ]
        nodes += [
            helper.make_node("Add", [f"{one}_", "zero"], [one])
            for one in ("boxes", "scores", "classes", "masks")
        ]
        outputs = [
            helper.make_tensor_value_info(one, TensorProto.FLOAT, constants[f"{one}_"].shape)
            for one in ("boxes", "scores", "classes", "masks")
        ]
    weights = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    made = helper.make_graph(nodes, name, [x], outputs, weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def picture() -> bytes:
    """The left half red, the right half blue."""
    shown = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    shown[:, : WIDTH // 2, 0] = 200
    shown[:, WIDTH // 2 :, 2] = 100
    out = io.BytesIO()
    Image.fromarray(shown).save(out, "PNG")
    return out.getvalue()


def get(url: str, body: bytes | None = None, media: str = "application/json") -> bytes:
    """What a path answers."""
    headers = {"Content-Type": media} if body is not None else {}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        assert answer.status < 300
        return bytes(answer.read())


Seen = Callable[[str], str]


@pytest.fixture(scope="module")
def seen(web_url: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The address of the page of one of MODELS, evaluated on the picture."""
    folder, known = tmp_path_factory.mktemp("models"), {}
    (folder / "names.txt").write_text("red\ngreen\nblue\n")

    def of(name: str) -> str:
        if name not in known:
            known[name] = evaluated(web_url, home, folder, name)
        return known[name]

    return of


def evaluated(web_url: str, home: Path, folder: Path, name: str) -> str:
    """Have it evaluated through the web, as a program would."""
    import asyncio

    import msgspec

    kind, parameters = MODELS[name]
    onnx.save(graph(name), folder / f"{name}.onnx")
    path = folder / f"{name}.yml"
    path.write_text(MANIFEST.format(name=name, kind=kind, parameters=parameters))

    async def manifest() -> Any:
        async with Client.local(home) as client:
            return msgspec.to_builtins(await client.manifest(path))

    sent = json.loads(get(f"{web_url}/api/v1/uploads?name=halves.png", picture(), "image/png"))
    asked = {"manifest": asyncio.run(manifest()), "inputs": [{"upload": sent["upload"]}], "runs": 3}
    begun = json.loads(get(f"{web_url}/api/v1/evaluations", json.dumps(asked).encode()))
    for line in urllib.request.urlopen(f"{web_url}{begun['facts_url']}", timeout=60):
        if line.startswith(b"event: end"):
            break
    page = f"{web_url}{begun['page_url']}"
    until_s = time.monotonic() + 30
    while b"data-live" in get(page) and time.monotonic() < until_s:
        time.sleep(0.1)  # the store may be a moment behind the bus
    return page


def image(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_classes_lie_over_the_picture_in_their_colours(seen: Seen) -> None:
    page = get(seen("strongest")).decode()
    assert re.search(r'<img src="/api/v1/uploads/[0-9a-f]{64}"', page)
    assert "data-opacity" in page and "red" in page and "50.0%" in page
    shown = image(get(f"{seen('strongest')}/said/0/map.png"))
    assert shown.shape == (HEIGHT, WIDTH, 4)
    assert tuple(shown[5, 3]) == (*pixels.color_of(0), 255)
    assert tuple(shown[30, 40]) == (*pixels.color_of(2), 255)


def test_before_and_after(seen: Seen) -> None:
    page = get(seen("negative")).decode()
    assert "data-divide" in page and page.count("halves.png, ") == 2
    shown = image(get(f"{seen('negative')}/said/0/image.png"))
    assert tuple(shown[5, 3]) == (55, 255, 255)
    assert tuple(shown[30, 40]) == (255, 255, 155)


def test_masks_lie_in_their_boxes(seen: Seen) -> None:
    page = get(seen("things")).decode()
    assert page.count('class="mask"') == 2 and "data-confidence" in page
    shown = image(get(f"{seen('things')}/said/0/mask-0.png"))
    assert shown.shape == (16, 16, 4)
    assert shown[8, 3, 3] == 255 and shown[8, 12, 3] == 0


def test_a_manifest_of_ones_own_is_not_tried_elsewhere(seen: Seen) -> None:
    section = get(f"{seen('negative')}/trials").decode()
    assert "negative is not published" in section and 'name="place"' not in section


@pytest.mark.parametrize("path", ["map.png", "mask-0.png", "../7/image.png", "../0/mask-99.png"])
def test_no_such_picture_is_said_to_be_none(seen: Seen, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as answer:
        get(f"{seen('negative')}/said/0/{path}")
    answer.value.close()
    assert answer.value.code == 404


# ------------------------------------------------------------------ without a model


def test_a_png_reads_back_as_it_was() -> None:
    values = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
    assert (image(pixels.png(values)) == values).all()
    assert (image(pixels.png(values[..., :3])) == values[..., :3]).all()
    assert (image(pixels.png(values[..., :1])) == values[..., 0]).all()


def test_what_has_no_class_is_see_through() -> None:
    import zlib

    block = zlib.compress(np.array([[65535, 1]], "<u2").tobytes())
    shown = image(pixels.map_png(ClassMap(height=1, width=2, block=block)))
    assert shown[0, 0, 3] == 0 and tuple(shown[0, 1, :3]) == pixels.color_of(1)


@pytest.mark.parametrize("mask", [b"", b"x\x9c+\x01\x00\x00s\x00s"])
def test_a_mask_that_does_not_fill_its_box_is_not_drawn(mask: bytes) -> None:
    assert pixels.mask_png(Box(x1=0, y1=0, x2=7, y2=3, mask=mask)) == b""


def test_marks_have_a_lane_for_each_label() -> None:
    heard = [Interval(start_s=0.5, end_s=0.75, label="b"), Interval(start_s=0, end_s=2, label="a")]
    marks = marks_of(heard)
    assert marks.lanes == ["a", "b"] and marks.end == 2
    assert [(bar.begin, bar.length, bar.lane) for bar in marks.bars] == [(0.5, 0.25, 1), (0, 2, 0)]
