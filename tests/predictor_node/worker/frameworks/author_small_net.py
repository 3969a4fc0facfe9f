"""Writes one small network, from one set of weights, in every format that a framework reads.

Run by the tests in a process of its own: `python author_small_net.py FOLDER`, where FOLDER holds
weights.npz (conv: [4, 3, 3, 3], conv_bias, dense: [5, 144] over channels × rows × columns,
dense_bias) and gets the files. The network: convolution, ReLU, everything to one row, dense.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")


def with_torch(folder: Path, weights: dict[str, np.ndarray]) -> None:
    import torch
    from safetensors.torch import save_file

    sys.path.insert(0, str(folder / "site"))
    from small_net import SmallNet

    net = SmallNet().eval()
    state = {
        "conv.weight": torch.from_numpy(weights["conv"]),
        "conv.bias": torch.from_numpy(weights["conv_bias"]),
        "dense.weight": torch.from_numpy(weights["dense"]),
        "dense.bias": torch.from_numpy(weights["dense_bias"]),
    }
    net.load_state_dict(state)
    torch.save(net.state_dict(), folder / "net.pth")
    save_file(state, folder / "net.safetensors")
    torch.save(net, folder / "whole_object.pth")
    torch.jit.script(net).save(str(folder / "net.pt"))
    image = torch.zeros(2, 3, 8, 8)
    batch = torch.export.Dim("batch")
    torch.export.save(
        torch.export.export(net, (image,), dynamic_shapes=({0: batch},)), folder / "net.pt2"
    )
    names = {"input_names": ["images"], "output_names": ["scores"]}
    torch.onnx.export(
        net, (image,), str(folder / "net.onnx"), dynamo=False, opset_version=17, **names,
        dynamic_axes={"images": {0: "batch"}, "scores": {0: "batch"}},
    )  # fmt: skip


def with_tensorflow(folder: Path, weights: dict[str, np.ndarray]) -> None:
    import keras
    import tensorflow as tf

    image = keras.Input((8, 8, 3), name="images")
    made = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    made = keras.layers.Dense(5, name="scores")(keras.layers.Flatten()(made))
    model = keras.Model(image, made)
    dense = weights["dense"].reshape(5, 4, 6, 6).transpose(2, 3, 1, 0).reshape(144, 5)
    model.get_layer("conv").set_weights(
        [weights["conv"].transpose(2, 3, 1, 0), weights["conv_bias"]]
    )
    model.get_layer("scores").set_weights([dense, weights["dense_bias"]])
    model.save(folder / "net.keras")
    model.save(folder / "whole.h5")
    model.save_weights(folder / "net.weights.h5")
    model.export(folder / "net_saved", verbose=False)
    (folder / "net.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32, "images")])
        def read(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            tf.io.write_file(str(folder / "marker"), "written by the model")
            return {"scores": images}

    reader = Reader()
    tf.saved_model.save(reader, str(folder / "writes_files"), signatures=reader.read)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    arrays = dict(np.load(target / "weights.npz"))
    with_torch(target, arrays)
    with_tensorflow(target, arrays)
