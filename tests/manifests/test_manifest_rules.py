"""Each rule that types cannot say, with the wrong thing, its field and its message."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from bus.errors import InputError, ManifestError
from bus.messages import (
    Claim,
    FrameworkWanted,
    InputParameters,
    Manifest,
    ModelInput,
    ModelOutput,
    ModelResources,
    OutputParameters,
)
from manifests.catalog import check, read
from manifests.kinds import INPUT_ALIASES, INPUT_FIELDS, INPUTS, OUTPUT_FIELDS, OUTPUTS
from manifests.rules import requirement

HEAD = "name: m\nversion: 1.0\nframework: {name: onnxruntime}\n"
MODEL = "model: {graph_path: m.onnx}\n"


def image(parameters: str) -> str:
    return HEAD + MODEL + f"inputs: [{{type: image, parameters: {{{parameters}}}}}]"


def input_of(kind: str, parameters: str = "") -> str:
    return HEAD + MODEL + f"inputs: [{{type: {kind}, parameters: {{{parameters}}}}}]"


def output(kind: str, parameters: str = "") -> str:
    return HEAD + MODEL + f"outputs: [{{type: {kind}, parameters: {{{parameters}}}}}]"


def model(fields: str) -> str:
    return HEAD + f"model: {{{fields}}}"


def more(text: str) -> str:
    return HEAD + MODEL + text


SHA = "sha256:" + "0a" * 32
WRONG = [
    (input_of("imge"), "inputs[0].type: unknown type of input 'imge'; did you mean image"),
    (input_of("smell"), "expected one of image, text, audio, bytes, raw, constant, state, code"),
    (output("clasification"), "did you mean classification"),
    (output("taste"), "expected one of classification, object_detection"),
    (input_of("text", "mean: 0"), "parameters.mean: belongs to inputs of type image, audio, raw"),
    (image("sample_rate: 16000"), "sample_rate: belongs to inputs of type audio, not to image"),
    (input_of("code", "layout: NCHW"), "belongs to inputs of type image, not to bytes"),
    (input_of("text", "element_type: raw_image"), "raw_image belongs to inputs of type image"),
    (output("raw", "boxes_layer: b"), "boxes_layer: belongs to outputs of type object_detection"),
    (output("image_enhancement", "url: a"), "url: belongs to outputs of type classification"),
    (image("dimensions: [1, 3, 224, 224]"), "expected 3 (channels, height, width), without the b"),
    (input_of("bytes", "dimensions: [2, 2]"), "expected 1 (how many bytes)"),
    (image("dimensions: [3, 0, 224]"), "dimensions[1]: expected a size from 1, or -1"),
    (output("raw", "dimensions: [-2]"), "expected a size from 1, or -1 for any (got -2)"),
    (image("dimensions: [4, 8, 8]"), "expected 3 channels first, for color_mode RGB (got 4)"),
    (image("dimensions: [3, 8, 8], color_mode: L"), "expected 1 channels first, for color_mode L"),
    (image("mean: [1, 2]"), "mean: expected one number, or 3: one a channel (got 2)"),
    (image("scale: [1, 1, 0]"), "scale: expected numbers that can be divided by (got 0)"),
    (image("crop_ratio: 0"), "crop_ratio: expected more than 0 and at most 2 (got 0)"),
    (image("crop_ratio: 2.1"), "expected more than 0 and at most 2 (got 2.1)"),
    (image("max_dimension: -1"), "max_dimension: expected 0 or more (got -1)"),
    (image("steps: [crop, crop]"), "steps[1]: crop is named twice"),
    (image("layout: HCW"), "layout: expected one of CHW, HWC, NCHW, NHWC (got 'HCW')"),
    (input_of("audio", "sample_rate: 0"), "sample_rate: expected samples a second, from 1"),
    (input_of("text", "tokenizer_checksum: abc"), "expected sha256:<64 hexadecimal digits>"),
    (input_of("state"), "from_output: expected the name of the output that is handed on"),
    (more("inputs: [{type: raw, name: x}, {type: raw, name: x}]"), "'x' is the name of two"),
    (output("object_detection", "threshold: 30"), "expected a probability from 0 to 1 (got 30)"),
    (output("classification", "url: ftp://x/y"), "begins with http://, https://, package://"),
    (model("weights_path: w"), "model: expected graph_path, the model's file (or constructor"),
    (model("graph_path: a, is_archive: true"), "model.base_url: expected the archive's address"),
    (model(f"graph_path: a, archive_checksum: '{SHA}'"), "belongs to an archive"),
    (
        model("graph_path: ../a, is_archive: true, base_url: 'https://x/y.tgz'"),
        "model.graph_path: expected a path inside the archive",
    ),
    (model("graph_path: 'file:///etc/passwd'"), "expected a path, or an address that begins"),
    (model("graph_path: a, graph_checksum: 'sha1:00'"), "graph_checksum: expected sha256:<64"),
    (model("constructor: torchvision.models.resnet18"), "expected package.module:function"),
    (model("graph_path: a, arguments: {x: 1}"), "arguments: belongs to constructor"),
    (model("constructor: 'a:b', requires: ['-r x']"), "requires[0]: expected `name` or `name>="),
    (model("constructor: 'a:b', requires: ['x>>1']"), "'>>1' is no version range"),
    (more("container: {x86: {cpu: a}}"), "container.x86: unknown architecture: expected one of"),
    (more("container: {amd64: {tpu: a}}"), "unknown device: expected one of cpu, gpu"),
    (more("container: {amd64: {cpu: ' '}}"), "expected the name of a container image"),
    (more("claims: [{metric: top1, value: 75}]"), "value: expected 0 to 1, or unit: '%'"),
    (more("claims: [{metric: Top-5, value: 101, unit: '%'}]"), "expected 0 to 100 (got 101)"),
    (more("claims: [{metric: latency, value: 7}]"), "unit: expected one of ns, us, µs, ms, s"),
    (more("claims: [{metric: latency, value: 0, unit: ms}]"), "expected more than 0 (got 0)"),
    (more("claims: [{metric: throughput, value: 9, unit: ms}]"), "unit: expected inputs/s"),
    (more("claims: [{metric: mAP, value: 0.5, unit: ms}]"), "expected %, or nothing for a part"),
    (more("claims: [{metric: top1, value: 0.5, batch_size: -1}]"), "batch_size: expected 1 or mor"),
    (more("claims: [{metric: '', value: 1}]"), "metric: expected a metric such as top1"),
    (more("claims: [{value: 1}]"), "claims[0].metric: expected, and it is missing"),
    (more("samples: [{url: 'gopher://x'}]"), "samples[0].url: expected a path, or an address"),
    (more("visibility: secret"), "visibility: expected one of private, public (got 'secret')"),
    (more("precision: float4"), "precision: expected one of"),
    (more("hidden: perhaps"), "hidden: expected true or false (got 'perhaps')"),
    (HEAD.replace("m\n", "m" * 129 + "\n") + MODEL, "name: expected at most 128 characters"),
]


@pytest.mark.parametrize(("text", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(text, "bad.yml")
    assert len(caught.value.faults) == 1, caught.value
    assert says in caught.value.faults[0]
    assert caught.value.faults[0].startswith("bad.yml:")


RIGHT = [
    image("dimensions: [-1, 224, 224], mean: [1, 2, 3], scale: 2"),
    image("dimensions: [3, -1, -1], crop_ratio: 1, element_type: raw_image"),
    image("color_mode: L, mean: [0.5], dimensions: [1, 28, 28]"),
    input_of("text", "tokenizer: npm://@a/b@1.0.0/tokenizer.json, padding: 1, dimensions: [128]"),
    input_of("audio", "sample_rate: 16000, window: 512, hop: 512, scale: 32768"),
    input_of("file", "beginning: 1024, ending: 1024, padding: 256, strip: true"),
    input_of("constant", "value: [1, 2], dimensions: []"),
    input_of("state", "from_output: stateN"),
    input_of("tensor", "mean: [1, 2, 3, 4, 5]"),
    output("feature", "pooling: mean, normalize: true, url: repo://a/b"),
    model("constructor: torchvision.models:resnet18, requires: [torchvision>=0.20, numpy]"),
    model(f"graph_path: a.pb, base_url: npm://x@1.0.0/a.tgz, is_archive: true, "
          f"archive_checksum: '{SHA}'"),
    more("claims: [{metric: top1, value: 75.1, unit: '%', on: ImageNet}]"),
    more("claims: [{metric: latency, value: 7, unit: ms, batch_size: 1}]"),
    more("claims: [{metric: perplexity, value: 23.4}]"),
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_is_let_through(text: str) -> None:
    assert read(text).name == "m"


def test_a_manifest_in_a_message_meets_the_same_rules() -> None:
    manifest = Manifest(
        name="m",
        version="1",
        framework=FrameworkWanted(name="onnxruntime"),
        model=ModelResources(graph_path="m.onnx"),
    )
    assert check(manifest).version == "1.0.0"
    for changes, says in (
        ({"inputs": [ModelInput(type="imge")]}, "did you mean image"),
        (
            {"inputs": [ModelInput(type="text", parameters=InputParameters(mean=1.0))]},
            "mean: belongs to inputs of type image",
        ),
        ({"outputs": [ModelOutput(type="boundingbox")]}, "unknown type of output"),
        (
            {"outputs": [ModelOutput(type="raw", parameters=OutputParameters(threshold=2.0))]},
            "threshold",
        ),
        ({"model": ModelResources()}, "graph_path"),
        ({"claims": [Claim(metric="latency", value=float("nan"), unit="h")]}, "claims[0].unit"),
    ):
        with pytest.raises(ManifestError) as caught:
            check(replace(manifest, **changes))
        assert says in str(caught.value)


def test_every_parameter_belongs_somewhere_and_every_table_to_a_parameter() -> None:
    common = {"element_type", "input_layer", "dimensions", "transform", "probabilities_transform"}
    for kind, table, types in (
        (InputParameters, INPUT_FIELDS, (*INPUTS, *INPUT_ALIASES)),
        (OutputParameters, OUTPUT_FIELDS, OUTPUTS),
    ):
        fields = {field.name for field in msgspec.structs.fields(kind)}
        assert fields - set(table) - common == set(), "name its types in manifests/kinds.py"
        assert {owner for owners in table.values() for owner in owners} <= set(types)


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("torchvision>=0.20", ("torchvision", ">=0.20")),
        ("timm", ("timm", "")),
        ("a-b.c == 1.2", ("a-b.c", "== 1.2")),
        ("x ^1", ("x", "^1")),
    ],
)
def test_requirements(text: str, read_as: tuple[str, str]) -> None:
    assert requirement(text) == read_as


# ------------------------------------------------------------------ files that are none


def cyclic() -> str:
    return HEAD + MODEL + "attributes: &a\n  self: *a\n"


HOSTILE = [
    pytest.param(b"description: '" + b"x" * 10_000_000 + b"'", "larger than 1000000", id="10 MB"),
    pytest.param(struct.pack("<64B", *range(64)), "not YAML", id="binary"),
    pytest.param(b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "not UTF-8", id="an image"),
    pytest.param(b"PK\x03\x04" + b"\0" * 64, "not YAML", id="an archive"),
    pytest.param(cyclic().encode(), "more than 20000 values", id="cyclic anchor"),
    pytest.param(b"{a: " * 100_000, "nested deeper than 32", id="deep mappings"),
    pytest.param(b"- " * 100_000, "nested deeper than 32", id="deep lists"),
    pytest.param(b"? " * 100_000, "not YAML|nested deeper than 32", id="deep keys"),
    pytest.param(b"name: m\nname: n\n", "name: written twice, first on line 1", id="twice"),
    pytest.param(b"<<: {name: m}\nversion: 1\n", "<<", id="merge key"),
    pytest.param(b"name: [m]\nversion: {a: 1}\n", r"name: expected text \(got", id="types"),
]


@pytest.mark.parametrize(("data", "says"), HOSTILE)
def test_hostile_files(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "bad.yml"
    path.write_bytes(data)
    with pytest.raises(ManifestError, match=says):
        read(path)


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory: expected a manifest in YAML"):
        read(tmp_path)
