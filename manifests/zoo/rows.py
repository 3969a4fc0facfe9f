"""A library's list of models as compact, dated data: what its rows hold, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from bus.errors import InputError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Picture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a library says that an image becomes a model's tensor.

    mean and scale: on 0–255 pixels, one number or one a channel. fit: what happens to the form
    before the middle of the share `crop` is cut out.
    """

    size: list[int]
    """Channels, height, width."""
    mean: float | list[float] = 0.0
    scale: float | list[float] = 1.0
    color: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    fit: Literal["cover", "stretch", "pad"] = "cover"
    crop: float = 1.0
    interpolation: Interpolation = "bilinear"


class Trained(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Weights that the library itself can download; a picture of their own where it differs."""

    picture: Picture | None = None
    classes: int = 0
    """Of the answer with these weights; 0: features."""
    license: str = ""
    claims: dict[str, float] = {}
    """metric -> per cent."""
    on: str = ""
    """The dataset of the claims."""


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One network of a library, without weights, and the trained weights that there are for it."""

    name: str
    task: str = "image_classification"
    picture: Picture
    classes: int = 0
    """Of the answer; 0: features."""
    parameters: int = 0
    """Weights in the network; 0: not counted."""
    default: str = ""
    """Which of `weights` the library takes when it is not told."""
    weights: dict[str, Trained] = {}
    input: str = ""
    output: str = ""
    """The graph's own names, where it has any."""
    probabilities: bool = False
    """Whether the network ends in a softmax."""
    file: str = ""
    checksum: str = ""
    notes: str = ""


class ZooList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one version of one library offered on one day."""

    library: str
    version: str
    made: str
    """The day, as in 2026-01-31."""
    rows: list[Row]


def read_list(path: Any) -> ZooList:
    """A list from its file (a Path, or a file inside a package); InputError names a damaged one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ZooList)
    except (OSError, msgspec.DecodeError) as exc:
        raise InputError(
            f"{path}: no list of models ({exc}): `mlmodelscope zoo --refresh` writes a new one"
        ) from exc


def write_list(found: ZooList, path: Path) -> None:
    """A list as JSON, a model a line, put in its place whole."""
    head = msgspec.json.encode({"library": found.library, "version": found.version})
    rows = b",\n".join(msgspec.json.encode(row) for row in found.rows)
    made = msgspec.json.encode(found.made)
    text = head[:-1] + b',"made":' + made + b',"rows":[\n' + rows + b"\n]}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(text)
    draft.replace(path)
