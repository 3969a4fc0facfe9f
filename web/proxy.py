"""Visitors whom a trusted proxy has let in: it says in headers who they are and in which groups.

Such as oauth2-proxy or an ingress that speaks OpenID Connect. Only what comes from the proxy's own
addresses is believed; the same headers from elsewhere are nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from bus.errors import InputError
from web.roles import ROLES, Visitor, highest
from web.settings import Settings

EVERYONE = "*"
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LONGEST = 200
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Proxy:
    """What is believed, and of whom. roles: group -> role; `*` is everyone whom it let in."""

    user_header: str
    groups_header: str
    networks: tuple[Network, ...]
    roles: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> Proxy | None:
        """As the settings have it; none without proxy_header. InputError for what is amiss."""
        if not settings.proxy_header:
            return None
        for name in filter(None, (settings.proxy_header, settings.proxy_groups_header)):
            if not HEADER.fullmatch(name):
                raise InputError(f"MLMS_WEB_PROXY_HEADER {name!r}: expected a header's name")
        networks = tuple(map(_network, _parts(settings.proxy_addresses)))
        if not networks:
            raise InputError(
                "MLMS_WEB_PROXY_HEADER is set: name the proxy's own addresses too, such as "
                "MLMS_WEB_PROXY_ADDRESSES=10.0.0.7,fd00::/64: whoever comes from there is believed"
            )
        roles = dict(map(_role, _parts(settings.proxy_roles)))
        if set(roles) - {EVERYONE} and not settings.proxy_groups_header:
            raise InputError("MLMS_WEB_PROXY_ROLES names groups: set MLMS_WEB_PROXY_GROUPS_HEADER")
        return cls(settings.proxy_header, settings.proxy_groups_header, networks, roles)

    def speaks(self, request: web.Request) -> bool:
        """Whether this comes from the proxy, for somebody whom it has let in."""
        return self.trusts(request) and self.user_header in request.headers

    def visitor(self, request: web.Request, session: str) -> Visitor:
        """Whom the proxy names; one without a role where it names nobody in one line."""
        named = request.headers.getall(self.user_header)
        if len(named) != 1 or not 0 < len(named[0].strip()) <= LONGEST or CONTROL.search(named[0]):
            return Visitor()
        groups = {EVERYONE}
        if self.groups_header:
            for line in request.headers.getall(self.groups_header, []):
                groups |= {part.strip() for part in line.split(",")} - {EVERYONE, ""}
        role = highest(self.roles[group] for group in groups if group in self.roles)
        return Visitor(named[0].strip(), role, session)

    def trusts(self, request: web.Request) -> bool:
        """Whether this comes from the proxy's own addresses."""
        try:
            found = ipaddress.ip_address(request.remote or "")
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self.networks)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise InputError(
            f"MLMS_WEB_PROXY_ADDRESSES: {text!r}: expected addresses or networks, like 10.0.0.7 "
            "or 10.0.0.0/24, with commas"
        ) from exc


def _role(text: str) -> tuple[str, str]:
    group, _, role = (part.strip() for part in text.partition("="))
    if not group or role not in ROLES:
        raise InputError(
            f"MLMS_WEB_PROXY_ROLES: {text!r}: expected GROUP=ROLE with commas, a role of "
            f"{', '.join(ROLES)}; {EVERYONE} is everyone whom the proxy lets in"
        )
    return group, role
