"""Login by a proxy that speaks OpenID Connect: its headers count from its own address alone."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from bus.errors import InputError
from web.access import Access
from web.clients import bus_name
from web.settings import Settings

PROXY, ELSEWHERE = "127.0.0.2", "127.0.0.3"
USER, GROUPS = "X-Forwarded-User", "X-Forwarded-Groups"
BEHIND: dict[str, Any] = {
    "proxy_header": USER,
    "proxy_addresses": f"{PROXY}, 10.1.0.0/16",
    "proxy_groups_header": GROUPS,
    "proxy_roles": "*=look, ml=run, ml-admins=administer",
}
UPLOAD = "/api/v1/uploads"


def from_address(address: str, url: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    raw = {"Content-Type": "application/octet-stream"}
    return aiohttp.ClientSession(url, connector=connector, headers=raw)


async def test_who_comes_through_the_proxy_is_whom_it_names(serve: Any) -> None:
    async with serve(**BEHIND) as url:
        cases: list[tuple[str, dict[str, Any], int, int]] = [
            # address, headers, a look, an upload
            (PROXY, {USER: "ann@example.org"}, 200, 403),
            (PROXY, {USER: "ann@example.org", GROUPS: "x, ml"}, 200, 201),
            (PROXY, {USER: "ann@example.org", GROUPS: "*,mll"}, 200, 403),
            (PROXY, {}, 401, 401),
            (PROXY, {USER: ""}, 401, 401),
            (PROXY, {USER: "a\tb"}, 401, 401),
            # A forged header: somebody who goes round the proxy.
            (ELSEWHERE, {USER: "ann@example.org", GROUPS: "ml-admins"}, 401, 401),
            (ELSEWHERE, {USER: "root", "X-Forwarded-For": PROXY, "Forwarded": PROXY}, 401, 401),
            # A page of another site, in the browser of somebody whom the proxy knows; the proxy
            # adds a token of its own to each request.
            (
                PROXY,
                {
                    USER: "ann",
                    GROUPS: "ml",
                    "Sec-Fetch-Site": "cross-site",
                    "Authorization": "Bearer eyJhbGciOi",
                },
                200,
                403,
            ),
        ]
        for address, headers, looks, uploads in cases:
            async with from_address(address, url) as session:
                async with session.get("/api/v1/nodes", headers=headers) as answer:
                    assert answer.status == looks, headers
                async with session.post(UPLOAD, headers=headers, data=b"a") as answer:
                    assert answer.status == uploads, headers
        async with from_address(PROXY, url) as session:
            two = [(USER, "ann"), (USER, "root"), (GROUPS, "ml-admins")]
            async with session.get("/api/v1/nodes", headers=two) as answer:
                assert answer.status == 401


async def test_each_visitor_is_a_user_of_the_bus(serve: Any) -> None:
    asked = {"model": "MNIST-CNN", "runs": 2, "framework": "onnxruntime"}
    async with serve(**BEHIND) as url, from_address(PROXY, url) as session:
        who = {USER: "ann@example.org", GROUPS: "ml", "Content-Type": "application/json"}
        async with session.post("/api/v1/evaluations", json=asked, headers=who) as answer:
            begun = await answer.json()
            assert answer.status == 202, begun
        async with session.get(begun["facts_url"], headers=who) as answer:
            assert b"EvaluationFinished" in await answer.read()
        named = bus_name("ann@example.org")
        async with session.get(f"/api/v1/evaluations?user={named}", headers=who) as answer:
            assert begun["evaluation_id"] in await answer.text()
        other = {USER: "bob", GROUPS: "ml"}
        async with session.post(f"{begun['url']}/cancel", headers=other) as answer:
            assert answer.status in (403, 404, 409, 422), await answer.text()
        root = {USER: "root", GROUPS: "ml-admins"}
        async with session.delete(begun["url"], headers=root) as answer:
            assert answer.status == 200, await answer.text()


@pytest.mark.parametrize(
    ("address", "scheme", "secure"),
    [(PROXY, "https", True), (PROXY, "http", False), (ELSEWHERE, "https", False)],
)
async def test_a_session_that_came_by_https_goes_by_https_alone(
    serve: Any, address: str, scheme: str, secure: bool
) -> None:
    headers = {USER: "ann", "X-Forwarded-Proto": scheme}
    async with (
        serve(**BEHIND) as url,
        from_address(address, url) as session,
        session.get("/login", headers=headers) as answer,
    ):
        assert bool(answer.cookies["mlms_session"]["secure"]) is secure


def test_two_names_never_become_one() -> None:
    names = ["ann", "ann.b", "ann-b", "ann b", "ann@b", "Ann", "ä", "a" * 65, "a" * 66]
    assert len({bus_name(name) for name in names}) == len(names)
    assert bus_name("ann") == "ann"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"proxy_addresses": ""}, "PROXY_ADDRESSES="),
        ({"proxy_addresses": "everyone"}, "'everyone': expected addresses"),
        ({"proxy_roles": "ml=king"}, "'ml=king': expected GROUP=ROLE"),
        ({"proxy_groups_header": ""}, "PROXY_GROUPS_HEADER"),
        ({"proxy_header": "X User"}, "expected a header's name"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(changed: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Access(Settings(**{**BEHIND, **changed}))
    Access(Settings(host="0.0.0.0", **BEHIND))  # it needs no file of tokens
