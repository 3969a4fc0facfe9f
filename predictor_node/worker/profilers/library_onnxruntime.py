"""Why nobody sees below ONNX Runtime's layers on a CPU: said where the library level is asked for.

Its kernels are MLAS's, compiled into it, which keep no log and have no hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import Session

LEVEL = "library"
frameworks = ("onnxruntime",)
WHY = "ONNX Runtime's own CPU kernels (MLAS) say nothing of the calls inside a layer"


def available() -> str:
    return WHY


@contextmanager
def profile(session: Session) -> Iterator[None]:
    session.unavailable(WHY)
    yield
