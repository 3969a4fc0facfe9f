"""Who may do what: roles, tokens, sessions of browsers, and what stops another site's page.

Loopback needs no login: whoever can reach it administers. Elsewhere a program sends `Authorization:
Bearer TOKEN`, and a browser gets a session at /login; or a proxy says who it is (proxy.py). A
request that changes something and is not by a bearer token must come from our own pages: browsers
say so (Sec-Fetch-Site, Origin), and forms carry a word that only our pages know.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
import time
from collections import OrderedDict
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from bus.errors import InputError
from web.proxy import Proxy
from web.roles import ROLES, Visitor
from web.settings import Settings

COOKIE = "mlms_session"
SESSIONS = 10_000
SESSION_S = 12 * 3600.0
TOKEN_LETTERS = 20
SCHEME = "X-Forwarded-Proto"
SAFE = ("GET", "HEAD", "OPTIONS")


def read_tokens(path: Path) -> dict[bytes, Visitor]:
    """SHA-256 of each token -> who has it; InputError naming the line that is wrong."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InputError(f"{path} can be read by others: chmod 600 {path}")
        lines = path.read_text().splitlines()
    except OSError as exc:
        raise InputError(f"tokens {path}: {exc.strerror}") from exc
    known: dict[bytes, Visitor] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[0] not in ROLES or len(words[2]) < TOKEN_LETTERS:
            raise InputError(
                f"{path}:{number}: expected `role name token`: a role of {', '.join(ROLES)} and a "
                f"token of {TOKEN_LETTERS} or more letters, such as `openssl rand -hex 20` gives"
            )
        known[_digest(words[2])] = Visitor(name=words[1], role=words[0])
    if not known:
        raise InputError(f"{path} names nobody: expected lines of `role name token`")
    return known


class Access:
    """The door: who a request is by, and whether a browser's may change anything."""

    def __init__(self, settings: Settings) -> None:
        if not 0 <= settings.port <= 65535:
            raise InputError(f"--port {settings.port}: expected 0 (a free one) to 65535")
        self._proxy = Proxy.of(settings)
        if not settings.on_loopback and not settings.tokens and self._proxy is None:
            raise InputError(
                f"--host {settings.host} is open to others: give --tokens FILE (lines of "
                "`role name token`) or MLMS_WEB_PROXY_HEADER (docs/web.md), or stay on 127.0.0.1"
            )
        self._settings = settings
        self._tokens = read_tokens(Path(settings.tokens)) if settings.tokens else {}
        self._sessions: OrderedDict[str, tuple[Visitor, float]] = OrderedDict()
        self._secret = secrets.token_bytes(32)

    def visitor(self, request: web.Request) -> Visitor:
        """Who sent this; a Visitor without a role where nobody knows."""
        session = request.cookies.get(COOKIE, "")
        if self._proxy is not None and self._proxy.speaks(request):
            return self._proxy.visitor(request, session)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._tokens.get(_digest(token.strip()), Visitor())
        if not self.asks:
            return Visitor("you", "administer", session)
        found, until_s = self._sessions.get(session, (Visitor(), 0.0))
        return found if until_s > time.monotonic() else Visitor()

    def login(self, token: str) -> Visitor | None:
        """A session for whoever has this token, or None."""
        known = self._tokens.get(_digest(token.strip()))
        if known is None:
            return None
        visitor = Visitor(known.name, known.role, secrets.token_urlsafe(24))
        self._sessions[visitor.session] = visitor, time.monotonic() + SESSION_S
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return visitor

    def logout(self, visitor: Visitor) -> None:
        """End a session."""
        self._sessions.pop(visitor.session, None)

    def encrypted(self, request: web.Request) -> bool:
        """Whether the browser came by https: to us, or to the proxy before us."""
        by_proxy = self._proxy is not None and self._proxy.trusts(request)
        return request.secure or (by_proxy and request.headers.get(SCHEME, "").lower() == "https")

    @property
    def asks(self) -> bool:
        """Whether anybody must log in."""
        return bool(self._tokens) or self._proxy is not None

    def word(self, session: str) -> str:
        """What forms of this session's pages carry."""
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def knows_word(self, visitor: Visitor, word: str) -> bool:
        """Whether a form came from a page of this session."""
        own = self.word(visitor.session).encode()
        return bool(visitor.session) and hmac.compare_digest(own, word.encode())

    def wrong_host(self, request: web.Request) -> str:
        """Why the name that this was asked under is not ours (DNS rebinding), or nothing."""
        name = _host_name(request.host)
        names = self._settings.names
        return f"expected the host {names[0]}" if names and name not in names else ""

    def foreign(self, request: web.Request) -> str:
        """Why a request that changes something is not from our own pages, or nothing."""
        by_token = request.headers.get("Authorization", "").lower().startswith("bearer ")
        # A proxy adds such a header to whatever a browser sends; a page elsewhere cannot.
        by_proxy = self._proxy is not None and self._proxy.speaks(request)
        if request.method in SAFE or (by_token and not by_proxy):
            return ""
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in ("same-origin", "none"):
            return f"a page of another site ({site}) may not do this"
        origin = request.headers.get("Origin", "")
        if origin and urlsplit(origin).netloc != request.host:
            return f"a page of {origin[:80]} may not do this"
        return ""


def _host_name(host: str) -> str:
    """A Host header without its port."""
    bare, _, port = host.rpartition(":")
    return bare if bare and port.isdigit() else host


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
