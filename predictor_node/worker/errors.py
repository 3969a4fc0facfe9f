"""What can go wrong with a job, said so that the node can pass it on.

WorkerError
 └── Cancelled
"""

import difflib
from collections.abc import Iterable
from typing import Literal

Kind = Literal["input", "asset", "framework", "cancelled", "request"]


class WorkerError(Exception):
    """The job cannot go on. kind: who must act; text: what was found, expected, and to do next."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind: Kind = kind
        self.text = text


class Cancelled(WorkerError):
    """The node asked for the job's end."""

    def __init__(self) -> None:
        super().__init__("cancelled", "the job was cancelled while it ran")


def unknown(what: str, name: object, known: Iterable[str]) -> WorkerError:
    """A name that is not one of the known ones, with the nearest of them."""
    choices = sorted(known)
    near = difflib.get_close_matches(str(name), choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
    return WorkerError("request", f"unknown {what} {name!r}; {hint}")
