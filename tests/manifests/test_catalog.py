"""Manifests from YAML and back, every fault with its line, and what a reference resolves to."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from bus.errors import InputError, ManifestError, UnknownNameError
from bus.messages import FrameworkWanted, InputParameters, Manifest, ModelResources
from manifests.catalog import (
    Catalog,
    NotRunnableError,
    UnmetVersionError,
    check,
    dump,
    not_runnable,
    read,
    shipped,
)
from manifests.reading import parse

LISTING_1 = Path(__file__).parent / "listing1.yml"
SMALL = """\
name: m
version: 1.0
framework: {name: onnxruntime, version: ^1.12}
model: {graph_path: m.onnx}
"""


def small(name: str = "m", version: str = "1.0.0", framework: str = "onnxruntime") -> Manifest:
    return Manifest(
        name=name,
        version=version,
        framework=FrameworkWanted(name=framework),
        model=ModelResources(graph_path="m.onnx"),
    )


def test_the_papers_listing_1_loads_unchanged() -> None:
    manifest = read(LISTING_1)
    assert (manifest.name, manifest.version) == ("AlexNet", "1.0.0")
    assert manifest.framework == FrameworkWanted(name="MXNet", version="^1.x")
    assert manifest.container["ppc64le"]["gpu"] == "mlmodelscope/mxnet:1-4-0_ppc64le-gpu"
    (image,) = manifest.inputs
    assert image.type == "image"
    assert image.parameters == InputParameters(
        dimensions=[3, 227, 227], mean=[0.0, 0.0, 0.0], color_mode="RGB", layout="NCHW"
    )
    assert manifest.outputs[0].parameters.url == "https://.../synset.txt"
    assert manifest.preprocess == manifest.postprocess == [["code"]]
    assert manifest.model.weights_path == "repo://mxnet/alexnet.params"
    assert manifest.attributes == {"training_dataset": [{"name": "ImageNet"}, {"version": "1.0.0"}]}
    assert "placeholder" in not_runnable(manifest)
    assert read(dump(manifest)) == manifest


def test_scalars_are_text_until_a_field_wants_a_number() -> None:
    text = SMALL + (
        "license: 2.0\nhidden: true\nattributes: {top1: 0.57, ok: yes, none: }\n"
        "inputs:\n- type: image\n  parameters: {mean: 127, crop_ratio: 0.875, max_dimension: 256}\n"
        "description:\n"
    )
    manifest = read(text)
    assert manifest.license == "2.0" and manifest.hidden is True
    assert manifest.attributes == {"top1": "0.57", "ok": "yes"}
    parameters = manifest.inputs[0].parameters
    assert (parameters.mean, parameters.crop_ratio, parameters.max_dimension) == (127.0, 0.875, 256)
    assert manifest.description == ""
    assert read(dump(manifest)) == manifest


def test_every_fault_at_once_with_its_line() -> None:
    text = """\
name: ""
version: 1.x.y
versio: 2
version: 3
framework:
  nam: MXNet
  version: ~=3
inputs:
  - type: image
    parameters:
      dimensions: [3, a]
      layout: NHCW
      mean: [0, [1]]
      crop_ratio: much
  - parameters: {keep_aspect_ratio: maybe}
