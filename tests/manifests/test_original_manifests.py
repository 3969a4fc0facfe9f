"""What the original system's authors wrote loads here, and says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.errors import ManifestError
from manifests.catalog import dump, not_runnable, read
from manifests.runnable import has_code

MLPERF = Path(__file__).parent / "mlperf_resnet50.yml"
SMALL = "name: m\nversion: 1\nframework: {name: TensorFlow}\nmodel: {graph_path: m.pb}\n"


def test_every_field_of_the_originals_manifest_loads() -> None:
    manifest = read(MLPERF)
    assert manifest.container["ppc64le"]["gpu"] == "example/tensorflow:ppc64le-gpu"
    image = manifest.inputs[0].parameters
    assert (image.input_layer, image.layout, image.max_dimension) == ("input_tensor", "HWC", 256)
    assert (image.mean, image.scale) == ([123.68, 116.78, 103.94], 1.0)
    assert (image.keep_aspect_ratio, image.crop_method, image.crop_ratio) == (True, "center", 0.875)
    (output,) = manifest.outputs  # written as `output`
    assert (output.type, output.parameters.probabilities_layer) == (
        "classification",
        "softmax_tensor",
    )
    assert output.parameters.probabilities_transform == "softmax"
    assert output.parameters.features_checksum == "md5:4d234b5833aca44928065a180db3016a"
    assert manifest.model.graph_checksum == "md5:7b94a2da05d23ecb5c5eb1d8c5b5b2c3"
    assert manifest.attributes["top1"] == "76.46" and manifest.attributes["MLPerf"] == "true"
    assert has_code(manifest) and not_runnable(manifest) == ""
    assert read(dump(manifest)) == manifest


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("classification", "classification"),
        ("boundingbox", "object_detection"),
        ("semanticsegment", "semantic_segmentation"),
        ("instancesegment", "instance_segmentation"),
        ("image", "image_enhancement"),
        ("general", "raw"),
    ],
)
def test_the_originals_names_of_outputs(written: str, read_as: str) -> None:
    text = SMALL + f"output: [{{type: {written}}}]\ninput: {{type: general}}\n"
    manifest = read(text)
    assert [output.type for output in manifest.outputs] == [read_as]
    assert [one.type for one in manifest.inputs] == ["general"]
    assert read(dump(manifest)) == manifest


def test_lines_stay_those_of_the_text() -> None:
    text = SMALL + "output:\n  type: classification\n  parameters:\n    threshold: 2\n"
    with pytest.raises(ManifestError, match=r"bad:8: outputs\[0\]\.parameters\.threshold"):
        read(text, "bad")


def test_one_thing_is_said_once() -> None:
    text = SMALL + "output: {type: raw}\noutputs: [{type: raw}]\n"
    with pytest.raises(ManifestError, match="bad:5: output: written beside outputs"):
        read(text, "bad")
    text = SMALL + "outputs: [{type: feature, parameters: {url: a, features_url: b}}]\n"
    with pytest.raises(ManifestError, match="features_url: written beside url"):
        read(text, "bad")
