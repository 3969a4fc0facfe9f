"""The topologies inside the onnx package: the papers' networks with constant weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from manifests.zoo.rows import Picture, Row

FOLDER = "onnx/backend/test/data/light"
# The graphs do not say how their images were made. They came from Caffe: BGR pixels less the mean
# of ImageNet. With constant weights no answer depends on it.
CAFFE_MEAN = [104.0, 117.0, 123.0]
NAMES = {
    "light_bvlc_alexnet": "AlexNet",
    "light_densenet121": "DenseNet-121",
    "light_inception_v1": "Inception-v1",
    "light_inception_v2": "Inception-v2",
    "light_resnet50": "ResNet-50",
    "light_shufflenet": "ShuffleNet",
    "light_squeezenet": "SqueezeNet",
    "light_vgg19": "VGG-19",
    "light_zfnet512": "ZFNet-512",
}


def version() -> str:
    """The installed version."""
    import onnx

    return str(onnx.__version__)


def rows() -> list[Row]:
    """Every topology that lies in the installed package."""
    import onnx

    folder = Path(str(onnx.__file__)).parent.parent / FOLDER
    return [_row(file) for file in sorted(folder.glob("light_*.onnx")) if file.stem in NAMES]


def _row(file: Path) -> Row:
    import onnx

    graph = onnx.load(file).graph
    given = {constant.name for constant in graph.initializer}
    (image,) = [value for value in graph.input if value.name not in given]
    (answer,) = graph.output
    _, *size = _shape(image)
    return Row(
        name=NAMES[file.stem],
        picture=Picture(size=size, crop=0.875, mean=CAFFE_MEAN, color="BGR"),
        classes=_shape(answer)[1],
        parameters=_parameters(graph),
        input=image.name,
        output=answer.name,
        probabilities="soft" in answer.name or "prob" in answer.name,
        file=f"{FOLDER}/{file.name}",
        checksum="sha256:" + hashlib.sha256(file.read_bytes()).hexdigest(),
        notes="batch size 1 only",
    )


def _parameters(graph: Any) -> int:
    """Values of the weights: most are made by nodes that are given their shape, few are there."""
    import numpy as np
    from onnx import numpy_helper

    shapes = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    made = (shapes[node.input[0]] for node in graph.node if node.op_type == "ConstantOfShape")
    there = (array.size for array in shapes.values() if array.dtype == np.float32)
    return int(sum(np.prod(shape) for shape in made) + sum(there))


def _shape(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
