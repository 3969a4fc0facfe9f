"""Every format of a dataset, made by hand here: each item with what is true of it, and no other."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from predictor_node.worker.datasets import open_dataset
from predictor_node.worker.datasets.matching import Matching
from predictor_node.worker.datasets.selection import Selection, selected
from predictor_node.worker.errors import WorkerError
from predictor_node.worker.job import Item


@pytest.fixture
def make(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A dataset of a format and its files; what is compressed is unpacked below tmp_path."""

    def opened(form: str, limit: int = 0, **sent: Any) -> Any:
        files = {role: str(path) for role, path in sent.pop("files", {}).items()}
        whole = {"name": "D", "format": form, "files": files, **sent}
        return open_dataset(whole, str(tmp_path / "work"), limit)

    return opened


def seen(item: Item) -> tuple[str, Any]:
    return item.name, item.truth


def picture(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)
    return path


# ------------------------------------------------------------------ which items


def test_the_order_can_be_made_in_another_language() -> None:
    """Sorted by the SHA-256 of "seed:number", as `printf 5:0 | sha256sum` gives it."""
    digests = {n: hashlib.sha256(f"5:{n}".encode()).hexdigest() for n in range(20)}
    order = sorted(digests, key=lambda n: digests[n])
    assert list(selected(20, Selection(seed=5))) == order
    assert list(selected(20, Selection(seed=5, skip=3, count=4))) == order[3:7]
    assert list(selected(20, Selection(seed=5, skip=3, count=4), limit=2)) == order[3:5]
    assert list(selected(20, Selection(skip=18))) == [18, 19]


def test_the_order_is_what_it_was_once() -> None:
    assert list(selected(8, Selection(seed=1))) == [7, 4, 6, 5, 2, 3, 0, 1]


def test_two_splits_by_one_seed_share_nothing() -> None:
    held_out = set(selected(500, Selection(seed=1, count=100)))
    rest = set(selected(500, Selection(seed=1, skip=100)))
    assert not held_out & rest and len(held_out | rest) == 500


def test_more_items_than_there_are() -> None:
    with pytest.raises(WorkerError, match="selects items 5 to 15, and there are 10"):
        selected(10, Selection(skip=5, count=10))


# ------------------------------------------------------------------ tables


def test_pixels_in_columns(make, tmp_path: Path) -> None:
    path = tmp_path / "d.csv.gz"
    rows = [[7, 0, 1, 2, 3, 4, 16], [2, 16, 8, 0, 0, 0, 0]]
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()))
    dataset = make(
        "csv",
        files={"data": path},
        parameters={
            "header": False,
            "label_column": "0",
            "pixels": {"first": 1, "height": 2, "width": 3, "maximum": 16.0},
        },
    )
    first, second = dataset
    assert [seen(first), seen(second)] == [
        ("D#0", {"index": 7, "label": ""}),
        ("D#1", {"index": 2, "label": ""}),
    ]
    assert first.array.tolist() == [[0, 16, 32], [48, 64, 255]]  # 2 × 255/16 = 31.875 …
    assert second.array.tolist() == [[255, 128, 0], [0, 0, 0]]


def test_texts_and_answers_with_commas_quotes_and_lines_inside(make, tmp_path: Path) -> None:
    told = [
        ("one, two", "greeting", "a"),
        ('a "word"\nand more', "", "b"),
        ("last", "farewell", ""),
    ]
    out = io.StringIO()
    csv.writer(out).writerows([("text", "kind", "answer"), *told])
    path = tmp_path / "d.csv"
    path.write_text(out.getvalue())
    dataset = make(
        "csv",
        files={"data": path},
        parameters={"text_column": "text", "label_column": "kind", "answer_column": "answer"},
        labels=["greeting", "farewell"],
    )
    items = list(dataset)
    assert [item.data.decode() for item in items] == ["one, two", 'a "word"\nand more', "last"]
    assert [item.truth for item in items] == [
        {"index": 0, "label": "greeting", "text": "a"},
        {"text": "b"},
        {"index": 1, "label": "farewell"},
    ]


