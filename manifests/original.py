"""How the original system's manifests say what ours say otherwise: rewritten before they are read.

`output` and `input` without an s, checksums that are bare hexadecimal digits (md5 there), and
the original's names of the outputs' types.
"""

from __future__ import annotations

import re
from typing import Any

from manifests.reading import Document, Fault, Path

_BARE = {32: "md5", 64: "sha256"}
_HEX = re.compile(r"[0-9a-fA-F]+")
OUTPUT_NAMES = {
    "boundingbox": "object_detection",
    "semanticsegment": "semantic_segmentation",
    "instancesegment": "instance_segmentation",
    "image": "image_enhancement",
    "general": "raw",
    "tensor": "raw",
}


def modernise(document: Document) -> None:
    """Rewrite a document in today's words, in place; lines stay those of the text."""
    data = document.data
    if not isinstance(data, dict):
        return
    for one, many in (("input", "inputs"), ("output", "outputs")):
        if one in data:
            _plural(document, one, many)
    outputs = data.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, dict) and isinstance(name := output.get("type"), str):
            output["type"] = OUTPUT_NAMES.get(name, name)
    _name_checksums(data)


def _plural(document: Document, one: str, many: str) -> None:
    if many in document.data:
        text = f"written beside {many}, which means the same: expected one of them"
        document.faults.append(Fault(document.line((one,)), one, text))
        del document.data[one]
        return
    value = document.data.pop(one)
    listed = isinstance(value, list)
    document.data[many] = value if listed else [value]
    moved: dict[Path, int] = {}
    for path, line in document.lines.items():
        if path[:1] == (one,):
            moved[(many, *path[1:]) if listed else (many, 0, *path[1:])] = line
    document.lines.update(moved)
    document.lines[(many,)] = document.lines[(one,)]


def _name_checksums(value: Any) -> None:
    """`checksum: <hex>` becomes `checksum: md5:<hex>`, or sha256, by its length."""
    if isinstance(value, list):
        for item in value:
            _name_checksums(item)
    elif isinstance(value, dict):
        for name, inside in value.items():
            if name.endswith("checksum") and isinstance(inside, str):
                if inside.isascii() and _HEX.fullmatch(inside) and len(inside) in _BARE:
                    value[name] = f"{_BARE[len(inside)]}:{inside.lower()}"
            else:
                _name_checksums(inside)
