"""A person's own manifest: every file that it names goes to the bus, on a real NATS."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import InputError
from manifests.datasets import read_dataset
from mlmodelscope.dataset_files import missing
from mlmodelscope.manifest_files import from_file, whole

WHOLE = """\
name: m
version: 1.0
framework: {name: onnxruntime}
inputs:
  - {type: text, parameters: {tokenizer: tokenizer.json}}
outputs:
  - {type: classification, parameters: {url: labels.txt}}
  - {type: feature, parameters: {features_url: ../outside.txt}}
  - {type: feature, parameters: {url: https://models.example/labels.txt}}
samples: [{url: sample.txt}]
"""
PLAIN = WHOLE + "model: {graph_path: files/m.onnx, weights_path: files/m.data}\n"
BASED = WHOLE + "model: {base_url: ./files/, graph_path: m.onnx, weights_path: m.data}\n"
ARCHIVE = WHOLE + "model: {base_url: files/m.tgz, is_archive: true, graph_path: in/m.onnx}\n"
REMOTE = WHOLE + "model: {base_url: https://models.example/m, graph_path: m.onnx}\n"
FILES = ("tokenizer.json", "labels.txt", "../outside.txt", "sample.txt")
MODEL_FILES = ("files/m.onnx", "files/m.data", "files/m.tgz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine" / "files").mkdir(parents=True)
    for name in (*FILES, *MODEL_FILES):
        (tmp_path / "mine" / name).write_bytes(name.encode())
    return tmp_path / "mine"


def address(name: str) -> tuple[str, str]:
    """Where a file must lie then, and its checksum."""
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return f"repo://models/{sha256}/{Path(name).name}", f"sha256:{sha256}"


@pytest.mark.parametrize("text", [PLAIN, BASED, ARCHIVE, REMOTE])
async def test_every_file_becomes_an_object_on_the_bus(bus: Bus, folder: Path, text: str) -> None:
    (folder / "m.yml").write_text(text)
    manifest = await from_file(bus, folder / "m.yml")
    tokenizer, labels, features = (
        manifest.inputs[0].parameters,
        manifest.outputs[0].parameters,
        manifest.outputs[1].parameters,
    )
    assert (tokenizer.tokenizer, tokenizer.tokenizer_checksum) == address("tokenizer.json")
    assert (labels.url, labels.checksum) == address("labels.txt")
    assert (features.features_url, features.features_checksum) == address("../outside.txt")
    assert manifest.outputs[2].parameters.url == "https://models.example/labels.txt"
    assert (manifest.samples[0].url, manifest.samples[0].checksum) == address("sample.txt")
    model = manifest.model
    if text == ARCHIVE:
        assert (model.base_url, model.archive_checksum) == address("files/m.tgz")
        assert model.graph_path == "in/m.onnx"
    elif text == REMOTE:
        assert (model.base_url, model.graph_path) == ("https://models.example/m", "m.onnx")
    else:
        assert (model.graph_path, model.graph_checksum) == address("files/m.onnx")
        assert (model.weights_path, model.weights_checksum) == address("files/m.data")
        assert model.base_url == ""
    objects = await bus.objects(subjects.MODEL_OBJECTS)
    assert await objects.has(address("labels.txt")[0].removeprefix("repo://"))


async def test_the_authors_own_checksum_stays(bus: Bus, folder: Path) -> None:
    wrong = "md5:" + "0" * 32
    text = PLAIN.replace("m.onnx,", f"m.onnx, graph_checksum: '{wrong}',")
    (folder / "m.yml").write_text(text)
    assert (await from_file(bus, folder / "m.yml")).model.graph_checksum == wrong


async def test_every_file_that_is_missing_is_named_with_its_field(bus: Bus, folder: Path) -> None:
    (folder / "m.yml").write_text(PLAIN)
    for name in (*FILES, "files/m.data"):
        (folder / name).unlink()
    with pytest.raises(InputError) as caught:
        await from_file(bus, folder / "m.yml")
    lines = str(caught.value).splitlines()
    for line, (field, name) in zip(
        lines,
        (
            ("model.weights_path", "files/m.data"),
            ("inputs[0].parameters.tokenizer", "tokenizer.json"),
            ("outputs[0].parameters.url", "labels.txt"),
            ("outputs[1].parameters.features_url", "outside.txt"),
            ("samples[0].url", "sample.txt"),
        ),
        strict=True,
    ):
        assert f"{field}: no such file: " in line and name in line
        assert "paths are relative to the manifest" in line


async def test_a_missing_archive_and_a_folder_in_its_place(bus: Bus, folder: Path) -> None:
    (folder / "files" / "m.tgz").unlink()
    (folder / "files" / "m.tgz").mkdir()
    (folder / "m.yml").write_text(ARCHIVE)
    with pytest.raises(InputError, match=r"model\.base_url: no such file"):
        await from_file(bus, folder / "m.yml")
    with pytest.raises(InputError, match="no such manifest"):
        await from_file(bus, folder / "none.yml")


async def test_a_graph_that_is_a_folder_travels_as_an_archive(bus: Bus, folder: Path) -> None:
    inside = folder / "saved" / "variables"
    inside.mkdir(parents=True)
    (folder / "saved" / "saved_model.pb").write_bytes(b"graph")
    (inside / "variables.index").write_bytes(b"index")
    (folder / "m.yml").write_text(WHOLE + "model: {graph_path: saved/, format: saved_model}\n")
    model = (await from_file(bus, folder / "m.yml")).model
    assert model.is_archive and model.graph_path == "saved"
    (inside / "variables.index").touch()  # another time, the same content
    assert (await from_file(bus, folder / "m.yml")).model == model
    objects = await bus.objects(subjects.MODEL_OBJECTS)
    with (folder / "got.tar").open("wb") as file:
        await objects.get(model.base_url.removeprefix("repo://"), file)
    with tarfile.open(folder / "got.tar") as archive:
        names = ["saved/saved_model.pb", "saved/variables/variables.index"]
        assert archive.getnames() == names
        member = archive.extractfile(names[0])
        assert member is not None and member.read() == b"graph"


def test_a_check_looks_for_the_files_too(folder: Path) -> None:
    manifest = folder / "m.yml"
    manifest.write_text(PLAIN)
    assert whole(manifest).name == "m"
    (folder / "labels.txt").unlink()
    with pytest.raises(InputError, match=r"outputs\[0\].parameters.url: no such file"):
        whole(manifest)
    manifest.write_text("name: D\nversion: 1\nformat: numpy\nfiles: {data: {url: x.npy}}\n")
    (line,) = missing(manifest, read_dataset(manifest))
    assert "files.data: no such file" in line
