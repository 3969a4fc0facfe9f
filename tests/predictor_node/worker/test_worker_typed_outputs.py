"""Boxes, masks, maps, images, texts, times and features: expected values worked out by hand."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from predictor_node.worker.errors import WorkerError
from predictor_node.worker.modalities import image as image_modality
from predictor_node.worker.modalities.geometry import Geometry
from predictor_node.worker.outputs import OUTPUTS, check_outputs, read_all
from predictor_node.worker.outputs.reading import Reading

# 400 x 200 pixels, resized to 100 x 50 with 25 rows of border above and below: a letterbox.
LETTERBOX = Geometry((400, 200), (100, 100), (0.25, 0.25), (0.0, 25.0))
SAME = Geometry((4, 2), (4, 2))
COCO = ["person", "cup", "table"]


def read(kind: str, rows: dict[str, Any], geometry: Geometry = LETTERBOX, **parameters: Any) -> Any:
    """What one item's outputs say, each with its batch of one."""
    given = {name: np.asarray(value)[np.newaxis] for name, value in rows.items()}
    reading = Reading(parameters.pop("labels", COCO), about={"geometry": geometry})
    return OUTPUTS[kind](given, {"parameters": parameters}, reading)


def corners(box: dict[str, Any]) -> list[float]:
    return [box["x1"], box["y1"], box["x2"], box["y2"]]


# A box of the input from (10, 30) to (60, 50): in the given image from (40, 20) to (240, 100).
FORMS = {
    "xyxy": ([10, 30, 60, 50], {}),
    "yxyx": ([30, 10, 50, 60], {"box_format": "yxyx"}),
    "xywh": ([10, 30, 50, 20], {"box_format": "xywh"}),
    "cxcywh": ([35, 40, 50, 20], {"box_format": "cxcywh"}),
    "fractions": ([0.1, 0.3, 0.6, 0.5], {"box_units": "fractions"}),
    "yxyx in fractions": ([0.3, 0.1, 0.5, 0.6], {"box_format": "yxyx", "box_units": "fractions"}),
}


@pytest.mark.parametrize("case", FORMS)
def test_boxes_are_told_in_pixels_of_the_given_image(case: str) -> None:
    box, parameters = FORMS[case]
    rows = {"b": [box], "p": [0.75], "c": [1.0]}
    layers = {"boxes_layer": "b", "probabilities_layer": "p", "classes_layer": "c"}
    (found,) = read("object_detection", rows, **layers, **parameters)["boxes"]
    assert corners(found) == pytest.approx([40, 20, 240, 100])
    assert (found["index"], found["label"], found["probability"]) == (1, "cup", 0.75)


def test_one_tensor_holds_corners_score_and_class() -> None:
    rows = [
        [0, 25, 50, 75, 0.25, 2],
        [10, 30, 60, 50, 0.75, 1],
        [0, 0, 10, 10, 0.9, 0],  # in the border: outside the image
        [-20, 30, 200, 50, 0.5, 7],  # reaches over both edges; a class without a label
        [0, 0, 0, 0, 0.0, 0],  # only fills the table up
        [10, 30, 60, 50, 0.125, 0],
    ]
    found = read("object_detection", {"y": rows}, threshold=0.2)["boxes"]
    assert [box["probability"] for box in found] == [0.75, 0.5, 0.25]
    assert [box["label"] for box in found] == ["cup", "", "table"]
    assert corners(found[1]) == pytest.approx([0, 20, 400, 100])
    assert corners(found[2]) == pytest.approx([0, 0, 200, 200])


def test_a_score_for_every_class_gives_the_best_one() -> None:
    rows = {"b": [[10, 30, 60, 50]], "p": [[0.0, np.log(3), -50.0]]}
    layers = {"boxes_layer": "b", "probabilities_layer": "p"}
    (found,) = read("object_detection", rows, **layers, transform="softmax")["boxes"]
    assert (found["label"], found["probability"]) == ("cup", pytest.approx(0.75))
    (found,) = read("object_detection", rows, **layers, transform="sigmoid")["boxes"]
    assert found["probability"] == pytest.approx(3 / 4)


