"""Makes the study's models: the topologies inside the onnx package, with any batch size and with
their weights in the file, and a manifest of each for ONNX Runtime and for OpenVINO.

    python examples/study-onnx-topologies/make_models.py

They lie in models/ beside this file afterwards: 0.5 GB, for seven models. Needs onnx; fetches
nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = {
    "light_bvlc_alexnet": "AlexNet",
    "light_squeezenet": "SqueezeNet",
    "light_shufflenet": "ShuffleNet",
    "light_inception_v1": "Inception-v1",
    "light_inception_v2": "Inception-v2",
    "light_resnet50": "ResNet-50",
    "light_densenet121": "DenseNet-121",
}
"""Left out: VGG-19 and ZFNet-512, which are another 0.9 GB."""
FRAMEWORKS = {"onnxruntime": ">=1.17", "openvino": ">=2024"}
MANIFEST = """\
name: {name}
version: {version}
description: {name} out of the onnx package, with any batch size; its weights are all one number.
license: Apache-2.0
task: image_classification
framework: {{name: {framework}, version: "{range}"}}
inputs:
  - type: image
    name: {input}
    parameters:
      element_type: float32
      dimensions: [3, 224, 224]
      layout: NCHW
      color_mode: BGR
      mean: [104.0, 117.0, 123.0]
      resize_method: stretch
outputs:
  - type: classification
    name: {output}
    parameters: {{dimensions: [1000]}}
model:
  graph_path: {file}
  format: onnx
  weights: constant
"""


def concrete(graph: onnx.GraphProto) -> None:
    """Weights in place of the nodes that make them.

    The package saves space by nodes that fill a shape with one number. A framework that does not
    fold them would fill hundreds of megabytes anew in each predict, and be timed for it.
    """
    shapes = {one.name: one for one in graph.initializer}
    makers = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    for node in makers:
        (value,) = (numpy_helper.to_array(one.t) for one in node.attribute)
        size = numpy_helper.to_array(shapes[node.input[0]])
        made = np.full(size, value[0], value.dtype)
        graph.initializer.append(numpy_helper.from_array(made, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for one in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(one)
    # Weights among the inputs could be given anew by a caller, and so would not be constants.
    (image,) = [one for one in graph.input if one.name not in shapes]
    del graph.input[:]
    graph.input.append(image)


def freed(graph: onnx.GraphProto) -> None:
    """A batch of any size: in what goes in and out, and in the reshapes.

    A reshape of what the network computes begins with the batch, 1: 0 there means "as it comes".
    Those of weights begin with another size.
    """
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for one in graph.initializer:
        if one.name in shapes:
            size = numpy_helper.to_array(one).copy()
            if size[0] == 1:
                size[0] = 0
                one.CopyFrom(numpy_helper.from_array(size, one.name))
    del graph.value_info[:]  # they tell shapes of batch 1
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    beside = Path(__file__).parent / "models"
    parser.add_argument("folder", type=Path, nargs="?", default=beside)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for stem, name in NAMES.items():
        model = onnx.load(LIGHT / f"{stem}.onnx")
        concrete(model.graph)
        freed(model.graph)
        model.ir_version = 8  # the first in which weights need not be inputs is 4
        onnx.checker.check_model(model)
        file = folder / f"{name.lower()}.onnx"
        file.write_bytes(model.SerializeToString())
        for framework, versions in FRAMEWORKS.items():
            text = MANIFEST.format(
                name=name,
                version=onnx.__version__,
                framework=framework,
                range=versions,
                input=model.graph.input[0].name,
                output=model.graph.output[0].name,
                file=file.name,
            )
            (folder / f"{name.lower()}-{framework}.yml").write_text(text)
    print(f"{len(NAMES)} models for {' and '.join(FRAMEWORKS)} in {folder}")


if __name__ == "__main__":
    main()
