"""An operation of the REST interface: its path, what goes in and out, and how it is called."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from web.problems import ProblemError
from web.state import State

JSON = "application/json"
ONE_NAME = {"pattern": r"^[^\x00-\x1f\x7f/?#%]{1,300}$"}
"""What a part of a path may be where nothing narrower is said of it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """One call of an operation, checked: `query` and `body` are of the operation's types."""

    request: web.Request
    state: State
    query: Any = None
    body: Any = None

    @property
    def owner(self) -> str:
        """Who asks, as whose own what he holds counts."""
        return str(self.request["visitor"].name)

    def named(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]


Handler = Callable[[Ask], Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    """What a path answers to a method: what the OpenAPI document says of it, and who does it.

    answer: a type that JSON carries, else `media` says what comes. errors: statuses beside the
    ones that every operation may answer with.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    role: str = "look"
    query: type[Any] | None = None
    body: type[Any] | None = None
    raw_body: str = ""
    answer: Any = None
    media: tuple[str, ...] = (JSON,)
    status: int = 200
    errors: tuple[int, ...] = ()
    tag: str = ""
    limit_bytes: int = 0
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its operationId."""
        return self.handler.__name__.strip("_")

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Check what came in, do it, and say what came of it."""
        state: State = request.app[State.KEY]
        if not request["visitor"].may(self.role):
            raise ProblemError(403, "forbidden", f"this needs the role {self.role}")
        self._check_path(request)
        query = _read_query(request, self.query) if self.query else None
        body = await _read_body(request, self.body) if self.body else None
        found = await self.handler(Ask(request, state, query, body))
        if isinstance(found, web.StreamResponse):
            return found
        if found is None:
            return web.Response(status=self.status)
        encoded = msgspec.json.encode(found)
        return web.Response(body=encoded, status=self.status, content_type=JSON)

    def _check_path(self, request: web.Request) -> None:
        for name, value in request.match_info.items():
            pattern = self.parameters.get(name, ONE_NAME).get("pattern", r"\d{1,9}")
            if re.fullmatch(pattern, value) is None:
                text = f"{name} {value[:80]!r}: expected {pattern}"
                raise ProblemError(422, "path", text)


def _read_query(request: web.Request, kind: type[T]) -> T:
    known = set(kind.__struct_fields__)  # type: ignore[attr-defined]
    given = dict(request.query)
    if unknown := sorted(set(given) - known):
        raise ProblemError(
            422, "query", f"unknown parameter {unknown[0][:80]!r}: expected {sorted(known)}"
        )
    if len(request.query) != len(given):
        raise ProblemError(422, "query", "each parameter may be given once")
    return _convert(given, kind, strict=False)


async def _read_body(request: web.Request, kind: type[T]) -> T:
    if request.content_type != JSON:
        raise ProblemError(415, "body", f"expected {JSON} (got {request.content_type[:80]})")
    try:
        given = msgspec.json.decode(await request.read())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProblemError(400, "body", f"this is no JSON: {exc}") from exc
    return _convert(given, kind, strict=True)


def _convert(given: Any, kind: type[T], *, strict: bool) -> T:
    try:
        return msgspec.convert(given, kind, strict=strict)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise ProblemError(422, "body" if strict else "query", str(exc)) from exc
