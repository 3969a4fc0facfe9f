"""JSON -> trace events: what a file holds, or what it holds instead and what was expected.

All formats that are read here are dialects of Chrome's trace events: an array of objects, alone or
under `traceEvents`. An event's times and arguments stay as they were written until they are needed:
a float would round the nanoseconds of an epoch time away.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from bus.errors import InputError

NOTHING = msgspec.Raw(b"")
EXPECTED = "expected a profile of PyTorch (Kineto), of ONNX Runtime, or another Chrome trace"
FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
LARGEST_NS = 2**62
"""Times beyond this, 146 years from 1970, are no times."""


class Event(msgspec.Struct, gc=False):
    """One trace event. ph: its phase; ts, dur: microseconds as written."""

    ph: Any = ""
    cat: Any = ""
    name: Any = ""
    pid: Any = 0
    tid: Any = 0
    ts: msgspec.Raw = NOTHING
    dur: msgspec.Raw = NOTHING
    args: msgspec.Raw = NOTHING
    s: Any = ""


class Trace(msgspec.Struct, gc=False):
    """A file's events, and what else stands at its top; mended: what had to be repaired first."""

    events: list[Event]
    about: dict[str, Any] = {}
    alone: bool = False
    """Whether the file is the array itself."""
    unreadable: int = 0
    """Entries of the array that are no events."""
    mended: list[str] = []


_events = msgspec.json.Decoder(list[Event])
_event = msgspec.json.Decoder(Event)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_top = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()
_NO_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?\b(?:nan|inf|NaN|Infinity)\b)')


def trace_of(path: Path, data: bytes) -> Trace:
    """The events of a file's bytes; InputError says what else they are."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data[:256].lstrip()[:1] not in (b"{", b"["):
        raise InputError(f"{path} is not JSON: it begins with {data[:24]!r}; {EXPECTED}")
    try:
        return _read(path, data)
    except FAULTS as exc:
        mended, what = _mended(data)
        if not what:
            raise _damaged(path, data, exc) from exc
    try:
        trace = _read(path, mended)
    except FAULTS as exc:
        raise _damaged(path, mended, exc) from exc
    trace.mended = what
    return trace


def _read(path: Path, data: bytes) -> Trace:
    if data[:256].lstrip()[:1] == b"[":
        return _listed(path, data, alone=True)
    top = _top.decode(data)
    events = top.pop("traceEvents", None)
    if events is None:
        keys = ", ".join(list(top)[:6]) or "none"
        raise InputError(f"{path} is JSON without traceEvents (its keys: {keys}); {EXPECTED}")
    trace = _listed(path, events, alone=False)
    trace.about = {key: travelling(_any.decode(raw)) for key, raw in top.items()}
    return trace


def _listed(path: Path, data: bytes | msgspec.Raw, alone: bool) -> Trace:
    unreadable = 0
    try:
        events = _events.decode(data)
    except msgspec.ValidationError:
        try:
            raws = _raws.decode(data)
        except msgspec.ValidationError as exc:
            raise InputError(f"{path}: its traceEvents are no array; {EXPECTED}") from exc
        events = []
        for raw in raws:
            try:
                events.append(_event.decode(raw))
            except msgspec.ValidationError:
                unreadable += 1
    if not events:
        found = f"{unreadable} entries, none of them an event" if unreadable else "no events"
        raise InputError(f"{path} holds {found}: there is nothing to import; {EXPECTED}")
    return Trace(events, alone=alone, unreadable=unreadable)


def _mended(data: bytes) -> tuple[bytes, list[str]]:
    """Kineto writes what is no number bare (`inf`, `nan`), and names as whatever bytes they are."""
    what, count = [], 0
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode(errors="replace").encode()
        what.append("bytes that are no UTF-8 were replaced")

    def null(found: re.Match[bytes]) -> bytes:
        nonlocal count
        if found.group(1) is None:
            return found.group(0)
        count += 1
        return b"null"

    data = _NO_NUMBER.sub(null, data)
    if count:
        what.append(f"{count} values written as nan or inf are read as null")
    return data, what


def _damaged(path: Path, data: bytes, exc: Exception) -> InputError:
    if "truncated" in str(exc):
        return InputError(
            f"{path} is cut off: its JSON ends in the middle, after {len(data):,} bytes; was the "
            "profiler ended (end_profiling, or leaving the `with`) before the file was copied?"
        )
    return InputError(f"{path} is not JSON: {exc}; {EXPECTED}")


def nanoseconds(raw: msgspec.Raw) -> int | None:
    """Microseconds as written -> whole nanoseconds; None for what is no time."""
    text = bytes(raw)
    if text.isdigit():
        value = int(text) * 1000
    else:
        whole, dot, part = text.partition(b".")
        if dot and whole.isdigit() and part.isdigit() and len(part) <= 3:
            value = int(whole) * 1000 + int((part + b"00")[:3])
        else:
            try:
                number = Decimal(text.decode())
            except (InvalidOperation, UnicodeDecodeError):
                return None
            if not number.is_finite() or number.adjusted() > 18:  # 1e999999999 is a number too
                return None
            value = int((number * 1000).to_integral_value())
    return value if -LARGEST_NS < value < LARGEST_NS else None


def arguments(raw: msgspec.Raw) -> dict[str, Any]:
    """An event's arguments; what is no map is kept under `args`."""
    if raw is NOTHING:
        return {}
    found = travelling(_any.decode(raw))
    if isinstance(found, dict):
        return found
    return {} if found is None else {"args": found}


def travelling(value: Any) -> Any:
    """A JSON value as MessagePack can carry it: whole numbers beyond 64 bits become text."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, list):
        return [travelling(one) for one in value]
    if isinstance(value, dict):
        return {key: travelling(one) for key, one in value.items()}
    return value