def unpacked(box: dict[str, Any]) -> list[list[int]]:
    width = round(box["x2"] - box["x1"])
    flat = np.frombuffer(zlib.decompress(box["mask"]), np.uint8)
    return flat.reshape(-1, width).tolist()


def test_masks_fill_their_box_or_are_as_large_as_the_input() -> None:
    layers = {
        **{"boxes_layer": "b", "probabilities_layer": "p"},
        **{"classes_layer": "c", "masks_layer": "m"},
    }
    rows = {"b": [[0, 0, 1, 1], [0, 0, 4, 2]], "p": [0.5, 0.9], "c": [0, 2]}
    of_box = {**rows, "m": [[[0.0, 0.0]] * 2, [[0.2, 0.5], [0.9, 0.1]]]}
    best, _ = read("instance_segmentation", of_box, SAME, **layers)["boxes"]
    assert unpacked(best) == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert best["label"] == "table"
    whole = [[0.9, 0, 0, 0.9], [0, 0.9, 0.9, 0]]
    large = {**rows, "b": [[0, 0, 1, 1], [1, 0, 4, 2]], "m": [[whole], [whole]]}
    best, _ = read("instance_segmentation", large, SAME, **layers)["boxes"]
    assert corners(best) == [1, 0, 4, 2]
    assert unpacked(best) == [[0, 0, 1], [1, 1, 0]]


def class_map(found: dict[str, Any]) -> list[list[int]]:
    flat = np.frombuffer(zlib.decompress(found["map"]["block"]), "<u2")
    return flat.reshape(found["map"]["height"], found["map"]["width"]).tolist()


MAP = [[0, 2], [1, 0]]
SCORES = np.stack([np.equal(MAP, index) for index in range(3)]).astype(np.float32)
FULL = [[0, 0, 2, 2], [1, 1, 0, 0]]
# output -> the map of the 4 x 2 image that was resized to 2 x 2, by hand
MAPS = {
    "classes": (np.array(MAP), {}, FULL),
    "classes as floats": (np.array(MAP, np.float32), {}, FULL),
    "scores, channels first": (SCORES, {}, FULL),
    "scores, channels last": (SCORES.transpose(1, 2, 0), {}, FULL),
    "classes with a channel": (np.array([MAP]), {}, FULL),
    "one probability": (
        np.array([[[0.1, 0.9], [0.5, 0.4]]], np.float32),
        {},
        [[0, 0, 1, 1], [1, 1, 0, 0]],
    ),
    "one score": (
        np.array([[[-1, 5], [0, -9]]], np.float32),
        {"transform": "sigmoid"},
        [[0, 0, 1, 1], [1, 1, 0, 0]],
    ),
}


@pytest.mark.parametrize("case", MAPS)
def test_every_pixel_has_a_class(case: str) -> None:
    output, parameters, wanted = MAPS[case]
    geometry = SAME.resized((2, 2))
    assert class_map(read("semantic_segmentation", {"y": output}, geometry, **parameters)) == wanted


def test_what_the_model_did_not_see_has_no_class() -> None:
    cropped = Geometry((4, 2), (4, 2)).cut(1, 0, (2, 2))
    found = class_map(read("semantic_segmentation", {"y": np.array(MAP)}, cropped))
    assert found == [[65535, 0, 2, 65535], [65535, 1, 0, 65535]]


# the steps' parameters -> a point of the input, where it lies in the 400 x 200 image, by hand
POINTS = {
    "stretch": ({}, (50, 50), (200, 100)),
    "contain": ({"keep_aspect_ratio": True}, (50, 25), (200, 100)),
    "pad": ({"resize_method": "pad"}, (50, 35), (200, 40)),
    # The short side becomes 200, the long one 400; the middle 100 x 100 begins at (150, 50).
    "cover, then crop": ({"crop_method": "center", "crop_ratio": 0.5}, (0, 0), (150, 50)),
    "crop, then resize": (
        {"crop_method": "topleft", "steps": ["decode", "crop", "resize", "normalize", "transpose"]},
        (50, 100),
        (100, 200),
    ),
}


