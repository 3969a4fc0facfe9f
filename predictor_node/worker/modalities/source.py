"""An item's content as bytes or as text, and what it looks like when it is something else."""

from pathlib import Path

from ..errors import WorkerError
from ..job import Item


def content(item: Item) -> bytes:
    """All of the item, from its path or as it travelled."""
    if item.array is not None:
        text = f"input {item.name} is an array of shape {list(item.array.shape)}"
        raise WorkerError("input", f"{text}; a file is expected: arrays feed images and raw inputs")
    if not item.path:
        return item.data
    try:
        return Path(item.path).read_bytes()
    except OSError as error:
        text = f"input {item.name} cannot be read: {error.strerror}; a readable file is expected"
        raise WorkerError("input", text) from error


def text(item: Item) -> str:
    """The item as UTF-8, a mark at its beginning dropped."""
    data = content(item)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"input {item.name} is not text: byte {error.start} of {len(data)} is no UTF-8"
        raise WorkerError("input", f"{text}; a text file in UTF-8 is expected") from error
