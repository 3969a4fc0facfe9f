"""A manifest's own code in a real worker: it changes the result, and only where it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import MakeJob, Process, Said

# A preprocess that does in numpy what the built-in steps do.
BY_HAND = """
import io
import numpy as np
from PIL import Image

def run(context, data):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    side = int(min(image.size) * 0.875)
    left, top = (image.width - side + 1) // 2, (image.height - side + 1) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    pixels = (np.asarray(image, np.float32) - 127) / 128
    return pixels.transpose(2, 0, 1)
"""


def run(worker: Process, make_job: MakeJob, code: dict[str, Any], **changes: Any) -> Said:
    return worker.run(make_job(code=code, **{"allow_code": True, **changes}))


def classes(said: Said, item: int = 0) -> list[tuple[str, float]]:
    predictions = said.one("predictions")["predictions"]
    return [(one["label"], one["probability"]) for one in predictions[item]["classes"]]


def test_preprocess_takes_the_place_of_the_steps(shared_worker: Process, make_job: MakeJob) -> None:
    plain, own = (run(shared_worker, make_job, code) for code in ({}, {"preprocess": BY_HAND}))
    for item in (0, 1):
        assert classes(own, item) == classes(plain, item)


SNIPPETS = {
    "before_preprocess": ["def run(context, data):", "    return data  # bytes in, bytes out"],
    "after_preprocess": "def run(context, data):\n    return data[:, :, ::-1]\n",
    "before_postprocess": "def run(context, data):\n    return {n: -x for n, x in data.items()}",
    "after_postprocess": "def run(context, data):\n"
    "    return {'classes': [dict(c, label=context.item) for c in data['classes']]}",
}


def test_what_comes_before_and_after(shared_worker: Process, make_job: MakeJob) -> None:
    plain = classes(run(shared_worker, make_job, {}))
    found = {
        name: classes(run(shared_worker, make_job, {name: code})) for name, code in SNIPPETS.items()
    }
    assert found["before_preprocess"] == plain
    mirrored = dict(found["after_preprocess"])
    assert found["after_preprocess"] != plain and mirrored["espresso"] > 0.5
    assert "espresso" not in dict(found["before_postprocess"])  # the worst class comes first
    assert [label for label, _ in found["after_postprocess"]] == ["coffee.png"] * 5
    assert [score for _, score in found["after_postprocess"]] == [score for _, score in plain]


def test_postprocess_takes_the_place_of_reading(shared_worker: Process, make_job: MakeJob) -> None:
    code = """
def run(context, data):
    best = data["logits"][0].argmax()
    return {"text": f"{context.model}: {context.labels[best]}", "boxes": []}
"""
    said = run(shared_worker, make_job, {"postprocess": code})
    (first, _) = said.one("predictions")["predictions"]
    assert first == {"input": "coffee.png", "text": "EfficientNet-Lite0: espresso", "boxes": []}


# field -> code, what the refusal says
FAULTS = {
    "an error": ("preprocess", "def run(context, data):\n    return 1 / 0", "preprocess, line 2"),
    "no syntax": ("postprocess", "x = 1\ndef run(:\n", "postprocess, line 2: SyntaxError"),
    "no function": ("postprocess", "runs = 1", "defines no function run"),
    "a wrong field": (
        "postprocess",
        "def run(context, data):\n    return {'clases': []}",
        "gave a dict with clases; a dict with classes",
    ),
    "no tensor": (
        "preprocess",
        "def run(context, data):\n    return 'abc'",
        "preprocess gave str; a tensor of numbers",
    ),
    "an error while it loads": (
        "after_preprocess",
        "import nosuchmodule",
        "after_preprocess, line 1",
    ),
    "another field": ("midprocess", "def run(context, data): pass", "code of 'midprocess'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_errors_name_field_and_line(shared_worker: Process, make_job: MakeJob, case: str) -> None:
    field, code, words = FAULTS[case]
    failed = run(shared_worker, make_job, {field: code}).one("failed")
    assert failed["kind"] == "request"
    assert words in failed["text"]


def test_code_runs_only_where_it_may(shared_worker: Process, make_job: MakeJob) -> None:
    code = {"preprocess": BY_HAND, "after_postprocess": SNIPPETS["after_postprocess"]}
    failed = run(shared_worker, make_job, code, allow_code=False).one("failed")
    assert failed["kind"] == "request"
    assert "preprocess, after_postprocess is code" in failed["text"]
    assert "--allow-code" in failed["text"]
