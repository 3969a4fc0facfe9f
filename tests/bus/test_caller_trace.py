"""Whose trace an evaluation belongs to, and which addresses its spans may go to."""

from __future__ import annotations

import pytest

from bus.caller_trace import allowed, read_hosts, read_traceparent, traces_url
from bus.errors import InputError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f" 00-{TRACE}-{SPAN}-03\n", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_traceparent(text: str, sampled: bool) -> None:
    assert read_traceparent(text) == (TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}x-{SPAN}-01",
    ],
)
def test_no_traceparent(text: str) -> None:
    """The invalid ones of https://www.w3.org/TR/trace-context/."""
    assert read_traceparent(text) is None


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://otel.example/", "https://otel.example/v1/traces"),
        ("http://[::1]:4318/other/path", "http://[::1]:4318/other/path"),
        ("collector:4318", ""),
        ("grpc://collector:4317", ""),
        ("http://", ""),
        ("http://ann:secret@collector", ""),
        ("http://collector:99999", ""),
        ("http://collector?to=me", ""),
        ("http://allowed\\@evil", ""),
        ("http://allowed\t.evil", "http://allowed.evil/v1/traces"),  # as browsers read it, too
    ],
)
def test_where_spans_are_posted(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize(
    ("endpoint", "hosts", "may"),
    [
        ("http://collector:4318", "collector", True),
        ("http://COLLECTOR:4318", "other, Collector:4318", True),
        ("http://collector:4319", "collector:4318", False),
        ("https://collector", "collector:443", True),
        ("http://collector", "collector:443", False),
        ("http://[::1]:4318", "[::1]", True),
        ("http://collector.evil", "collector", False),
        ("http://collector", "", False),
        ("http://user@collector", "collector", False),
    ],
)
def test_only_what_is_listed_is_allowed(endpoint: str, hosts: str, may: bool) -> None:
    assert allowed(endpoint, read_hosts(hosts)) is may


@pytest.mark.parametrize("hosts", ["http://collector", "a:b", "u@h", "a/b", "a:70000", "*"])
def test_a_host_that_is_none_is_named(hosts: str) -> None:
    with pytest.raises(InputError, match="is no host: expected HOST or HOST:PORT"):
        read_hosts(f"fine,{hosts}")
