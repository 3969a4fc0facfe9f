"""One file -> its content and its profile: whose format it is, and that nothing is uncounted."""

from __future__ import annotations

from pathlib import Path

from bus.errors import InputError
from mlmodelscope.importing import chrome, kineto, onnxruntime
from mlmodelscope.importing.events import EXPECTED, trace_of
from mlmodelscope.importing.files import Content, Progress, content
from mlmodelscope.importing.profile import Options, Profile


def silently(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def read(
    path: Path, options: Options | None = None, progress: Progress = silently
) -> tuple[Content, Profile]:
    """What lies in a profile's file. Raises InputError that says what was found and expected."""
    held = content(path, progress)
    progress(f"parsing {path.name}", 0, 0)
    trace = trace_of(path, held.data)
    reader = chrome.read
    if kineto.is_kineto(trace):
        reader = kineto.read
    elif onnxruntime.is_onnxruntime(trace):
        reader = onnxruntime.read
    events = len(trace.events)
    profile = reader(trace, options or Options())
    assert profile.ledger.total() == events, "every event is counted once"
    if trace.unreadable:
        profile.ledger.count("none", "", "", "an entry that is no event", trace.unreadable)
    profile.notes += trace.mended
    if not len(profile.spans):
        found = ", ".join(f"{e.count} {e.category} ({e.phase})" for e in profile.ledger.told()[:5])
        raise InputError(f"{path} holds no event that took time (only {found}); {EXPECTED}")
    return held, profile
