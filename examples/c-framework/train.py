"""Trains the perceptron of digits.mlp on scikit-learn's digits: python train.py digits.mlp

The first 1,200 of the 1,797 digits are learned, the others are left to be tested with.
"""

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

TRAINED = 1200
ROW = (1, 8, 8)  # one channel, as an image input of a manifest makes it


def trained() -> MLPClassifier:
    digits = load_digits()
    network = MLPClassifier((32,), learning_rate_init=0.005, max_iter=300, random_state=7)
    return network.fit(digits.data[:TRAINED] / 16, digits.target[:TRAINED])


def packed(row: Sequence[int], network: MLPClassifier) -> bytes:
    """The network in the format that mlp.c reads."""
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    parts = [b"MLP1", struct.pack(f"<I{len(row)}II", len(row), *row, len(layers))]
    for weights, biases in layers:
        parts.append(struct.pack("<II", *weights.shape))
        parts += [np.ascontiguousarray(each, "<f4").tobytes() for each in (weights, biases)]
    return b"".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(packed(ROW, trained()))
