"""Who may come in, and what stops a page of another site."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest

from bus.errors import InputError
from web.access import Access, read_tokens
from web.settings import Settings

MORE = "x" * 20
GET, POST = "GET", "POST"


@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        ("", GET, "/api/v1/nodes", 401),
        ("wrong", GET, "/api/v1/nodes", 401),
        ("", GET, "/v2", 401),
        ("", GET, "/healthz", 200),
        ("", GET, "/static/style.css", 200),
        ("look", GET, "/api/v1/nodes", 200),
        ("look", POST, "/api/v1/uploads", 403),
        ("run", POST, "/api/v1/uploads", 201),
        ("run", POST, "/api/v1/models", 403),
        ("publish", POST, "/api/v1/models", 415),
        ("publish", "DELETE", "/api/v1/evaluations/" + "0" * 32, 403),
        ("administer", "DELETE", "/api/v1/evaluations/" + "0" * 32, 404),
    ],
)
async def test_each_role_may_what_it_says(
    guarded_url: str, role: str, method: str, path: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {role}{MORE}"} if role else {}
    if method == POST:
        headers["Content-Type"] = "application/octet-stream"
    data = b"a file" if method == POST else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, guarded_url + path, data=data, headers=headers) as answer,
    ):
        assert answer.status == status, await answer.text()


async def test_a_browser_logs_in_and_out(guarded_url: str) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(guarded_url, cookie_jar=jar) as session:
        async with session.get("/history") as answer:
            assert answer.url.path == "/login"
        async with session.post("/login", data={"token": "no"}) as answer:
            assert answer.status == 403
        async with session.post("/login", data={"token": f"look{MORE}"}) as answer:
            page = await answer.text()
            assert answer.url.path == "/" and "look-er" in page
            set_by = answer.history[0].headers["Set-Cookie"]
            assert "HttpOnly" in set_by and "SameSite=Strict" in set_by
        async with session.post("/logout", data={"word": "guessed"}) as answer:
            assert answer.status == 403
        word = re.findall(r'name="word" value="(\w+)"', page)[0]
        async with session.post("/logout", data={"word": word}) as answer:
            assert answer.url.path == "/login"
        async with session.get("/history") as answer:
            assert answer.url.path == "/login"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Authorization": "Basic eDp5", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_another_sites_page_changes_nothing(
    web_url: str, headers: dict[str, str], status: int
) -> None:
    kind = {"Content-Type": "application/octet-stream"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{web_url}/api/v1/uploads", data=b"a file", headers=kind | headers) as answer,
    ):
        assert answer.status == status


async def test_a_form_of_nobodys_page_is_refused(web_url: str) -> None:
    form = aiohttp.FormData({"model": "MNIST-CNN"})
    form._is_multipart = True
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{web_url}/evaluate", data=form) as answer,
    ):
        assert answer.status == 403


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("", 0o600, "names nobody"),
        ("king ann " + MORE, 0o600, ":1: expected `role name token`"),
        ("look ann short", 0o600, ":1: expected"),
        ("look ann " + MORE, 0o644, "chmod 600"),
    ],
)
def test_a_wrong_file_of_tokens_is_named(tmp_path: Path, text: str, mode: int, says: str) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(InputError, match=re.escape(says)):
        read_tokens(path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings(host="0.0.0.0"), "--tokens FILE"),
        (Settings(port=99_999), "--port 99999: expected 0"),
        (Settings(tokens="/nope"), "tokens /nope: No such file"),
    ],
)
def test_it_does_not_begin_as_it_should_not_run(settings: Settings, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Access(settings)


async def test_pages_run_no_script_but_ours(web_url: str) -> None:
    evil = "<script>alert(1)</script>"
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{web_url}/history", params={"model": evil}) as answer,
    ):
        assert evil not in await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
