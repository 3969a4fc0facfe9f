"""A model held open by REST: asked again and again, by who opened it and nobody else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import aiohttp

ASKED = {"model": "MNIST-CNN", "framework": "onnxruntime", "threads": 1}


async def call(
    session: aiohttp.ClientSession, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    async with session.request(method, path, json=body) as answer:
        return answer.status, json.loads(await answer.read())


def best(predicted: dict[str, Any]) -> list[str]:
    return [one["classes"][0]["label"] for one in predicted["predictions"]]


async def test_opened_asked_and_closed(web_url: str, samples: Path) -> None:
    seven, zero = ((samples / name).read_bytes() for name in ("seven.png", "zero.png"))
    async with aiohttp.ClientSession(web_url) as session:
        status, model = await call(session, "POST", "/api/v1/warm", ASKED)
        assert (status, model["opened"]["model"]) == (201, "MNIST-CNN"), model
        raw = {"Content-Type": "application/octet-stream"}
        async with session.post("/api/v1/uploads?name=0.png", data=zero, headers=raw) as answer:
            upload = (await answer.json())["upload"]
        given = [{"data": base64.b64encode(seven).decode(), "name": "../7.png"}, {"upload": upload}]
        status, said = await call(session, "POST", f"{model['url']}/predict", {"inputs": given})
        assert (status, best(said)) == (200, ["7", "0"]), said
        assert said["duration_ns"] > 0
        assert (await call(session, "GET", model["url"]))[1] == model
        _, known = await call(session, "GET", "/api/v1/warm")
        assert model in known["models"]
        for wrong, status, kind in (
            ({"inputs": []}, 422, "body"),
            ({"inputs": [{}]}, 422, "body"),
            ({"inputs": [{"data": ""}]}, 422, "body"),
            ({"inputs": [{"data": "AAAA"}]}, 422, "input"),
            ({"inputs": [{"url": "/etc/passwd"}]}, 422, "body"),
            ({"inputs": [{"upload": "0" * 64}]}, 404, "unknown_upload"),
        ):
            told = await call(session, "POST", f"{model['url']}/predict", wrong)
            assert (told[0], told[1]["kind"]) == (status, kind), told
        assert (await call(session, "DELETE", model["url"]))[0] == 200
        told = await call(session, "POST", f"{model['url']}/predict", {"inputs": given})
        assert (told[0], told[1]["kind"]) == (404, "unknown_handle")
        status, problem = await call(session, "POST", "/api/v1/warm", ASKED | {"node": "moon"})
        assert (status, problem["kind"]) == (409, "nothing_fits")


async def test_nobody_uses_what_another_holds_open(serve: Any, tokens: Path) -> None:
    async with serve(tokens=str(tokens), warm_models=1) as url:

        def session(name: str) -> aiohttp.ClientSession:
            who = {"Authorization": f"Bearer {name}{'x' * 20}"}
            return aiohttp.ClientSession(url, headers=who)

        async with session("ann") as ann, session("bob") as bob:
            _, model = await call(ann, "POST", "/api/v1/warm", ASKED)
            assert (await call(bob, "GET", model["url"]))[0] == 404
            assert (await call(bob, "DELETE", model["url"]))[0] == 404
            assert (await call(bob, "GET", "/api/v1/warm"))[1] == {"models": []}
            assert (await call(ann, "GET", model["url"]))[0] == 200
            await call(bob, "POST", "/api/v1/warm", ASKED)  # the longest unused makes room
            assert (await call(ann, "GET", model["url"]))[0] == 404