def test_a_table_that_names_files(make, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", 1)
    (tmp_path / "d.tsv").write_text("file\tlabel\na.png\t3\n")
    dataset = make(
        "csv",
        files={"data": tmp_path / "d.tsv", "images": tmp_path / "images"},
        parameters={"delimiter": "\t", "file_column": "file", "label_column": "label"},
    )
    (item,) = dataset
    assert (item.path, item.truth) == (str(tmp_path / "images/a.png"), {"index": 3, "label": ""})


def test_json_lines(make, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"t": "x", "a": "one two"}\n\n{"t": "y", "a": ""}\n')
    parameters = {"text_field": "t", "answer_field": "a"}
    items = list(make("jsonl", files={"data": path}, parameters=parameters))
    assert [(i.data, i.truth) for i in items] == [(b"x", {"text": "one two"}), (b"y", None)]


# ------------------------------------------------------------------ folders


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "file,label\nb.png,dog\na.png,cat\nc.png,\n"),
        ("l.tsv", "file\tlabel\nb.png\tdog\na.png\tcat\nc.png\t\n"),
        ("l.json", '{"b.png": "dog", "a.png": "cat", "c.png": ""}'),
        ("l.json", '[{"file": "b.png", "label": "dog"}, {"file": "a.png", "label": "cat"},'
         ' {"file": "c.png"}]'),
        ("l.txt", "b.png dog\na.png cat\nc.png\n"),
    ],
)  # fmt: skip
def test_a_folder_with_a_labels_file(make, tmp_path: Path, name: str, text: str) -> None:
    for value, each in enumerate("abc"):
        picture(tmp_path / "images" / f"{each}.png", value)
    (tmp_path / name).write_text(text)
    dataset = make(
        "images",
        files={"images": tmp_path / "images", "labels": tmp_path / name},
        labels=["cat", "dog"],
    )
    assert [seen(item) for item in dataset] == [
        ("b.png", {"index": 1, "label": "dog"}),
        ("a.png", {"index": 0, "label": "cat"}),
        ("c.png", None),
    ]


