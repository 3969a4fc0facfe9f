"""A text as a tokenizer's numbers: its tokens' ids, their mask, their types."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import WorkerError, unknown
from ..job import Item
from . import fields, source

TOKENS = ("ids", "mask", "types")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextParameters:
    """tokenizer: the path of a tokenizer.json; dimensions [n] cuts and fills to n tokens."""

    tokenizer: str = ""
    tokenizer_checksum: str = ""
    tokens: str = "ids"
    max_length: int = 0
    padding: int = 0
    element_type: str = "int64"
    dimensions: tuple[int, ...] = (fields.ANY_SIZE,)

    @property
    def length(self) -> int:
        """The one number of tokens that the model takes, or 0: any."""
        return max(0, self.dimensions[0])


def read_parameters(input: Mapping[str, Any]) -> TextParameters:
    """Checked, and the tokenizer tried: a wrong file is found before the model is opened."""
    parameters = fields.read(TextParameters, "text", input)
    if parameters.tokens not in TOKENS:
        raise unknown("tokens", parameters.tokens, TOKENS)
    fields.refuse(
        "text",
        {
            "tokenizer is empty; the address of a tokenizer.json is expected": (
                not parameters.tokenizer
            ),
            f"dimensions are {list(parameters.dimensions)}; one, the number of tokens, is "
            "expected": len(parameters.dimensions) != 1,
            f"max_length is {parameters.max_length}; a number from 0 is expected": (
                parameters.max_length < 0
            ),
        },
    )
    tokenizer(parameters.tokenizer)
    return parameters


def open(item: Item, parameters: TextParameters) -> str:
    return source.text(item)


def tensors(opened: str, parameters: TextParameters) -> np.ndarray:
    """One row; filled with `padding` (mask and types: 0) where the model takes one length only."""
    limits = [limit for limit in (parameters.max_length, parameters.length) if limit]
    found = _encoded(parameters.tokenizer, min(limits, default=0), opened)[parameters.tokens]
    fill = parameters.padding if parameters.tokens == "ids" else 0
    row = np.full(parameters.length or len(found), fill, parameters.element_type)
    row[: len(found)] = found
    return row[np.newaxis]


def about(opened: str, parameters: TextParameters) -> dict[str, Any]:
    """Which of the tokens are the text's own, and how ids become text again."""
    mask = replace(parameters, tokens="mask")
    return {"mask": tensors(opened, mask)[0].tolist(), "tokenizer": parameters.tokenizer}


def tokenizer(path: str) -> Any:
    """The tokenizer in this file, kept between items."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        text = f"text is read by the package tokenizers, which is not installed here: {error}"
        raise WorkerError("framework", f"{text}; pip install tokenizers") from error
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        text = f"the tokenizer {path} cannot be read: {error.strerror}"
        raise WorkerError("asset", f"{text}; a tokenizer.json is expected") from error
    return _parsed(hashlib.sha256(data).digest(), path, Tokenizer)


@lru_cache(maxsize=8)
def _parsed(_content: bytes, path: str, kind: Any) -> Any:
    try:
        made = kind.from_file(path)
    except Exception as error:  # the library raises Exception itself
        text = f"{Path(path).name} is no tokenizer: {error}"
        raise WorkerError("asset", f"{text}; a tokenizer.json is expected") from error
    made.no_padding()
    made.no_truncation()
    return made


@lru_cache(maxsize=4)
def _encoded(path: str, limit: int, text: str) -> dict[str, list[int]]:
    """Ids, mask and types at once: a model's inputs of one text are made one after another."""
    made = tokenizer(path)
    if limit:
        made.enable_truncation(limit)
    else:
        made.no_truncation()
    encoding = made.encode(text)
    return {"ids": encoding.ids, "mask": encoding.attention_mask, "types": encoding.type_ids}
