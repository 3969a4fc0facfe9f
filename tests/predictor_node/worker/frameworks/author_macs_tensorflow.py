"""Counts multiply-adds with TensorFlow in a process of its own; prints them as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from predictor_node.worker.frameworks import Spec, tensorflow


def count(folder: Path, shape: tuple[int, ...], **about: Any) -> tuple[int, str]:
    """Of one call with that shape."""
    spec = Spec(**{"files": {}, "device": "cpu", "settings": {"threads": 1}, "profile": (),
                   "folder": str(folder), **about})  # fmt: skip
    handle = tensorflow.open(spec)
    try:
        name = handle.inputs[0]["name"]
        return tensorflow.multiply_adds(handle, {name: np.zeros(shape, np.float32)})
    finally:
        tensorflow.close(handle)


def by_tensorflow(shape: tuple[int, ...]) -> int:
    """MobileNet's convolutions by TensorFlow's own profiler, which counts 2 FLOPs a MAC."""
    import keras
    import tensorflow as tf

    model = keras.applications.MobileNet(weights=None)
    call = tf.function(model).get_concrete_function(tf.TensorSpec(shape))
    v1 = tf.compat.v1.profiler
    options = v1.ProfileOptionBuilder.float_operation()
    options |= {"account_type_regexes": ["Conv2D", "DepthwiseConv2dNative"], "output": "none"}
    told = v1.profile(call.graph, options=options)
    return int(told.total_float_ops)


def save(folder: Path) -> None:
    """A signature with a product inside a function, one with a loop, and one for a session."""
    import tensorflow as tf

    weights = tf.Variable(tf.ones((3, 3, 3, 4)))
    square = tf.Variable(tf.ones((5, 4, 6)))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def network(x: Any) -> Any:
        y = tf.nn.conv2d(x, weights, 2, "SAME")
        return tf.einsum("b...k,okn->b...on", y, square)

    module = tf.Module()
    module.weights, module.square, module.network = weights, square, network
    tf.saved_model.save(module, str(folder / "einsum"), signatures=network)

    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def loop(x: Any) -> Any:
        return tf.while_loop(lambda n, y: n < 3, lambda n, y: (n + 1, y @ tf.ones((4, 4))), (0, x))[
            1
        ]

    again = tf.Module()
    again.loop = loop
    tf.saved_model.save(again, str(folder / "loop"), signatures=loop)


def save_first_generation(folder: Path) -> None:
    """A convolution and a product, as TensorFlow 1 saved them."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        given = v1.placeholder(tf.float32, (None, None, None, 3), name="x")
        kernel, square = v1.get_variable("kernel", (3, 3, 3, 4)), v1.get_variable("square", (4, 7))
        made = v1.nn.conv2d(given, kernel, strides=2, padding="SAME")
        made = v1.matmul(v1.reduce_mean(made, [1, 2]), square)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / "first"), {"x": given}, {"y": made})


def main(folder: Path) -> None:
    v1 = {"constructor": "keras.applications:MobileNet", "weights": "random"}
    v2 = {"constructor": "keras.applications:MobileNetV2", "weights": "random"}
    found = {
        "MobileNet": count(folder, (1, 224, 224, 3), **v1),
        "MobileNet, two": count(folder, (2, 224, 224, 3), **v1),
        "MobileNetV2": count(folder, (1, 224, 224, 3), **v2),
        "by TensorFlow": by_tensorflow((1, 224, 224, 3)),
    }
    save_first_generation(folder)
    save(folder)  # only now: TensorFlow takes its threads before anything else
    found |= {
        "einsum": count(folder, (2, 8, 8, 3), files={"graph": str(folder / "einsum")}),
        "first generation": count(folder, (2, 8, 8, 3), files={"graph": str(folder / "first")}),
        "loop": count(folder, (2, 4), files={"graph": str(folder / "loop")}),
    }
    print(json.dumps(found))


main(Path(sys.argv[1]))
