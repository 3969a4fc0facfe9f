"""Libraries' lists: whole, honest, and known to the catalog without being written anywhere."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import manifests
from bus.errors import InputError, UnknownNameError
from bus.messages import Manifest
from manifests.catalog import Catalog, check, dump, not_runnable, read, shipped
from manifests.zoo import Zoo
from manifests.zoo.rows import Picture, Row, ZooList, read_list, write_list

ZOO = Zoo()
ALL = {manifest.name: manifest for manifest in ZOO.all()}
# Published by the libraries' own pages, and by the papers of the networks.
PARAMETERS = {
    "torchvision/resnet50": 25_557_032,
    "torchvision/vgg16": 138_357_544,
    "timm/resnet50": 25_557_032,
    "timm/vit_base_patch16_224": 86_567_656,
    "keras/MobileNetV2": 3_538_984,
    "keras/NASNetLarge": 88_949_818,
    "onnx/AlexNet": 60_965_224,  # bvlc_alexnet: grouped convolutions
    "onnx/VGG-19": 143_667_240,
}


def test_how_many_there_are() -> None:
    counts = {name: len(listed.zoo.rows) for name, listed in ZOO.lists.items()}
    assert counts == {"torchvision": 86, "timm": 1371, "keras": 40, "onnx": 9}
    assert len(ALL) == len({name.casefold() for name in ALL}) == 1506
    assert all(listed.zoo.made >= "2026" for listed in ZOO.lists.values())


def test_every_manifest_is_right_and_runnable() -> None:
    for manifest in ALL.values():
        assert check(manifest) == manifest
        assert not not_runnable(manifest), manifest.name
        assert manifest.model.weights in ("random", "constant") and "never score" in (
            manifest.description
        )


def test_every_manifest_with_trained_weights_is_right() -> None:
    count = 0
    for library, listed in ZOO.lists.items():
        for row in listed.zoo.rows:
            for tag in row.weights:
                manifest = ZOO.find(f"{library}/{row.name}.{tag}")
                assert manifest is not None and check(manifest) == manifest
                assert manifest.hidden and manifest.model.weights == "trained"
                count += 1
    assert count > 1900


@pytest.mark.parametrize("name", ["timm/resnet50", "keras/ConvNeXtBase", "onnx/ZFNet-512"])
def test_they_survive_yaml(name: str) -> None:
    assert read(dump(ALL[name])).inputs == ALL[name].inputs


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert int(ALL[name].attributes["parameters"]) == PARAMETERS[name]


def test_preprocessing_is_the_published_one() -> None:
    """ResNet-50 V2 of torchvision: 232 pixels, the middle 224, ImageNet's mean; Keras in BGR."""
    image = ALL["torchvision/resnet50"].inputs[0].parameters
    assert image.dimensions == [3, 224, 224] and round(224 / image.crop_ratio) == 232
    assert image.mean == [123.675, 116.28, 103.53] and image.scale == [58.395, 57.12, 57.375]
    vgg = ALL["keras/VGG16"].inputs[0].parameters
    assert (vgg.color_mode, vgg.layout) == ("BGR", "NHWC")
    assert vgg.mean == [103.939, 116.779, 123.68] and vgg.scale == 1
    assert ALL["keras/EfficientNetB0"].inputs[0].parameters.mean == 0  # the network does it
    assert ALL["timm/resnet50"].inputs[0].parameters.interpolation == "bicubic"


def claims(manifest: Manifest | None) -> dict[str, tuple[float, str]]:
    assert manifest is not None
    return {claim.metric: (claim.value, claim.on) for claim in manifest.claims}


def test_volo_sees_the_whole_image_in_a_border() -> None:
    """timm's own configuration: crop_pct 1.15 for sizes of 448 and 512 of the largest two."""
    shown = {
        name: manifest.inputs[0].parameters for name, manifest in ALL.items() if "volo" in name
    }
    beyond = {name for name, given in shown.items() if given.crop_ratio == 1.15}
    assert beyond == {"timm/volo_d4_448", "timm/volo_d5_448", "timm/volo_d5_512"}
    assert all(given.crop_method == "center" and given.pad_value == 0 for given in shown.values())


def test_claims_name_the_weights_that_they_are_of() -> None:
    on = "ImageNet-1K, weights IMAGENET1K_V2"
    assert claims(ALL["torchvision/resnet50"]) == {"top1": (80.858, on), "top5": (95.434, on)}
    first = ZOO.find("torchvision/resnet50.imagenet1k_v1")
    assert claims(first)["top1"] == (76.13, "ImageNet-1K, weights IMAGENET1K_V1")
    assert claims(ALL["keras/NASNetLarge"])["top5"][0] == 96.0