@pytest.mark.parametrize("case", POINTS)
def test_the_way_back_through_the_steps(case: str) -> None:
    parameters, point, wanted = POINTS[case]
    read = image_modality.read_parameters(
        {"parameters": {"dimensions": [3, 100, 100], **parameters}}
    )
    about = image_modality.about(Image.new("RGB", (400, 200)), read)
    assert about["geometry"].to_given(*point) == pytest.approx(wanted)


def enhanced(output: np.ndarray, **about: Any) -> np.ndarray:
    reading = Reading(about=about)
    parameters = {"mean": 10, "scale": 100}
    found = OUTPUTS["image_enhancement"](
        {"y": output[np.newaxis]}, {"parameters": parameters}, reading
    )
    image = found["image"]
    return np.frombuffer(image["data"], image["dtype"]).reshape(image["shape"])


def test_an_enhanced_image_is_pixels_again() -> None:
    output = np.array([[[0.0, 0.5]], [[1.0, 3.0]], [[-1.0, np.nan]]], np.float32)
    wanted = [[[10, 110, 0], [60, 255, 0]]]
    assert enhanced(output).tolist() == wanted
    assert enhanced(output.transpose(1, 2, 0)).tolist() == wanted
    assert enhanced(output, color_mode="BGR").tolist() == np.array(wanted)[..., ::-1].tolist()
    assert enhanced(output[0]).tolist() == [[[10], [60]]]


def test_letters_are_read_frame_by_frame() -> None:
    # blank a a blank a b: repetitions count once, unless a blank lies between them
    frames = np.eye(3, dtype=np.float32)[[0, 1, 1, 0, 1, 2]]
    assert read("text", {"y": frames}, labels=["a", "b"])["text"] == "aab"
    assert read("text", {"y": frames}, labels=["blank", "a", "b"])["text"] == "aab"
    with pytest.raises(WorkerError, match="4 letters, and the output has 3 values"):
        read("text", {"y": frames}, labels=list("abcd"))


def test_strings_are_told_as_they_are() -> None:
    assert read("text", {"y": np.array(["Grüße"], object)})["text"] == "Grüße"
    assert read("text", {"y": np.array([b"Gr\xc3\xbc\xc3\x9fe"], object)})["text"] == "Grüße"


def heard(scores: Any, threshold: float = 0.0, labels: tuple[str, ...] = (), **more: Any) -> Any:
    reading = Reading([*labels], about={"step_s": 0.5, "duration_s": 2.75})
    output = {"parameters": {"threshold": threshold, **more}}
    return OUTPUTS["audio_activity"]({"y": np.asarray(scores, np.float32)}, output, reading)[
        "intervals"
    ]


def test_windows_in_a_row_are_one_interval() -> None:
    found = heard([[0.1], [0.75], [0.5], [0.2], [0.1], [0.75]])
    assert found == [
        {"start_s": 0.5, "end_s": 1.5, "label": "", "probability": 0.625},
        {"start_s": 2.5, "end_s": 2.75, "label": "", "probability": 0.75},
    ]
    assert [one["start_s"] for one in heard([[0.5], [0.75]], threshold=0.7)] == [0.5]
    assert heard([[0.0]]) == []
    assert heard([[-1.0], [1.0]], transform="sigmoid")[0]["start_s"] == 0.5


def test_every_label_has_intervals_of_its_own() -> None:
    found = heard([[0.9, 0.1], [0.9, 0.9]], labels=("dog", "cat"))
    assert [(one["label"], one["start_s"], one["end_s"]) for one in found] == [
        ("dog", 0.0, 1.0),
        ("cat", 0.5, 1.0),
    ]