model: [x]
"""
    with pytest.raises(ManifestError) as caught:
        read(text, "bad.yml")
    expected = [
        "bad.yml:1: name: expected a name",
        "bad.yml:2: version: '1.x.y' is no version",
        "bad.yml:3: versio: unknown field; did you mean version or precision?",
        "bad.yml:4: version: written twice, first on line 2",
        "bad.yml:5: framework.name: expected, and it is missing",
        "bad.yml:6: framework.nam: unknown field; did you mean name?",
        "bad.yml:7: framework.version: '~=3' is no version range",
        "bad.yml:11: inputs[0].parameters.dimensions: expected 3 (channels, height, width)",
        "bad.yml:11: inputs[0].parameters.dimensions[1]: expected a whole number (got 'a')",
        "bad.yml:12: inputs[0].parameters.layout: expected one of CHW, HWC, NCHW, NHWC",
        "bad.yml:13: inputs[0].parameters.mean: expected a number or a list of numbers",
        "bad.yml:14: inputs[0].parameters.crop_ratio: expected a number (got 'much')",
        "bad.yml:15: inputs[1].parameters.keep_aspect_ratio: expected true or false",
        "bad.yml:15: inputs[1].type: expected, and it is missing",
        "bad.yml:16: model: expected a mapping (got ['x'])",
    ]
    assert len(caught.value.faults) == len(expected), caught.value
    for fault, beginning in zip(caught.value.faults, expected, strict=True):
        assert fault.startswith(beginning)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{two}: &{two} [{','.join([f'*{one}'] * 10)}]\n" for one, two in ["ab", "bc", "cd", "de", "ef"]
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "expected a mapping", id="empty"),
        pytest.param("- 1", "expected a mapping", id="list"),
        pytest.param("just text", "expected a mapping", id="text"),
        pytest.param("name: [", "bad:1: not YAML|bad:2: not YAML", id="open bracket"),
        pytest.param("name: *a", "undefined alias", id="unknown alias"),
        pytest.param("name: &a [*a]", "more than 20000 values", id="alias of itself"),
        pytest.param(BOMB, "more than 20000 values", id="alias bomb"),
        pytest.param("a: " + "[" * 40 + "]" * 40, "nested deeper than 32", id="deep"),
        pytest.param("[" * 100_000, "nested deeper than 32", id="very deep"),
        pytest.param("x" * 1_000_001, "1000001 bytes", id="large"),
        pytest.param("a: 1\n---\nb: 2", "expected a single document", id="two documents"),
        pytest.param("a: \x00", "not YAML", id="control character"),
        pytest.param("? [a]\n: b", "plain text key", id="list as a key"),
        pytest.param("!!python/object/apply:os.system {a: b}", "missing", id="python object"),
    ],
)
def test_hostile_yaml_is_refused(text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        read(text, "bad")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yml"):
        read(tmp_path / "none.yml")
    path = tmp_path / "m.yml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ManifestError, match="UTF-8"):
        read(path)
    path.write_text("x" * 1_000_001)
    with pytest.raises(ManifestError, match="larger than"):
        read(path)


def test_lines_are_those_of_the_fields() -> None:
    document = parse("a:\n  b:\n    - c: 1\n    - d: 2\n", "x")
    assert document.line(("a", "b", 1, "d")) == 4
    assert document.line(("a", "b", 1, "missing")) == 4
    assert document.line(("a",)) == 1


def test_check_looks_at_a_manifest_that_came_as_a_message() -> None:
    assert check(small(version="1.2")).version == "1.2.0"
    with pytest.raises(ManifestError, match="version"):
        check(small(version="one"))
    with pytest.raises(ManifestError, match="name"):
        check(small(name=" "))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"preprocess": [["code"]]}, "placeholder"),
        ({"preprocess": "def run(context, data):\n    return data"}, ""),
        ({"preprocess": "def f(x): return x"}, "defines run(context, data); it defines f"),
        ({"after_postprocess": "def run("}, "not Python: line 1"),
        ({"before_preprocess": ["import os"]}, "expected Python as text"),
        ({"postprocess": "[[code]]"}, "placeholder"),
        ({"model": ModelResources()}, "graph_path is missing"),
        ({"model": ModelResources(constructor="a.b:c")}, ""),
        (
            {"model": ModelResources(graph_path="a", base_url="https://x/a.tgz", is_archive=True)},
            "",
        ),
        ({"model": ModelResources(graph_path="https://…/a.onnx")}, "placeholder"),
        ({"model": ModelResources(graph_path="a", weights_path="https://.../w")}, "placeholder"),
        ({"framework": FrameworkWanted(name="never heard of")}, ""),
    ],
)
def test_not_runnable(change: dict[str, object], says: str) -> None:
    why = not_runnable(replace(small(), **change))
    assert says in why and bool(says) == bool(why)


# ------------------------------------------------------------------ the catalog


def test_latest_and_ranges() -> None:
    catalog = Catalog([small(version=v) for v in ("1.0", "2.0", "1.2", "3.0.0rc1")])
    assert catalog.resolve("m").version == "2.0.0"
    assert catalog.resolve("m@latest").version == "2.0.0"
    assert catalog.resolve("M@^1.0").version == "1.2.0"
    assert catalog.resolve("m@3.0.0-rc.1").version == "3.0.0-rc.1"
    with pytest.raises(
        UnmetVersionError, match=r"there is: 2\.0\.0, 1\.2\.0, 1\.0\.0, 3\.0\.0-rc\.1"
    ):
        catalog.resolve("m@^7")


def test_the_same_version_under_two_names_returns_the_named_one() -> None:
    catalog = Catalog([small("AlexNet"), small("VGG")])
    assert catalog.resolve("vgg@1").name == "VGG"
    assert catalog.names() == ["AlexNet", "VGG"]
    with pytest.raises(UnknownNameError, match="did you mean AlexNet") as caught:
        catalog.resolve("AlexNte")
    assert caught.value.nearest == ("AlexNet",)


def test_two_frameworks_side_by_side() -> None:
    catalog = Catalog([small(framework="pytorch"), small(framework="onnxruntime")])
    both = catalog.candidates("m")
    assert [m.framework.name for m in both] == ["onnxruntime", "pytorch"]
    (torch,) = catalog.candidates("m", lambda name: name == "pytorch")
    assert torch.framework.name == "pytorch"
    catalog.remove(torch)
    assert [m.framework.name for m in catalog.candidates("m")] == ["onnxruntime"]
    catalog.remove(small())
    assert catalog.names() == [] and catalog.all() == []


def test_the_newest_version_that_can_be_run() -> None:
    empty = replace(small(version="2.0"), preprocess="[[code]]")
    assert Catalog([small(), empty]).resolve("m").version == "1.0.0"
    with pytest.raises(NotRunnableError, match=r"m 2\.0\.0: preprocess is a placeholder"):
        Catalog([empty]).resolve("m")


def test_every_shipped_manifest_loads_and_says_whether_it_runs() -> None:
    catalog = Catalog(shipped())
    for manifest in catalog.all():
        assert read(dump(manifest)) == manifest
        if not not_runnable(manifest):
            assert catalog.resolve(f"{manifest.name}@{manifest.version}").name == manifest.name
            assert "://" in manifest.model.graph_path or manifest.model.constructor
