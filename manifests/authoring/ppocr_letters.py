"""Writes models/ppocr-v4.json: the letters that PP-OCRv4's recogniser knows, out of its own file.

    python -m manifests.authoring.ppocr_letters ch_PP-OCRv4_rec_infer.onnx

The file keeps them as a property, one a line, and leaves out the last one, a space. Needs onnx.
"""

import json
import sys
from pathlib import Path

import onnx


def letters(path: str) -> list[str]:
    """In the order of the model's output, the blank before them left out."""
    model = onnx.load(path)
    (found,) = (prop.value for prop in model.metadata_props if prop.key == "character")
    return [*found.splitlines(), " "]


if __name__ == "__main__":
    into = Path(__file__).parents[1] / "models" / "ppocr-v4.json"
    into.write_text(json.dumps(letters(sys.argv[1]), ensure_ascii=False) + "\n", "utf-8")
