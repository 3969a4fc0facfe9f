"""Classes and labels: expected values by hand and from scipy."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax

from predictor_node.worker.errors import WorkerError
from predictor_node.worker.outputs import check_outputs, classification, tensors
from predictor_node.worker.outputs.classification import best_classes, softmax
from predictor_node.worker.outputs.labels import read_labels
from predictor_node.worker.outputs.reading import Reading


def test_softmax_is_scipys() -> None:
    scores = np.array([-1000.0, 0.5, 3.25, 1000.0, 999.0], np.float32)
    np.testing.assert_allclose(softmax(scores), scipy_softmax(scores.astype(np.float64)))


def test_probabilities_are_not_softened_twice() -> None:
    found = np.array([0.1, 0.7, 0.2], np.float32)
    np.testing.assert_array_equal(softmax(found), found.astype(np.float64))


def test_equal_values_are_ordered_by_index() -> None:
    row = np.array([0.2, 0.3, 0.2, 0.3, 0.0], np.float32)
    best = best_classes(row, [], top_k=3)
    assert [found["index"] for found in best] == [1, 3, 0]
    assert best[0] == {"index": 1, "label": "", "probability": pytest.approx(0.3)}


@pytest.mark.parametrize("top_k", [1, 2, 9])
def test_top_k_is_at_most_the_width(top_k: int) -> None:
    row = np.array([1, 5, 3], np.uint8)
    best = best_classes(row, ["a", "b", "c"], top_k)
    assert [found["label"] for found in best] == ["b", "c", "a"][:top_k]


def test_a_classifier_may_end_in_a_picture_of_one_pixel() -> None:
    rows = {"y": np.array([[[[0.0]], [[np.log(3)]]]])}
    reading = Reading(labels=["no", "yes"], top_k=1)
    found = classification.read(rows, {"parameters": {"transform": "softmax"}}, reading)
    assert found == {"classes": [{"index": 1, "label": "yes", "probability": pytest.approx(0.75)}]}


def test_of_several_windows_the_mean_counts() -> None:
    rows = {"y": np.array([[0.2, 0.8], [0.6, 0.4]])}
    found = classification.read(rows, {}, Reading(top_k=2))
    assert [(c["index"], c["probability"]) for c in found["classes"]] == [
        (1, pytest.approx(0.6)),
        (0, pytest.approx(0.4)),
    ]


def test_everything_is_told_where_everything_is_wanted() -> None:
    rows = {"y": np.arange(12.0).reshape(1, 12)}
    assert len(classification.read(rows, {}, Reading(top_k=2, full=True))["classes"]) == 12


def test_a_tensor_travels_unless_it_is_large(tmp_path: Path) -> None:
    (small,) = tensors.read({"y": np.array([[1.0, 2.0]], np.float32)}, {}, Reading())["tensors"]
    assert small == {
        "name": "",
        "dtype": "float32",
        "shape": [2],
        "data": bytes.fromhex("0000803f00000040"),
    }
    numbers = np.random.default_rng(2).random((100, 100))
    reading = Reading(folder=str(tmp_path))
    (large,) = tensors.read({"y": numbers[np.newaxis]}, {"name": "y"}, reading)["tensors"]
    assert large.keys() == {"name", "dtype", "shape", "file"}
    assert Path(large["file"]).parent == tmp_path
    np.testing.assert_array_equal(np.load(large["file"]), numbers)


LABELS = {
    "a list": ('["tench", "goldfish"]', ["tench", "goldfish"]),
    "a map": ('{"1": "goldfish", "0": "tench"}', ["tench", "goldfish"]),
    "keras' map": (
        '{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}',
        ["tench", "goldfish"],
    ),
    "lines": ("tench\ngoldfish\n\n", ["tench", "goldfish"]),
    "lines with ids": ("n01440764 tench\nn01443537 goldfish, x\n", ["tench", "goldfish, x"]),
    "a mark at the beginning": ("\ufefftench\ngoldfish", ["tench", "goldfish"]),
    "an empty line inside": ("tench\n\ngoldfish", ["tench", "", "goldfish"]),
}


@pytest.mark.parametrize("case", LABELS)
def test_label_files(tmp_path: Path, case: str) -> None:
    text, labels = LABELS[case]
    path = tmp_path / "labels"
    path.write_text(text, "utf-8")
    assert read_labels(str(path)) == labels


@pytest.mark.parametrize("text", ['["tench"', '{"tench": 0}', '{"0": "a", "2": "b"}'])
def test_label_files_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(WorkerError, match=r"labels\.json") as caught:
        read_labels(str(path))
    assert caught.value.kind == "asset"


def test_an_unknown_transform_names_the_nearest() -> None:
    with pytest.raises(WorkerError, match="did you mean softmax"):
        check_outputs([{"type": "classification", "parameters": {"transform": "softmx"}}])
