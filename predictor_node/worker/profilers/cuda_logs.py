"""The calls of cuDNN, cuBLAS and cuBLASLt on an NVIDIA GPU, from the logs that they can keep.

They are told to write to stdout when the worker starts, and caught on their way. A log slows every
call: nobody gets it unasked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..frameworks.installed import has_gpu
from . import Session
from .captured import Captured
from .cuda_log_lines import ALL, OURS, WORK, on_clock, read_log
from .library_calls import Marking, Said, add_said, ahead_ns, layers_of

LEVEL = "library"
frameworks = ("pytorch", "onnxruntime")
devices = ("gpu",)
VARIABLES = {
    "CUDNN_LOGDEST_DBG": "stdout",
    "CUDNN_LOGLEVEL_DBG": "3",  # cuDNN 9
    "CUDNN_LOGINFO_DBG": "1",  # before it
    "CUBLAS_LOGDEST_DBG": "stdout",
    "CUBLAS_LOGINFO_DBG": "1",
    "CUBLASLT_LOG_LEVEL": "2",  # the calls that launch kernels
}
SILENT = "neither cuDNN nor cuBLAS logged a call: the operators are kernels of the framework's own"


def available() -> str:
    return "" if has_gpu() else "cuDNN and cuBLAS: this machine has no NVIDIA GPU"


def wanted(settings: Mapping[str, Any]) -> str:
    if settings.get("cuda_logs") in (WORK, ALL):
        return ""
    return (
        "the logs of cuDNN and cuBLAS slow every call: ask for them with "
        f"--setting profile.cuda_logs={WORK} (the calls that compute) or {ALL}"
    )


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    return dict(VARIABLES)


@contextmanager
def profile(session: Session) -> Iterator[Any]:
    captured = Captured(Path(session.folder) / f"cuda-logs-{session.run.index}.txt")
    began_ns = ahead_ns(session)
    with captured:
        captured.mark()
        yield Marking(captured)
    recorder = getattr(session.handle, "recorder", None)
    layers = layers_of(session, recorder) if recorder is not None else []
    said = logged(session, captured, str(session.settings.get("cuda_logs") or WORK))
    if not add_said(session, said, layers, (began_ns, ahead_ns(session))):
        session.unavailable(SILENT)


def logged(session: Session, captured: Captured, kept: str) -> Said:
    """The calls of each query, on the system's clock and with the system's thread ids."""
    starts_ns = session.starts_ns
    ours = {threading.get_ident(): session.thread}  # cuBLAS names threads as pthread does
    said: Said = {}
    for mark, call in read_log(captured.lines(OURS), kept):
        if not 0 < mark <= len(starts_ns):
            continue
        at_ns = on_clock(call.start_ns, int(starts_ns[mark - 1])) if call.start_ns else 0
        thread = ours.get(call.thread, call.thread)
        said.setdefault(mark - 1, []).append(replace(call, start_ns=at_ns, thread=thread))
    captured.path.unlink(missing_ok=True)
    return said
