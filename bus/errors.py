"""The error tree of the whole system: every error that a person may meet.

MLModelScopeError
├── BusError               the bus is not there, or did not answer
│   ├── NoAnswerError      nobody answered in time
│   ├── ServiceError       a service understood a request and could not do it
│   ├── ForbiddenError     the bus, or a service, does not let this user do it
│   ├── StaleError         a compare-and-set met a newer revision
│   └── BusFullError       a stream has no room left
├── ProtocolError          bytes that are no message of ours
├── ManifestError          faults of a manifest, all at once
├── UnknownNameError       a name that nobody knows, with the nearest ones
├── NotStoredError         no such evaluation is stored
├── RefusedError           no node fits, with the reason of each
├── EvaluationError        an evaluation failed
├── AssetError             a file that could not be had, or is not what it should be
├── InputError             something the caller gave cannot be used
├── StoreError             the database is not there, or refused
└── EmbeddedError          the embedded servers cannot be started on this machine
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class MLModelScopeError(Exception):
    """The root: `except MLModelScopeError` catches everything of ours and nothing else."""

    kind = "error"


class BusError(MLModelScopeError):
    """The bus could not be reached or refused what was asked of it."""

    kind = "bus"


class NoAnswerError(BusError):
    """Nobody answered on a subject in time."""

    def __init__(self, subject: str, timeout_s: float, hint: str = "") -> None:
        self.subject, self.timeout_s = subject, timeout_s
        text = f"no answer on {subject} within {timeout_s:g} s"
        super().__init__(f"{text}: {hint}" if hint else text)


class ServiceError(BusError):
    """A service understood a request and could not do it; kind and text are its own."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class ForbiddenError(BusError):
    """The bus, or a service, does not let this user do what it asked."""

    kind = "forbidden"


class StaleError(BusError):
    """Somebody else wrote the key first."""

    def __init__(self, bucket: str, key: str) -> None:
        self.bucket, self.key = bucket, key
        super().__init__(f"{bucket}/{key} was written by somebody else meanwhile")


class BusFullError(BusError):
    """The stream behind a subject accepts no more until something is consumed."""


class ProtocolError(MLModelScopeError):
    """Bytes that are no message of ours."""

    kind = "protocol"


class ManifestError(MLModelScopeError):
    """A manifest with faults; `faults` holds each as `file:line: field: what was expected`."""

    kind = "manifest"

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.source, self.faults = source, tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n  ".join([f"{source} has {count}:", *self.faults]))


class UnknownNameError(MLModelScopeError):
    """A name that nobody knows."""

    kind = "unknown"

    def __init__(self, what: str, name: str, known: Sequence[str], hint: str = "") -> None:
        self.what, self.name = what, name
        self.nearest = tuple(nearest(name, known))
        tail = f"; did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
        if not tail and known:
            tail = f"; there is: {', '.join(sorted(known)[:12])}"
        super().__init__(f"unknown {what} {name!r}{tail}{' ' + hint if hint else ''}")


class NotStoredError(MLModelScopeError):
    """No such evaluation is stored, or a prefix of several."""

    kind = "not_stored"


class RefusedError(MLModelScopeError):
    """The coordinator refused a request; `refusal` is its whole answer."""

    kind = "refused"

    def __init__(self, text: str, kind: str, refusal: object) -> None:
        self.kind, self.refusal = kind, refusal
        super().__init__(text)


class EvaluationError(MLModelScopeError):
    """An evaluation that was accepted and then failed."""

    def __init__(self, evaluation_id: str, kind: str, text: str) -> None:
        self.evaluation_id, self.kind, self.text = evaluation_id, kind, text
        super().__init__(f"evaluation {evaluation_id[:8]} failed ({kind}): {text}")


class AssetError(MLModelScopeError):
    """A file that could not be had, or is not what its checksum says."""

    kind = "asset"


class InputError(MLModelScopeError):
    """Something the caller gave cannot be used."""

    kind = "input"


class StoreError(MLModelScopeError):
    """The database is not there, or refused."""

    kind = "store"


class EmbeddedError(MLModelScopeError):
    """The embedded servers cannot be started on this machine."""

    kind = "embedded"


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The up to three known names that look most like `name`, whatever their case."""
    by_lower = {k.lower(): k for k in known}
    return [by_lower[m] for m in get_close_matches(name.lower(), list(by_lower), 3, 0.5)]
