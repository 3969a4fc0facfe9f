"""Many arrays at once must be what they are one by one: read, prepared, predicted, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictor_node.worker.datasets import Dataset, open_dataset
from predictor_node.worker.job import Item
from predictor_node.worker.modalities import image, raw
from predictor_node.worker.outputs.classification import best, softmax

CHANCE = np.random.default_rng(5)
GREY = CHANCE.integers(0, 256, (7, 6, 5)).astype(np.uint8)
LABELS = [3, 0, 1, 1, 2, 0, 3]


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def dataset(folder: Path, form: str, files: dict[str, bytes], **more: Any) -> Dataset:
    folder = folder / f"{len(list(folder.iterdir()))}"  # an earlier one's files stay mapped
    folder.mkdir()
    for role, data in files.items():
        (folder / role).write_bytes(data)
    paths = {role: str(folder / role) for role in files}
    labels = [f"class {n}" for n in range(4)]
    return open_dataset(
        {"name": "D", "format": form, "files": paths, "labels": labels, **more}, str(folder)
    )


def table(quote: str = "", end: str = "\n") -> bytes:
    rows = zip(GREY, LABELS, strict=True)
    text = [f"{quote}{y}{quote}," + ",".join(map(str, x.ravel())) for x, y in rows]
    return end.join(text).encode()


def npy(folder: Path, array: np.ndarray) -> bytes:
    np.save(folder / "made.npy", array)
    return (folder / "made.npy").read_bytes()


def datasets(folder: Path) -> dict[str, Dataset]:
    cifar = CHANCE.integers(0, 256, (7, 3073)).astype(np.uint8)
    cifar[:, 0] = LABELS
    pixels = {"first": 1, "height": 6, "width": 5}
    csv = {"parameters": {"header": False, "label_column": "0", "pixels": pixels}}
    scaled = {**csv["parameters"], "pixels": {**pixels, "maximum": 300}}
    labels = np.array(LABELS)
    return {
        "mnist": dataset(folder, "mnist", {"images": idx(GREY), "labels": idx(labels)}),
        "cifar": dataset(
            folder, "cifar", {"data": cifar[:3].tobytes(), "data2": cifar[3:].tobytes()}
        ),
        "numpy": dataset(
            folder, "numpy", {"data": npy(folder, GREY), "labels": npy(folder, labels)}
        ),
        "csv": dataset(folder, "csv", {"data": table()}, **csv),
        "scaled": dataset(folder, "csv", {"data": table()}, parameters=scaled),
        "windows": dataset(folder, "csv", {"data": table(end="\r\n")}, **csv),
        "package": dataset(
            folder,
            "package",
            {},
            parameters={"function": "sklearn.datasets:load_digits"},
            labels=[],
        ),
    }


@pytest.mark.parametrize("name", ["mnist", "cifar", "numpy", "csv", "scaled", "windows", "package"])
def test_a_stack_is_its_items(tmp_path: Path, name: str) -> None:
    found = datasets(tmp_path)[name]
    numbers = [4, 0, 6, 1]
    stack, items = found.stack(numbers), [found.reader.item(number) for number in numbers]
    assert stack is not None
    assert [*stack.names] == [item.name for item in items]
    assert [*stack.truths] == [item.truth for item in items]
    np.testing.assert_array_equal(stack.arrays, np.stack([item.array for item in items]))
    assert stack.arrays.dtype == items[0].array.dtype


@pytest.mark.parametrize(
    "data",
    [
        table(quote='"'),
        table() + b"\n1," + b",".join([b" 7"] * 30),
        table() + b"\n1," + b",".join([b"7.0"] * 30),
        table() + b"\n1," + b",".join([b"0007"] * 30),
        table()[: -len(b",255,255")],
        table() + b",9",
        b"\xef\xbb\xbf" + table(),
    ],
    ids=["quoted", "blanks", "fractions", "long numbers", "short", "long", "mark"],
)
def test_other_tables_are_read_row_by_row(tmp_path: Path, data: bytes) -> None:
    parameters = {
        "header": False, "label_column": "0", "pixels": {"first": 1, "height": 6, "width": 5},
    }  # fmt: skip
    found = dataset(tmp_path, "csv", {"data": data}, parameters=parameters)
    assert found.stack(range(len(found))) is None


def parameters(channels: int = 1, **more: Any) -> Any:
    given = {"element_type": "float32", "dimensions": [channels, 6, 5], **more}
    return image.read_parameters({"type": "image", "parameters": given})


@pytest.mark.parametrize(
    "given",
    [
        parameters(),
        parameters(scale=255),
        parameters(mean=33, scale=7, layout="NHWC"),
        parameters(element_type="uint8"),
        parameters(3, mean=[1, 2, 3], scale=[4, 5, 6], color_mode="BGR"),
        parameters(3, decoder="opencv", scale=255),
        parameters(resize_method="pad"),
        parameters(crop_method="center", crop_ratio=1.0),
    ],
)
def test_images_at_once_are_images_one_by_one(given: Any) -> None:
    found = image.stacked(GREY, given)
    assert found is not None
    made, about = found
    for array, tensor in zip(GREY, made, strict=True):
        opened = image.open(Item("x", array=array), given)
        one = image.tensors(opened, given)
        assert one.dtype == tensor.dtype
        np.testing.assert_array_equal(one[0], tensor)
        assert image.about(opened, given) == about


@pytest.mark.parametrize(
    ("arrays", "given"),
    [
        (GREY, parameters(dimensions=[1, 4, 4])),
        (GREY, parameters(crop_method="center", crop_ratio=0.5)),
        (np.zeros((2, 6, 5, 3), np.uint8), parameters()),
        (GREY.astype(np.float32), parameters()),
    ],
    ids=["resized", "cropped", "colours", "floats"],
)
def test_images_that_must_change_go_one_by_one(arrays: np.ndarray, given: Any) -> None:
    assert image.stacked(arrays, given) is None


def test_numbers_at_once() -> None:
    given = {"name": "x", "parameters": {"dimensions": [4], "mean": 3, "scale": 2}}
    read = raw.read_parameters(given)
    rows = CHANCE.normal(size=(5, 4)).astype(np.float32)
    found = raw.stacked(rows, read)
    assert found is not None
    ones = [raw.tensors(raw.open(Item("x", array=row), read), read)[0] for row in rows]
    np.testing.assert_array_equal(found[0], np.stack(ones))
    assert raw.stacked(rows[:, np.newaxis], read) is None  # rows of rows


@pytest.mark.parametrize("classes", [3, 10, 1000])
@pytest.mark.parametrize("levels", [2, 40, 10**9])
def test_the_best_of_equal_ones_is_the_lower(classes: int, levels: int) -> None:
    rows = CHANCE.integers(0, levels, (20, classes)).astype(np.float32)
    by_rule = [sorted(range(classes), key=lambda n: (-float(row[n]), n))[:5] for row in rows]
    assert best(rows, 5).tolist() == by_rule


def test_rows_are_transformed_each_for_itself() -> None:
    rows = np.array([[0.25, 0.75], [3.0, 1.0], [-1.0, 2.0]], np.float32)
    made = softmax(rows)
    assert made[0].tolist() == [0.25, 0.75]  # a distribution already
    for row, found in zip(rows[1:].astype(float), made[1:], strict=True):
        powers = np.exp(row)
        np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-12)
    for row, found in zip(rows, made, strict=True):
        np.testing.assert_array_equal(softmax(row), found)
