"""SavedModels, Keras files and Keras constructors: each becomes one function of a graph."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from . import Spec, constructors
from .settings import one_of, same_precision
from .tensorflow_macs import CALLS, function_operators, graph_operators, saved_operators
from .tensors import inputs_of, outputs_of, renamed

SIGNATURE = "serving_default"
# Operators that read or write files of this machine, or call Python: no model needs them.
REFUSED_OPERATORS = {"ReadFile", "WriteFile", "PyFunc", "PyFuncStateless", "EagerPyFunc"}
HALVES = ("float16", "bfloat16")


@dataclass(slots=True)
class Graph:
    """A function of tensors, and what belongs to it; `keep` holds its variables alive."""

    run: Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    precision: str
    variables: list[Any]
    keep: Any
    loader: str
    definition: Callable[[], Any]
    """The graph as a GraphDef that says shapes."""
    operators: Callable[[Mapping[str, Sequence[int]]], list[Any]]
    """Those of the whole graph, every shape inferred for inputs of these shapes."""


# ------------------------------------------------------------------ SavedModel


def saved_model(spec: Spec, tf: Any) -> Graph:
    """A SavedModel's signature; one that only the first generation's loader reads, by that."""
    folder = _folder(spec.files["graph"])
    _check_operators(folder)
    try:
        loaded = tf.saved_model.load(folder)
        graph = _signature(spec, tf, loaded)
    except WorkerError:
        raise
    except Exception as first:
        try:
            graph = _session(spec, tf, folder)
        except WorkerError:
            raise
        except Exception as error:
            text = f"SavedModel {os.path.basename(folder)} cannot be loaded"
            raise WorkerError("asset", f"{text}; tensorflow says: {str(first)[:500]}") from error
    same_precision(spec, graph.precision, "save the model in the precision that you want")
    return graph


def _folder(path: str) -> str:
    folder = os.path.dirname(path) if path.endswith("saved_model.pb") else path
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        text = f"{os.path.basename(folder) or folder!r} holds no saved_model.pb"
        raise WorkerError("asset", f"{text}; the folder of a SavedModel is expected")
    return folder


def _check_operators(folder: str) -> None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
            model.ParseFromString(file.read())
    except DecodeError as error:
        text = f"SavedModel {os.path.basename(folder)}: saved_model.pb cannot be read"
        raise WorkerError("asset", f"{text}: {error}; fetch it again") from error
    for meta in model.meta_graphs:
        functions = meta.graph_def.library.function
        bodies = [meta.graph_def.node, *(function.node_def for function in functions)]
        found = {node.op for nodes in bodies for node in nodes} & REFUSED_OPERATORS
        if found:
            text = f"SavedModel {os.path.basename(folder)} uses {', '.join(sorted(found))}"
            raise WorkerError("asset", f"{text}: files of this machine, or Python; it is not run")


def _named(signatures: Any, folder: str) -> str:
    if SIGNATURE in signatures:
        return SIGNATURE
    found = [name for name in signatures if not name.startswith("__")]
    if len(found) == 1:
        return found[0]
    raise unknown(f"signature of the SavedModel {os.path.basename(folder)}", SIGNATURE, found)


def _signature(spec: Spec, tf: Any, loaded: Any) -> Graph:
    folder = _folder(spec.files["graph"])
    signature = _named(loaded.signatures, folder)
    function = loaded.signatures[signature]
    own = [_tensor(name, each) for name, each in function.structured_input_signature[1].items()]
    said = sorted(function.structured_outputs.items())
    inputs = renamed(own, inputs_of(spec))
    fed = [(a["name"], b["name"]) for a, b in zip(own, inputs, strict=True)]
    read, constant = [name for name, _ in said], tf.constant

    def run(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        answer = function(**{name: constant(batch[given]) for name, given in fed})
        return [answer[name].numpy() for name in read]

    def operators(shapes: Mapping[str, Sequence[int]]) -> list[Any]:
        given = {name: shapes[name_given] for name, name_given in fed}
        found = function_operators(function, given)
        hidden = any(each.type in CALLS for each in found)
        return saved_operators(folder, signature, given) if hidden else found

    variables = list(function.variables)
    outputs = renamed([_tensor(name, each) for name, each in said], outputs_of(spec))
    precision, define = _precision(variables), partial(_definition, function.graph)
    made = (precision, variables, loaded, "tensorflow", define, operators)
    return Graph(run, inputs, outputs, *made)


def _session(spec: Spec, tf: Any, folder: str) -> Graph:
    v1 = tf.compat.v1
    graph = v1.Graph()
    session = v1.Session(graph=graph)
    with graph.as_default():
        meta = v1.saved_model.load(session, ["serve"], folder)
    signature = meta.signature_def[_named(meta.signature_def, folder)]
    ins, outs = sorted(signature.inputs.items()), sorted(signature.outputs.items())
    own = [_info(tf, name, info) for name, info in ins]
    inputs = renamed(own, inputs_of(spec))
    call = session.make_callable([i.name for _, i in outs], feed_list=[i.name for _, i in ins])
    names = [each["name"] for each in inputs]

    def run(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return call(*[batch[name] for name in names])

    fed = [(info.name, each["name"]) for (_, info), each in zip(ins, inputs, strict=True)]

    def operators(shapes: Mapping[str, Sequence[int]]) -> list[Any]:
        return graph_operators(_definition(graph), {name: shapes[given] for name, given in fed})

    outputs = renamed([_info(tf, name, info) for name, info in outs], outputs_of(spec))
    with graph.as_default():
        variables = v1.global_variables()
    precision, define = _precision(variables), partial(_definition, graph)
    made = (precision, variables, session, "tensorflow.v1", define, operators)
    return Graph(run, inputs, outputs, *made)


# ------------------------------------------------------------------ Keras


def keras_model(spec: Spec, tf: Any) -> Graph:
    """A .keras file, or what a constructor of an installed package makes."""
    keras = _keras()
    if keras.backend.backend() != "tensorflow":
        text = f"Keras runs on {keras.backend.backend()} here, and not on TensorFlow"
        raise WorkerError("framework", f"{text}; set KERAS_BACKEND=tensorflow for the node")
    if spec.constructor:
        return _graph_of(spec, tf, _constructed(spec, keras))
    path = spec.files["graph"]
    name = os.path.basename(path)
    if path.endswith((".h5", ".hdf5")):
        text = f"{name} is a whole model in HDF5, which can hold Python code"
        raise WorkerError("asset", f"{text} and is not loaded; save it as .keras")
    if not os.path.exists(path):
        raise WorkerError("asset", f"model file {name} does not exist; fetch the model again")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        text = f"model file {name} cannot be loaded; keras says: {str(error)[:500]}"
        raise WorkerError("asset", text) from error
    graph = _graph_of(spec, tf, model)
    same_precision(spec, graph.precision, "a .keras file keeps the precision it was saved with")
    return graph


def _keras() -> Any:
    try:
        import keras
    except ModuleNotFoundError as error:
        text = f"Keras models need the package {error.name}"
        raise WorkerError(
            "framework", f"{text}; install it in this environment: pip install keras"
        ) from error
    return keras


def _constructed(spec: Spec, keras: Any) -> Any:
    constructor = constructors.find(spec, keras.Model)
    file = spec.files.get("weights") or spec.files.get("graph") or ""
    # Keras fetches weights over the network unless told not to.
    bare = {"weights": None} if constructor.takes("weights") else {}
    if not file and spec.weights == "trained" and "weights" not in spec.arguments:
        text = f"{spec.constructor} makes a network with random weights, and no weights are named"
        raise WorkerError("request", f"{text}; give model.weights_path, or say weights: random")
    precision = one_of(spec, "precision", ("float32", *HALVES))
    before = keras.config.dtype_policy()
    keras.utils.set_random_seed(spec.seed)
    try:
        if precision:
            keras.config.set_dtype_policy(precision)
        model = constructor.call(**bare)
    finally:
        keras.config.set_dtype_policy(before)
    if not isinstance(model, keras.Model):
        text = f"constructor {spec.constructor} made a {type(model).__name__}"
        raise WorkerError("request", f"{text}; a keras.Model is expected")
    if file:
        _fill(model, file)
    return model


def _fill(model: Any, path: str) -> None:
    name = os.path.basename(path)
    if not path.endswith((".h5", ".hdf5")):
        raise WorkerError("request", f"weights {name}: Keras weights in .weights.h5 are expected")
    try:
        model.load_weights(path)
    except Exception as error:
        text = f"the weights in {name} are not those of {model.name}: {str(error)[:500]}"
        raise WorkerError("asset", text) from error


def _graph_of(spec: Spec, tf: Any, model: Any) -> Graph:
    """The model as one traced function, halves cast to float32 at its end."""
    own = [_tensor(each.name, each, floats="float32") for each in model.inputs]
    several = len(own) > 1

    def call(*tensors: Any) -> list[Any]:
        answer = model(list(tensors) if several else tensors[0], training=False)
        flat = tf.nest.flatten(answer)
        return [tf.cast(each, tf.float32) if each.dtype.name in HALVES else each for each in flat]

    specs = [
        tf.TensorSpec([None if isinstance(s, str) else s for s in each["shape"]], each["dtype"])
        for each in own
    ]
    function = tf.function(call).get_concrete_function(*specs)
    inputs = renamed(own, inputs_of(spec, [each["name"] for each in own]))
    names, constant = [each["name"] for each in inputs], tf.constant

    def run(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return [each.numpy() for each in function(*[constant(batch[name]) for name in names])]

    def operators(shapes: Mapping[str, Sequence[int]]) -> list[Any]:
        given = [tf.TensorSpec(shapes[name], s.dtype) for name, s in zip(names, specs, strict=True)]
        return list(tf.function(call).get_concrete_function(*given).graph.get_operations())

    said = zip(model.output_names, function.structured_outputs, strict=True)
    outputs = renamed([_tensor(name, each) for name, each in said], outputs_of(spec))
    variables = list(function.variables)
    precision, define = _precision(variables), partial(_definition, function.graph)
    made = (precision, variables, model, "keras", define, operators)
    return Graph(run, inputs, outputs, *made)


# ------------------------------------------------------------------ tensors


def _tensor(name: str, tensor: Any, floats: str = "") -> dict[str, Any]:
    dtype = getattr(tensor.dtype, "name", tensor.dtype)
    shape = list(tensor.shape) if getattr(tensor.shape, "rank", 1) is not None else []
    return {
        "name": name,
        "dtype": floats if floats and dtype in ("float32", *HALVES) else dtype,
        "shape": [
            ("?" if n else "batch") if size is None else size for n, size in enumerate(shape)
        ],
    }


def _info(tf: Any, name: str, info: Any) -> dict[str, Any]:
    sizes = [dim.size for dim in info.tensor_shape.dim]
    shape = [size if size >= 0 else ("?" if n else "batch") for n, size in enumerate(sizes)]
    return {"name": name, "dtype": tf.dtypes.as_dtype(info.dtype).name, "shape": shape}


def _definition(graph: Any) -> Any:
    return graph.as_graph_def(add_shapes=True)


def _precision(variables: list[Any]) -> str:
    found = {
        str(getattr(each.dtype, "name", each.dtype)).removesuffix("_ref") for each in variables
    }
    floats = sorted(name for name in found if "float" in name or name == "int8")
    return floats[0] if len(floats) == 1 else "mixed" if floats else ""
