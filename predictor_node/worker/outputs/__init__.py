"""What a model says: for each output type of a manifest, a function from tensors to a prediction.

read(rows, output, reading) -> dict
    rows: output name -> [rows, *shape], those of one item; output: the manifest's;
    gives fields of a Prediction (bus/messages.py) as plain data
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from . import audio, classification, detection, enhancement, feature, segmentation, tensors, text
from .reading import Reading, transform_of

Read = Callable[[Mapping[str, np.ndarray], Mapping[str, Any], Reading], dict[str, Any]]


OUTPUTS: dict[str, Read] = {
    "classification": classification.read,
    "object_detection": detection.read,
    "instance_segmentation": detection.read_instances,
    "semantic_segmentation": segmentation.read,
    "image_enhancement": enhancement.read,
    "text": text.read,
    "text_generation": text.read,
    "audio_activity": audio.read,
    "feature": feature.read,
    "raw": tensors.read,
}


def check_outputs(outputs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse, before anything is loaded, outputs that this version cannot read."""
    if not outputs:
        raise WorkerError("request", "the model has no outputs; its manifest must name one")
    for output in outputs:
        if output.get("type") not in OUTPUTS:
            raise unknown("output type", output.get("type"), OUTPUTS)
        transform_of(output)


def read_all(
    rows: Mapping[str, np.ndarray], outputs: Sequence[Mapping[str, Any]], reading: Reading
) -> dict[str, Any]:
    """Every output of the manifest, in one prediction; of two that fill one field, the first."""
    answer: dict[str, Any] = {}
    for output in outputs:
        for name, said in OUTPUTS[output["type"]](rows, output, reading).items():
            if name == "tensors":
                answer.setdefault(name, []).extend(said)
            else:
                answer.setdefault(name, said)
    return answer
