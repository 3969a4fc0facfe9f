"""Class names by index, and whether they are as many as the model's classes."""

import json
import re
from pathlib import Path
from typing import Any

from ..errors import WorkerError

WORDNET_ID = re.compile(r"^n\d{8}\s+")


def read_labels(path: str) -> list[str]:
    """Class names by index: a JSON list, a JSON map of index to name, or lines of text.

    Of a JSON map with other keys (a model's configuration, say) its one list of texts.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
        found = json.loads(text) if text.lstrip()[:1] in ("[", "{") else text.splitlines()
    except (OSError, ValueError) as error:
        text = f"labels file {Path(path).name} cannot be read: {error}"
        raise WorkerError("asset", f"{text}; a JSON list or map, or lines, are expected") from error
    if isinstance(found, dict) and len(lists := [x for x in found.values() if _is_names(x)]) == 1:
        (found,) = lists
    if isinstance(found, dict):
        numbered = {int(index): name for index, name in found.items() if str(index).isdecimal()}
        if sorted(numbered) != list(range(len(found))):
            text = (
                f"labels file {Path(path).name} is a map whose keys are not 0 to {len(found) - 1}"
            )
            raise WorkerError("asset", text)
        found = [numbered[index] for index in range(len(numbered))]
    # Keras writes {"0": ["n01440764", "tench"]}: the readable name is the last one.
    given = [str(name[-1] if isinstance(name, list) and name else name) for name in found]
    names = [name.strip() or name for name in given]  # a letter may be a space
    while names and not names[-1]:
        names.pop()
    return [WORDNET_ID.sub("", name) for name in names]


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(x, str) for x in value)


def check_width(labels: list[str], width: int) -> None:
    """Labels and output must be equally many: a shifted table names every class wrongly."""
    if not labels or len(labels) == width:
        return
    text = f"there are {len(labels)} labels, and the model's output has {width} values"
    if abs(len(labels) - width) == 1:
        more, less = ("labels", "output") if len(labels) > width else ("output", "labels")
        text += f": the {more} probably begin with a background class that the {less} have not"
    raise WorkerError("request", f"{text}; give the labels with which the model was trained")
