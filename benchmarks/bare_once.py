"""The peer of a cold start: import ONNX Runtime, load a model, look at one photo, say what it is.

python bare_once.py MODEL PHOTO
"""

import json
import sys
import time

import numpy as np
import onnxruntime as ort
from PIL import Image

SIDE = 224
CROP = 0.875


def tensor_of(photo: str) -> np.ndarray:
    image = Image.open(photo).convert("RGB")
    crop = int(CROP * min(image.size))
    left, top = (image.width - crop + 1) // 2, (image.height - crop + 1) // 2
    image = image.crop((left, top, left + crop, top + crop))
    image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = (np.asarray(image, np.float32) - 127) / 128
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis])


def main(model: str, photo: str) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tensor = tensor_of(photo)
    start_ns = time.perf_counter_ns()
    (scores,) = session.run(None, {session.get_inputs()[0].name: tensor})
    took_ns = time.perf_counter_ns() - start_ns
    print(json.dumps({"best": int(np.argmax(scores[0])), "took_ns": took_ns}))


if __name__ == "__main__":
    main(*sys.argv[1:])
