"""How often, under which name, and with what in the path somebody may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

RAW = {"Content-Type": "application/octet-stream"}


async def test_who_changes_too_much_is_told_when_to_come_back(serve: Any, tokens: Path) -> None:
    async with serve(changes_a_minute=3, tokens=str(tokens)) as url:

        async def upload(name: str) -> tuple[int, str]:
            who = {"Authorization": f"Bearer {name}{'x' * 20}"} | RAW
            async with (
                aiohttp.ClientSession(url, headers=who) as session,
                session.post("/api/v1/uploads", data=b"a") as answer,
            ):
                return answer.status, answer.headers.get("Retry-After", "")

        told = [await upload("ann") for _ in range(7)]  # a minute may end in between, once
        refused = [wait for status, wait in told if status == 429]
        assert refused and all(0 < int(wait) <= 60 for wait in refused)
        assert [status for status, _ in told][:3] == [201, 201, 201]
        assert (await upload("bob"))[0] == 201  # it is another who asked too much
        async with aiohttp.ClientSession(url) as session, session.get("/healthz") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("models.example.org", 200),
        ("models.example.org:443", 200),
        ("localhost", 200),
        ("evil.example.org", 421),
        ("models.example.org.evil.example", 421),
    ],
)
async def test_only_the_hosts_that_are_named(serve: Any, host: str, status: int) -> None:
    async with (
        serve(public_hosts="models.example.org, m.example") as url,
        aiohttp.ClientSession(url, headers={"Host": host}) as session,
        session.get("/api/v1/nodes") as answer,
    ):
        assert answer.status == status


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2fweb%2fapp.py",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/perfetto/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/models/..%2f..%2fetc%2fpasswd",
        "/api/v1/evaluations/..%2f..%2f/timeline",
        "/api/v1/uploads/..%2f..%2fetc%2fpasswd",
        "/api/v1/models/a%00b",
    ],
)
async def test_no_path_leads_out(web_url: str, path: str) -> None:
    from yarl import URL

    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(web_url + path, encoded=True)) as answer,
    ):
        assert answer.status in (403, 404, 422)
        assert b"root:" not in await answer.read()


@pytest.mark.parametrize("text", ["{{ 7 * 191 }}", "{% raw %}", "<img src=x onerror=alert(1)>"])
async def test_what_is_asked_for_is_never_a_template(web_url: str, text: str) -> None:
    async with aiohttp.ClientSession(web_url, headers={"Accept": "text/html"}) as session:
        for path, name in (("/history", "model"), ("/models", "search"), ("/evaluate", "model")):
            async with session.get(path, params={name: text}) as answer:
                said = await answer.text()
                assert "1337" not in said and "<img src=x" not in said
                assert answer.status < 500


async def test_no_name_holds_a_nul(web_url: str) -> None:
    async with (
        aiohttp.ClientSession(web_url) as session,
        session.get("/api/v1/evaluations", params={"model": "a\0b"}) as answer,
    ):
        assert (answer.status, (await answer.json())["kind"]) == (422, "query")
    async with (
        aiohttp.ClientSession(web_url) as session,
        session.get("/history", params={"model": "a\0b"}) as answer,
    ):
        assert answer.status == 422


async def test_the_web_says_how_it_is(web_url: str, guarded_url: str) -> None:
    async with aiohttp.ClientSession(web_url) as session:
        async with session.get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "ready\n")
        async with session.get("/status") as answer:
            told = await answer.json()
        assert (told["service"], told["ready"]) == ("web", True)
        documented = (Path(__file__).parents[2] / "docs" / "rest.md").read_text()
        assert all(f"`{name}`" in documented for name in told)
        async with session.get("/metrics") as answer:
            assert "mlms_web_requests_total" in await answer.text()
    async with aiohttp.ClientSession(guarded_url) as session:
        for path, status in (
            ("/healthz", 200),
            ("/readyz", 200),
            ("/status", 401),
            ("/metrics", 401),
        ):
            async with session.get(path) as answer:
                assert answer.status == status, path
