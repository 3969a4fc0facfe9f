"""docs/manifest.md's example loads, and the JSON Schemas say of manifests what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bus.errors import ManifestError
from manifests.catalog import dump, not_runnable, read
from manifests.runnable import has_code

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PAGE = (ROOT / "docs" / "manifest.md").read_text()
MODEL_FILES = sorted((ROOT / "manifests" / "models").glob("*.yml"))


class Yaml12(yaml.SafeLoader):
    """YAML as editors read it: `on` is a word, and not true."""

    yaml_implicit_resolvers = {
        first: found
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        if first not in set("oOyYnN")
    }


def as_editors_read(text: str) -> Any:
    return yaml.load(text, Loader=Yaml12)  # a SafeLoader


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((ROOT / "docs" / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


MODELS, DATASETS = validator("manifest"), validator("dataset")


def example() -> str:
    (found,) = re.findall(r"```yaml\n(name: TinyClassifier.*?)```", PAGE, re.S)
    return str(found)


def test_the_pages_example_loads() -> None:
    manifest = read(example(), "docs/manifest.md")
    assert manifest.name == "TinyClassifier" and not not_runnable(manifest)
    assert has_code(manifest) and len(manifest.claims) == 2
    assert read(dump(manifest)) == manifest


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: path.name)
def test_shipped_models_meet_the_schema(path: Path) -> None:
    assert not list(MODELS.iter_errors(as_editors_read(path.read_text())))


def test_datasets_meet_the_schema() -> None:
    for path in sorted((ROOT / "manifests").glob("datasets/*.yml")):
        assert not list(DATASETS.iter_errors(as_editors_read(path.read_text()))), path
    dataset: dict[str, Any] = {
        "name": "Digits",
        "version": 1.0,
        "format": "mnist",
        "files": {"images": {"url": "package://x==1.0/i.gz", "checksum": "ab" * 32}},
        "select": {"seed": 7, "count": 100},
    }
    assert not list(DATASETS.iter_errors(dataset))
    assert list(DATASETS.iter_errors({**dataset, "format": "floppy"}))


@pytest.mark.parametrize("text", [example(), (HERE / "listing1.yml").read_text()])
def test_what_the_reader_takes_an_editor_takes(text: str) -> None:
    assert not list(MODELS.iter_errors(as_editors_read(text)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("inputs", [{"type": "imge"}]),
        ("outputs", [{"type": "boundingbox"}]),
        ("inputs", [{"type": "image", "parameters": {"layout": "NCWH"}}]),
        ("model", {"graph_path": "ftp://x/y"}),
        ("model", {"graph_path": "a", "graph_checksum": "sha256:12"}),
        ("versio", "1"),
        ("claims", [{"metric": "top1"}]),
    ],
)
def test_what_the_reader_refuses_an_editor_refuses(field: str, value: object) -> None:
    wrong = {**as_editors_read(example()), field: value}
    assert list(MODELS.iter_errors(wrong))
    if field != "outputs":  # the original's name, which the reader knows
        with pytest.raises(ManifestError):
            read(yaml.safe_dump(wrong))


def test_every_field_of_the_schema_is_described_or_named_plainly() -> None:
    schema = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    assert schema["$id"] and schema["title"] and schema["description"]
    for name, struct in schema["$defs"].items():
        assert struct["title"] == name and struct["description"]
        for field in struct["properties"]:
            assert f"`{field}`" in PAGE, f"{name}.{field}"