def test_masks_and_targets_beside_images(make, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg", 9)
    mask = np.array([[0, 1, 255], [2, 2, 0]], np.uint8)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    picture(tmp_path / "targets" / "a.png", 77)
    files = {role: tmp_path / role for role in ("images", "masks", "targets")}
    (item,) = make("images", files=files)
    assert item.truth is not None
    told = item.truth["map"]
    pixels = np.frombuffer(zlib.decompress(told["block"]), "<u2").reshape(2, 3)
    assert (told["height"], told["width"]) == (2, 3)
    assert pixels.tolist() == [[0, 1, 65535], [2, 2, 0]]
    assert item.truth["image"] == {
        "dtype": "uint8",
        "shape": [4, 6, 3],
        "data": bytes([77]) * 72,
    }


def test_a_folder_a_class(make, tmp_path: Path) -> None:
    for place in ("dog/2.png", "cat/9.png", "cat/more/1.png", ".hidden/1.png", "dog/.x.png"):
        picture(tmp_path / "images" / place, 0)
    dataset = make("image_folder", files={"images": tmp_path / "images"})
    assert [seen(item) for item in dataset] == [
        ("cat/9.png", {"index": 0, "label": "cat"}),
        ("cat/more/1.png", {"index": 0, "label": "cat"}),
        ("dog/2.png", {"index": 1, "label": "dog"}),
    ]
    assert len(make("image_folder", limit=2, files={"images": tmp_path / "images"})) == 2


def test_coco_boxes(make, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "x.jpg", 0)
    annotations = {
        "images": [{"id": 7, "file_name": "x.jpg"}, {"id": 9, "file_name": "y.jpg"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 20, 30, 40], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 1},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    files = {"images": tmp_path / "images", "annotations": tmp_path / "a.json"}
    dataset = make("coco", files=files)
    assert dataset.reader.labels == ["person", "dog"]
    first, second = dataset
    assert first.truth == {
        "boxes": [
            {"x1": 10, "y1": 20, "x2": 40, "y2": 60, "index": 1, "label": "dog", "crowd": False},
            {"x1": 0, "y1": 0, "x2": 5, "y2": 5, "index": 0, "label": "person", "crowd": True},
        ]
    }
    assert second.truth == {"boxes": []}


# ------------------------------------------------------------------ bytes and arrays


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_idx_files_of_mnist(make, tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8)
    (tmp_path / "i").write_bytes(pack(struct.pack(">4I", 0x803, 2, 3, 4) + pixels.tobytes()))
    (tmp_path / "l").write_bytes(pack(struct.pack(">2I", 0x801, 2) + bytes([5, 0])))
    dataset = make("mnist", files={"images": tmp_path / "i", "labels": tmp_path / "l"})
    assert [item.truth["index"] for item in dataset] == [5, 0]
    assert [item.array.tolist() for item in dataset] == pixels.reshape(2, 3, 4).tolist()


@pytest.mark.parametrize(("label", "index"), [("fine", 41), ("coarse", 3)])
def test_the_binary_files_of_cifar_100(make, tmp_path: Path, label: str, index: int) -> None:
    planes = np.arange(3 * 32 * 32, dtype=np.uint16).astype(np.uint8).reshape(3, 32, 32)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes([3, 41]) + planes.tobytes())
    dataset = make(
        "cifar",
        files={"data": tmp_path / "a", "data2": tmp_path / "b"},
        parameters={"classes": "100", "label": label},
    )
    assert len(dataset) == 2
    assert [item.truth["index"] for item in dataset] == [index, index]
    assert (next(iter(dataset)).array.transpose(2, 0, 1) == planes).all()


def test_numpy_files(make, tmp_path: Path) -> None:
    items, labels = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([1, 0, 1])
    np.save(tmp_path / "x.npy", items)
    np.save(tmp_path / "y.npy", labels)
    np.savez_compressed(tmp_path / "both.npz", x=items, y=labels)
    two = make("numpy", files={"data": tmp_path / "x.npy", "labels": tmp_path / "y.npy"})
    one = make(
        "numpy", files={"data": tmp_path / "both.npz"}, parameters={"items": "x", "labels": "y"}
    )
    for dataset in (one, two):
        assert [item.array.tolist() for item in dataset] == items.tolist()
        assert [item.truth["index"] for item in dataset] == [1, 0, 1]


def test_a_dataset_inside_a_package(make) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    dataset = make("package", parameters={"function": "sklearn.datasets:load_digits"})
    assert len(dataset) == 1797
    items = list(dataset)
    assert [item.truth["index"] for item in items] == bunch.target.tolist()
    wanted = np.rint(bunch.images[3] * 255 / 16)
    assert (items[3].array == wanted).all() and items[3].array.dtype == np.uint8


# ------------------------------------------------------------------ what is wrong is named


def wrong(tmp_path: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """name -> format and what is sent; the name is what the error says."""
    (tmp_path / "table.csv").write_text("text,label\nx,7\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "pickle").write_bytes(pickle.dumps({"data": b"x"}))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    (tmp_path / "out.csv").write_text("../../etc/passwd,0\n")
    (tmp_path / "idx").write_bytes(struct.pack(">4I", 0x803, 2, 3, 4) + b"short")
    (tmp_path / "gz").write_bytes(gzip.compress(b"x" * 1000)[:-12])
    (tmp_path / "lines").write_text("not json\n")
    table, text = {"data": tmp_path / "table.csv"}, {"text_column": "text"}
    empty = {"images": tmp_path / "folder"}
    return {
        "unknown dataset format 'csb'; did you mean csv": ("csb", {}),
        "unknown column of dataset D 'lable'; did you mean label": (
            "csv", {"files": table, "parameters": {**text, "label_column": "lable"}},
        ),
        "unknown label in row 0 '7'": (
            "csv",
            {"files": table, "parameters": {**text, "label_column": "label"}, "labels": ["a"]},
        ),
        "say what an item is": ("csv", {"files": table}),
        "names no file for 'data'": ("csv", {}),
        "holds no folders; one a class": ("image_folder", {"files": empty}),
        "holds no items": ("images", {"files": empty}),
        "it is a Python pickle": ("cifar", {"files": {"data": tmp_path / "pickle"}}),
        "an .npy file of numbers": ("numpy", {"files": {"data": tmp_path / "objects.npy"}}),
        "lies outside of the images": (
            "csv",
            {
                "files": {"data": tmp_path / "out.csv", "images": tmp_path / "folder"},
                "parameters": {"header": False, "file_column": "0"},
            },
        ),
        "21 bytes; an IDX file of [2, 3, 4] has 40": (
            "mnist", {"files": {"images": tmp_path / "idx", "labels": tmp_path / "idx"}},
        ),
        "data cannot be read: Compressed file ended": (
            "csv", {"files": {"data": tmp_path / "gz"}, "parameters": text},
        ),
        "line 1 is no JSON object": (
            "jsonl", {"files": {"data": tmp_path / "lines"}, "parameters": {"text_field": "t"}},
        ),
        "unknown function of a package 'os:system'": (
            "package", {"parameters": {"function": "os:system"}},
        ),
        "select.skip is -1": ("csv", {"files": table, "parameters": text, "select": {"skip": -1}}),
    }  # fmt: skip


def test_what_is_wrong_is_named(make, tmp_path: Path) -> None:
    for says, (form, sent) in wrong(tmp_path).items():
        with pytest.raises(WorkerError) as caught:
            list(make(form, **sent))
        assert says in caught.value.text, (says, caught.value.text)


# ------------------------------------------------------------------ the model's classes


@pytest.mark.parametrize(
    ("dataset", "model", "index", "wanted"),
    [
        (["cat", "dog"], ["cat", "dog"], 1, 1),
        (["dog", "cat"], ["cat", "dog"], 0, 1),
        (["Dog"], ["ant", "bee", "dog"], 0, 2),
        (["hound", "puss"], ["dog", "cat"], 1, 1),
        ([], ["cat", "dog"], 1, 1),
        (["cat", "dog"], [], 1, 1),
    ],
)
def test_classes_are_matched_by_name_else_by_number(
    dataset: list[str], model: list[str], index: int, wanted: int
) -> None:
    found = Matching.of("D", dataset, model).truth("x", {"index": index, "label": "…"})
    assert found is not None and found["index"] == wanted


def test_a_background_class_is_named_as_the_likely_offset() -> None:
    names = [f"class {n}" for n in range(1000)]
    with pytest.raises(WorkerError, match="1001 classes and the model 1000.*background") as caught:
        Matching.of("D", ["background", *names], names)
    assert "'background' is not among the model's" in caught.value.text
    with pytest.raises(WorkerError, match=r"is of class 1000, and the model has classes 0 to 999"):
        Matching.of("D", [], names).truth("x", {"index": 1000})
