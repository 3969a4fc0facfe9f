"""Errors as RFC 9457 problem documents: what was wrong, in the words that the terminal prints."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from bus.errors import (
    ForbiddenError,
    InputError,
    ManifestError,
    MLModelScopeError,
    NoAnswerError,
    NotStoredError,
    RefusedError,
    ServiceError,
    UnknownNameError,
)
from bus.messages import Refused

MEDIA = "application/problem+json"
REFUSED = {
    "unknown_model": 404,
    "unknown_dataset": 404,
    "unmet_version": 404,
    "changed": 409,
    "no_nodes": 409,
    "nothing_fits": 409,
    "busy": 503,
    "node_lost": 503,
    "forbidden": 403,
}
STATUSES: tuple[tuple[type[MLModelScopeError], int], ...] = (
    (ForbiddenError, 403),
    (NotStoredError, 404),
    (UnknownNameError, 404),
    (InputError, 422),
    (ManifestError, 422),
    (NoAnswerError, 503),
)
TOLD = {"input": 422, "forbidden": 403}
"""What a service tells of a request by its kind alone."""


class ProblemError(Exception):
    """An answer that is a problem; `more` are members of the document beside the five."""

    def __init__(self, status: int, kind: str, detail: str, **more: Any) -> None:
        self.status, self.kind, self.detail, self.more = status, kind, detail, more
        self.headers: dict[str, str] = {}
        super().__init__(detail)

    def document(self) -> dict[str, Any]:
        """The members of the problem document; `kind` is for programs."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "kind": self.kind,
            **self.more,
        }

    def response(self) -> web.Response:
        """The answer to a program."""
        headers = self.headers | ({"Retry-After": "5"} if self.status == 503 else {})
        body = msgspec.json.encode(self.document())
        return web.Response(body=body, status=self.status, content_type=MEDIA, headers=headers)


class Problem(msgspec.Struct, kw_only=True):
    """An RFC 9457 problem document: what an error answers. kind: a word for programs."""

    type: str
    title: str
    status: int
    detail: str
    kind: str
    nearest: list[str] = []
    misfits: list[Any] = []
    faults: list[str] = []


def problem_of(exc: MLModelScopeError) -> ProblemError:
    """One of our errors as a problem, with what it knows beside its words."""
    if isinstance(exc, RefusedError):
        more: dict[str, Any] = {}
        if isinstance(exc.refusal, Refused):
            more = {"nearest": exc.refusal.nearest, "misfits": exc.refusal.misfits}
        return ProblemError(REFUSED.get(exc.kind, 422), exc.kind, str(exc), **more)
    if isinstance(exc, ServiceError) and exc.kind in TOLD:
        return ProblemError(TOLD[exc.kind], exc.kind, str(exc))
    status = next((code for kind, code in STATUSES if isinstance(exc, kind)), 502)
    if isinstance(exc, ManifestError):
        return ProblemError(status, exc.kind, str(exc), faults=list(exc.faults))
    if isinstance(exc, UnknownNameError):
        return ProblemError(status, exc.kind, str(exc), nearest=list(exc.nearest))
    return ProblemError(status, exc.kind, str(exc))