def test_what_trained_weights_say_has_names() -> None:
    """The Pascal classes as torchvision's weights list them (`meta["categories"]`)."""
    segmenter = ZOO.find("torchvision/fcn_resnet50.COCO_WITH_VOC_LABELS_V1")
    assert segmenter is not None
    given = segmenter.outputs[0].parameters
    file = Path(manifests.__file__).parent / given.url.removeprefix(
        "package://mlmodelscope/manifests/"
    )
    assert f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" == given.checksum
    names = json.loads(file.read_text())
    assert (len(names), names[0], names[15], names[20]) == (
        21, "__background__", "person", "tvmonitor",
    )  # fmt: skip
    for name in ("timm/resnet50.a1_in1k", "keras/ResNet50.imagenet"):
        found = ZOO.find(name)
        assert found is not None and "imagenet1k" in found.outputs[0].parameters.url
    random = ZOO.find("torchvision/fcn_resnet50")
    assert random is not None and not random.outputs[0].parameters.url


def test_trained_weights_have_a_name_of_their_own() -> None:
    trained = ZOO.find("TIMM/resnet50.A3_in1k")
    assert trained is not None and trained.name == "timm/resnet50.a3_in1k"
    assert trained.model.arguments == {"model_name": "resnet50.a3_in1k", "pretrained": True}
    assert trained.inputs[0].parameters.dimensions == [3, 160, 160]
    assert trained.outputs[0].parameters.url and not ALL["timm/resnet50"].outputs[0].parameters.url
    keras = ZOO.find("keras/resnet50.imagenet")
    assert keras is not None and keras.model.arguments == {"weights": "imagenet"}


@pytest.mark.parametrize(
    "name", ["", "timm", "timm/", "timm/none", "timm/resnet50.", "timm/resnet50.none", "x/resnet50"]
)
def test_what_is_not_there(name: str) -> None:
    found = ZOO.find(name)
    assert found is None or found.name == "timm/resnet50"


# ------------------------------------------------------------------ in the catalog


def test_the_catalog_knows_them_beside_its_own() -> None:
    catalog = Catalog(shipped(), zoo=ZOO)
    assert catalog.resolve("onnx/resnet-50@^1").name == "onnx/ResNet-50"
    assert catalog.resolve("EfficientNet-Lite0").framework.name == "onnxruntime"
    assert catalog.resolve("torchvision/resnet50.IMAGENET1K_V2").model.weights == "trained"
    assert len(catalog.all()) > 1506
    with pytest.raises(UnknownNameError, match="torchvision/resnet50"):
        catalog.resolve("torchvision/resnet5O")


def test_what_is_added_stands_in_its_place_until_it_is_removed() -> None:
    from msgspec.structs import replace

    catalog = Catalog(zoo=ZOO)
    theirs = catalog.resolve("timm/resnet50")
    mine, newer = replace(theirs, author="me"), replace(theirs, version="99.0.0")
    catalog.add(mine)
    assert catalog.versions("timm/resnet50") == [mine]
    catalog.add(newer)
    assert catalog.versions("timm/resnet50") == [newer, mine]
    catalog.remove(newer)
    catalog.remove(mine)
    assert catalog.versions("timm/resnet50") == [theirs]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    zoo = Zoo()
    catalog = Catalog(shipped(), zoo=zoo)
    catalog.resolve("EfficientNet-Lite0")
    assert "_rows" not in vars(zoo)


# ------------------------------------------------------------------ lists of one's own


def test_a_list_of_ones_own_wins(tmp_path: Path) -> None:
    row = Row(name="new", picture=Picture(size=[3, 32, 32]), classes=10)
    write_list(
        ZooList(library="timm", version="2.0", made="2030-01-02", rows=[row]),
        tmp_path / "timm.json",
    )
    zoo = Zoo(tmp_path)
    assert [name for name in zoo.names() if name.startswith("timm/")] == ["timm/new"]
    assert zoo.lists["timm"].origin == str(tmp_path / "timm.json")
    assert zoo.lists["keras"].origin == "shipped"
    assert read_list(tmp_path / "timm.json").rows == [row]


@pytest.mark.parametrize("content", ["", "{}", '{"library": "timm"}', '{"rows": [{"name": 1}]}'])
def test_a_damaged_list_is_left_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "timm.json").write_text(content)
    with pytest.raises(InputError, match="zoo --refresh"):
        read_list(tmp_path / "timm.json")
    assert Zoo(tmp_path).lists["timm"].origin == "shipped"


def test_the_shipped_lists_are_what_the_libraries_say(tmp_path: Path) -> None:
    """Asked again, the library that is quick to ask says the same."""
    command = [sys.executable, "-m", "manifests.zoo.refresh", str(tmp_path), "onnx"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=60)
    found = read_list(tmp_path / "onnx.json")
    assert found.rows == ZOO.lists["onnx"].zoo.rows
    assert json.loads((tmp_path / "onnx.json").read_text())["version"] == found.version
