"""Page: a template filled for one visitor, and a form read from one of our own pages."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

import jinja2
from aiohttp import web

from web.access import COOKIE, SESSION_S
from web.problems import ProblemError
from web.roles import Visitor
from web.state import State

MEDIA = "text/html"


class Page:
    """What every page needs."""

    ENVIRONMENT: ClassVar[web.AppKey[jinja2.Environment]] = web.AppKey(
        "templates", jinja2.Environment
    )

    @staticmethod
    def state(request: web.Request) -> State:
        """What the handlers share."""
        found: State = request.app[State.KEY]
        return found

    @classmethod
    def render(
        cls, request: web.Request, template: str, *, status: int = 200, **values: Any
    ) -> web.Response:
        """The page; a browser without a session is given one, which its forms are bound to."""
        visitor = request["visitor"] or Visitor()
        session = visitor.session or request.cookies.get(COOKIE) or secrets.token_urlsafe(24)
        text = cls.text(request, template, session=session, **values)
        response = web.Response(text=text, status=status, content_type=MEDIA)
        if session != request.cookies.get(COOKIE):
            cls.keep_session(request, response, session)
        return response

    @classmethod
    def keep_session(cls, request: web.Request, response: web.StreamResponse, session: str) -> None:
        """Let the browser come back with it; no script may read it, no other site may send it."""
        response.set_cookie(
            COOKIE,
            session,
            httponly=True,
            samesite="Strict",
            secure=cls.state(request).access.encrypted(request),
            max_age=int(SESSION_S),
        )

    @classmethod
    def text(cls, request: web.Request, template: str, *, session: str = "", **values: Any) -> str:
        """A page, or a part of one, filled for this visitor; session: whom its forms are of."""
        access, visitor = cls.state(request).access, request["visitor"] or Visitor()
        return (
            request.app[cls.ENVIRONMENT]
            .get_template(template)
            .render(
                **values,
                word=access.word(session) if session else "",
                visitor=visitor,
                may_run=visitor.may("run"),
                logged_in=access.asks and bool(visitor.role),
                path=request.path,
            )
        )

    @classmethod
    async def form(cls, request: web.Request) -> dict[str, str]:
        """A small form's fields, once it has shown that it came from our own page."""
        given = {name: str(value) for name, value in (await request.post()).items()}
        cls.check_word(request, given.get("word", ""))
        return given

    @classmethod
    def check_word(cls, request: web.Request, word: str) -> None:
        """Refuse a form that none of this visitor's pages made."""
        if not cls.state(request).access.knows_word(request["visitor"], word):
            raise ProblemError(403, "foreign", "this form is not of a page of yours: load it again")

    @staticmethod
    def needs(request: web.Request, role: str) -> None:
        """Refuse who may not."""
        if not request["visitor"].may(role):
            raise ProblemError(403, "forbidden", f"this needs the role {role}")
