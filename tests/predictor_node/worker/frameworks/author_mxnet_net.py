"""Writes a small network as MXNet keeps one; `python author_mxnet_net.py FOLDER`, where MXNet is.

FOLDER holds weights.npz (see author_small_net.py), and gets net-symbol.json, net-0000.params and,
with the label that a training network has, loss-symbol.json.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
import mxnet as mx  # noqa: E402

folder = Path(sys.argv[1])
weights = np.load(folder / "weights.npz")
net = mx.sym.Convolution(mx.sym.var("images"), num_filter=4, kernel=(3, 3), name="conv")
net = mx.sym.flatten(mx.sym.Activation(net, act_type="relu", name="relu"))
net = mx.sym.FullyConnected(net, num_hidden=5, name="dense")
net.save(str(folder / "net-symbol.json"))
mx.sym.SoftmaxOutput(net, name="softmax").save(str(folder / "loss-symbol.json"))
given = {
    "arg:conv_weight": weights["conv"],
    "arg:conv_bias": weights["conv_bias"],
    "arg:dense_weight": weights["dense"],
    "arg:dense_bias": weights["dense_bias"],
}
arrays = {name: mx.nd.array(value) for name, value in given.items()}
mx.nd.save(str(folder / "net-0000.params"), arrays)
