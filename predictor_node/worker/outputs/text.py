"""Text: strings as they are, token ids by the tokenizer, or letters read frame by frame."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np

from ..errors import WorkerError
from .reading import Reading, pick

BLANK = 0
"""The class between two letters, of models trained by connectionist temporal classification."""


def read(
    rows: Mapping[str, np.ndarray], output: Mapping[str, Any], reading: Reading
) -> dict[str, Any]:
    """One text an item; of several rows, one line each."""
    found = pick(rows, output)
    return {"text": "\n".join(_text(row, output, reading) for row in found)}


def _text(row: np.ndarray, output: Mapping[str, Any], reading: Reading) -> str:
    if row.dtype.kind in "OSU":
        return " ".join(_string(part) for part in row.reshape(-1))
    if row.dtype.kind == "f" and reading.labels:
        return letters(row, reading.labels)
    if row.dtype.kind == "f" and row.ndim >= 2:
        row = row.reshape(-1, row.shape[-1]).argmax(axis=1)
    if row.dtype.kind not in "iu":
        text = f"output {output.get('name', '')} holds {row.dtype.name} {list(row.shape)}"
        raise WorkerError("request", f"{text}; strings, token ids or letters' scores are expected")
    tokenizer = reading.about.get("tokenizer")
    if not tokenizer:
        text = "token ids are read by the text input's tokenizer, and the model has no such input"
        raise WorkerError("request", f"{text}; labels (one a letter) do for recognition")
    from ..modalities.text import tokenizer as opened

    decoded: str = opened(tokenizer).decode([int(one) for one in row.reshape(-1) if one >= 0])
    return decoded


def letters(scores: np.ndarray, labels: list[str]) -> str:
    """The best class of each frame, repetitions once, blanks dropped; labels with or without it."""
    scores = scores.reshape(-1, scores.shape[-1])
    shift = scores.shape[1] - len(labels)
    if shift not in (0, 1):
        text = f"there are {len(labels)} letters, and the output has {scores.shape[1]} values"
        raise WorkerError("request", f"{text}; as many, or one less (the blank), are expected")
    best = [int(index) for index, _ in groupby(scores.argmax(axis=1).tolist())]
    return "".join(labels[index - shift] for index in best if index != BLANK)


def _string(part: Any) -> str:
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part)
