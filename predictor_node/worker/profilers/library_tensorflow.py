"""The oneDNN primitives that TensorFlow's nodes call.

TensorFlow lets nobody switch oneDNN's word on while it runs: it is on from the start of a worker
of its own (environment), and what it says of calls that are not measured goes to the worker's log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import Session
from .captured import Captured
from .library_calls import Marking, add_calls, ahead_ns, layers_of

LEVEL = "library"
frameworks = ("tensorflow",)
VARIABLES = {"ONEDNN_VERBOSE": "profile_exec", "ONEDNN_VERBOSE_TIMESTAMP": "1"}


def available() -> str:
    return ""


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    return dict(VARIABLES)


@contextmanager
def profile(session: Session) -> Iterator[Any]:
    recorder = getattr(session.handle, "recorder", None)
    captured = Captured(Path(session.folder) / f"library-{session.run.index}.txt")
    began_ns = ahead_ns(session)
    with captured:
        captured.mark()
        yield Marking(captured)
    layers = layers_of(session, recorder) if recorder is not None else []
    add_calls(session, captured, layers, (began_ns, ahead_ns(session)))
