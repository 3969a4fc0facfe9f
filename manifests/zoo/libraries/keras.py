"""What the installed Keras offers in keras.applications, and what its authors say of it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from manifests.zoo.rows import Picture, Row, Trained

# Top-1 and top-5 on the ImageNet validation set in per cent, as https://keras.io/api/applications
# lists them: Keras itself does not carry these numbers.
CLAIMS = {
    "Xception": (79.0, 94.5),
    "VGG16": (71.3, 90.1),
    "VGG19": (71.3, 90.0),
    "ResNet50": (74.9, 92.1),
    "ResNet50V2": (76.0, 93.0),
    "ResNet101": (76.4, 92.8),
    "ResNet101V2": (77.2, 93.8),
    "ResNet152": (76.6, 93.1),
    "ResNet152V2": (78.0, 94.2),
    "InceptionV3": (77.9, 93.7),
    "InceptionResNetV2": (80.3, 95.3),
    "MobileNet": (70.4, 89.5),
    "MobileNetV2": (71.3, 90.1),
    "DenseNet121": (75.0, 92.3),
    "DenseNet169": (76.2, 93.2),
    "DenseNet201": (77.3, 93.6),
    "NASNetMobile": (74.4, 91.9),
    "NASNetLarge": (82.5, 96.0),
    "EfficientNetB0": (77.1, 93.3),
    "EfficientNetB1": (79.1, 94.4),
    "EfficientNetB2": (80.1, 94.9),
    "EfficientNetB3": (81.6, 95.7),
    "EfficientNetB4": (82.9, 96.4),
    "EfficientNetB5": (83.6, 96.7),
    "EfficientNetB6": (84.0, 96.8),
    "EfficientNetB7": (84.3, 97.0),
    "EfficientNetV2B0": (78.7, 94.3),
    "EfficientNetV2B1": (79.8, 95.0),
    "EfficientNetV2B2": (80.5, 95.1),
    "EfficientNetV2B3": (82.0, 95.8),
    "EfficientNetV2S": (83.9, 96.7),
    "EfficientNetV2M": (85.3, 97.4),
    "EfficientNetV2L": (85.7, 97.5),
}


def version() -> str:
    """The installed version."""
    import keras

    return str(keras.__version__)


def rows() -> list[Row]:
    """Every network of keras.applications; each is built once, and nothing is downloaded."""
    from keras import applications, backend

    found = []
    for name in sorted(name for name in dir(applications) if name[0].isupper()):
        found.append(_row(name, getattr(applications, name)))
        backend.clear_session()
    return found


def _row(name: str, build: Any) -> Row:
    network = build(weights=None)
    _, height, width, channels = network.input_shape  # MobileNetV3 takes any size: its own is 224
    top1, top5 = CLAIMS.get(name, (0.0, 0.0))
    claims = {"top1": top1, "top5": top5} if top1 else {}
    mean, scale, color = _normalisation(sys.modules[build.__module__])
    return Row(
        name=name,
        picture=Picture(
            size=[channels, height or 224, width or 224],
            mean=mean,
            scale=scale,
            color=color,
            layout="NHWC",
            fit="stretch",
        ),
        classes=network.output_shape[-1],
        parameters=network.count_params(),
        default="imagenet",
        weights={
            "imagenet": Trained(claims=claims, on="ImageNet-1K" if claims else "", classes=1000)
        },
        probabilities=True,
    )


def _normalisation(module: ModuleType) -> tuple[Any, Any, Any]:
    """Mean, scale and order of the channels, found by asking the module's own preprocess_input."""

    def asked(pixel: tuple[float, float, float]) -> np.ndarray:
        image = np.array(pixel, np.float32).reshape(1, 1, 1, 3)
        return np.asarray(module.preprocess_input(image.copy())).reshape(3)

    black, white, red = asked((0, 0, 0)), asked((255, 255, 255)), asked((255, 0, 0))
    color = "RGB" if red[0] != black[0] else "BGR"
    scale = 255 / (white.astype(np.float64) - black)
    mean = -black * scale
    return _short(mean), _short(scale), color


def _short(values: np.ndarray) -> float | list[float]:
    numbers = [round(float(value), 3) + 0.0 for value in values]
    return numbers[0] if len(set(numbers)) == 1 else numbers
