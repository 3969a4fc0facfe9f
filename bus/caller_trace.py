"""The trace of whoever asks: what a W3C traceparent says, and the address that OTLP goes to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from bus.errors import InputError

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NETLOC = re.compile(r"[A-Za-z0-9.\-_]+(:\d+)?|\[[0-9a-fA-F:.]+\](:\d+)?")
TRACEPARENT = "00-<32 hex digits>-<16 hex digits>-<2 hex digits>, none of the ids all zeros"
ADDRESS = "http(s)://HOST:PORT, without a user, a password or a query"
TRACES_PATH, METRICS_PATH = "/v1/traces", "/v1/metrics"


class CallersSpan(NamedTuple):
    """The span within which an evaluation was asked for. The ids are hex text, as in W3C's."""

    trace_id: str
    span_id: str
    sampled: bool


class Place(NamedTuple):
    """A host that spans may go to; port None: any port of it."""

    host: str
    port: int | None


def read_traceparent(text: str) -> CallersSpan | None:
    """What a traceparent says; None when it is none (https://www.w3.org/TR/trace-context/)."""
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or not int(trace_id, 16) or not int(span_id, 16):
        return None
    if version == "00" and more:
        return None  # only later versions may say more
    return CallersSpan(trace_id, span_id, bool(int(flags, 16) & 1))


def traces_url(endpoint: str) -> str:
    """Where spans are posted for an endpoint: its own path, or OTLP's usual one; "": unusable.

    An address with a password in it is not usable: it would be stored and shown. Nor is one that
    two programs might read in two ways.
    """
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return ""
    if not usable or not _NETLOC.fullmatch(parts.netloc) or parts.query or parts.fragment:
        return ""
    path = TRACES_PATH if parts.path in ("", "/") else parts.path
    return f"{parts.scheme}://{parts.netloc}{path}"


def metrics_url(traces: str) -> str:
    """Where samples are posted beside spans; "": the address has a path of its own."""
    usual = traces.endswith(TRACES_PATH)
    return traces.removesuffix(TRACES_PATH) + METRICS_PATH if usual else ""


def read_hosts(text: str) -> list[Place]:
    """A comma list of HOST, HOST:PORT or [V6]:PORT; InputError names what is none of them."""
    places = []
    for entry in filter(None, (one.strip() for one in text.split(","))):
        try:
            parts = urlsplit(f"//{entry}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not _NETLOC.fullmatch(entry):
            raise InputError(f"{entry!r} is no host: expected HOST or HOST:PORT")
        places.append(Place(host, port))
    return places


def allowed(endpoint: str, places: Sequence[Place]) -> bool:
    """Whether an endpoint lies at one of these places."""
    parts = urlsplit(traces_url(endpoint))
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return any(place.host == parts.hostname and place.port in (None, port) for place in places)
