"""The calls that PyTorch's operators make: oneDNN and MKL on a CPU, the CUDA runtime on a GPU.

On a CPU both libraries are asked to say what they do, for the length of the measured loop, and
their lines are caught on their way to stdout. oneDNN says when (ONEDNN_VERBOSE_TIMESTAMP=1, set
before the process starts); MKL says only how long, so that its calls are placed in order inside
the layers that can have made them: such spans have the tag `placed: by order`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from . import Session
from .captured import Captured
from .gpu_trace import add_gpu_spans
from .library_calls import Marking, add_calls, ahead_ns, layers_of

LEVEL = "library"
frameworks = ("pytorch",)
TIMESTAMP = "ONEDNN_VERBOSE_TIMESTAMP"


def available() -> str:
    return ""  # what a build of PyTorch lacks is known when it is imported, in the run


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    return {TIMESTAMP: "1"}


@contextmanager
def profile(session: Session) -> Iterator[Any]:
    recorder = getattr(session.handle, "recorder", None)
    if recorder is not None and recorder.on_gpu:
        yield None
        add_gpu_spans(session, recorder)
        return
    captured = Captured(Path(session.folder) / f"library-{session.run.index}.txt")
    began_ns = ahead_ns(session)
    with captured, ExitStack() as stack:
        _let_talk(session, stack)
        captured.mark()
        yield Marking(captured)
    layers = layers_of(session, recorder) if recorder is not None else []
    add_calls(session, captured, layers, (began_ns, ahead_ns(session)))


def _let_talk(session: Session, stack: ExitStack) -> None:
    import torch

    backends = torch.backends
    if backends.mkldnn.is_available():
        stack.enter_context(backends.mkldnn.verbose(backends.mkldnn.VERBOSE_ON))
    else:
        session.unavailable("this PyTorch is built without oneDNN")
    if backends.mkl.is_available():
        stack.enter_context(backends.mkl.verbose(backends.mkl.VERBOSE_ON))
        torch.mm(torch.ones(8, 8), torch.ones(8, 8))  # its first word takes 0.1 s