TOKENS = np.array([[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]], np.float32)
# parameters -> the vector, by hand; the last token only fills the text up
POOLED = {
    "none": ({}, TOKENS.tolist()),
    "first": ({"pooling": "cls"}, [3, 0]),
    "mean": ({"pooling": "mean"}, [1.5, 2]),
    "mean of unit length": ({"pooling": "mean", "normalize": True}, [0.6, 0.8]),
}


@pytest.mark.parametrize("case", POOLED)
def test_features_of_a_text(case: str) -> None:
    parameters, wanted = POOLED[case]
    reading = Reading(about={"mask": [1, 1, 0]})
    found = OUTPUTS["feature"]({"y": TOKENS[np.newaxis]}, {"parameters": parameters}, reading)
    (tensor,) = found["tensors"]
    values = np.frombuffer(tensor["data"], tensor["dtype"]).reshape(tensor["shape"])
    np.testing.assert_allclose(values, wanted, rtol=1e-6)


def test_a_classifier_of_several_classes_tells_all_above_the_threshold() -> None:
    rows = {"y": np.log([[3.0, 1.0, 0.5, 9.0]])}
    output = {"parameters": {"transform": "sigmoid", "threshold": 0.5}}
    found = OUTPUTS["classification"](rows, output, Reading(top_k=1))["classes"]
    assert [one["index"] for one in found] == [3, 0, 1]
    assert [one["probability"] for one in found] == pytest.approx([0.9, 0.75, 0.5])


def test_scores_below_zero_are_told() -> None:
    found = OUTPUTS["classification"]({"y": np.array([[-2.0, -1.0]])}, {}, Reading())["classes"]
    assert [one["index"] for one in found] == [1, 0]


def test_several_outputs_fill_one_prediction() -> None:
    rows = {"scores": np.array([[1.0, 2.0]]), "vector": np.zeros((1, 3), np.float32)}
    outputs = [
        {"type": "classification", "name": "scores"},
        {"type": "feature", "name": "vector"},
        {"type": "raw", "name": "scores"},
    ]
    check_outputs(outputs)
    found = read_all(rows, outputs, Reading())
    assert found["classes"][0]["index"] == 1
    assert [tensor["name"] for tensor in found["tensors"]] == ["vector", "scores"]


# what a model gives -> what the refusal says
WRONG = {
    "object_detection": ({"y": np.zeros((100, 5))}, "boxes, 6"),
    "instance_segmentation": ({"y": np.ones((1, 6))}, "masks"),
    "semantic_segmentation": ({"y": np.zeros(7)}, r"\[7\]; \[classes, h, w\]"),
    "image_enhancement": ({"y": np.zeros((5, 6, 7))}, r"\[5, 6, 7\]; 1, 3 or 4 channels"),
    "text": ({"y": np.zeros(3, np.int64)}, "no such input"),
    "audio_activity": ({"y": np.zeros(1)}, "an input of type audio is expected"),
    "feature": ({"y": np.zeros((2, 2, 2))}, r"\[tokens, size\] is expected"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_output_that_is_something_else_is_named(kind: str) -> None:
    rows, text = WRONG[kind]
    with pytest.raises(WorkerError, match=text) as caught:
        read(kind, rows, pooling="mean", labels=[])
    assert caught.value.kind == "request"


def test_boxes_need_an_image() -> None:
    with pytest.raises(WorkerError, match="the model's first input is none"):
        OUTPUTS["object_detection"]({"y": np.ones((1, 1, 6))}, {}, Reading())


def test_large_images_lie_in_the_jobs_folder(tmp_path: Path) -> None:
    reading = Reading(folder=str(tmp_path))
    found = OUTPUTS["image_enhancement"]({"y": np.ones((1, 3, 200, 300))}, {}, reading)
    assert np.load(found["image"]["file"]).shape == (200, 300, 3)
