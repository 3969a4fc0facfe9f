"""The REST interface as a program uses it: an evaluation from its upload to its end."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

RAW = "application/octet-stream"


async def call(method: str, url: str, **more: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url, **more) as answer:
        return answer.status, json.loads(await answer.read())


async def test_an_evaluation_from_upload_to_deletion(web_url: str, samples: Path) -> None:
    api = f"{web_url}/api/v1"
    status, upload = await call(
        "POST",
        f"{api}/uploads?name=../../my seven.png",
        data=(samples / "seven.png").read_bytes(),
        headers={"Content-Type": RAW},
    )
    assert (status, upload["name"], upload["media"]) == (201, "my seven.png", "image/png")
    asked = {
        "model": "MNIST-CNN",
        "inputs": [{"upload": upload["upload"]}],
        "batch_sizes": [1, 2],
        "runs": 12,
        "trace": "framework",
        "framework": "onnxruntime",
    }
    status, begun = await call("POST", f"{api}/evaluations", json=asked)
    assert (status, begun["model"]) == (202, "MNIST-CNN"), begun
    kinds = []
    async with (
        aiohttp.ClientSession() as session,
        session.get(web_url + begun["facts_url"]) as stream,
    ):
        assert stream.content_type == "text/event-stream"
        async for line in stream.content:
            if line.startswith(b"event: "):
                kinds.append(line[7:].decode().strip())
    assert kinds[0] == "JobStarted" and kinds[-2:] == ["EvaluationFinished", "end"]
    assert {"ModelOpened", "PredictionsMade", "RunMeasured"} <= set(kinds)

    one = web_url + begun["url"]
    status, result = await call("GET", one)
    assert (status, result["state"]) == (200, "finished")
    assert result["predictions"][0]["classes"][0]["label"] == "7"
    assert [row["queries"] for row in result["latency"]] == [12, 12]
    _, said = await call("GET", f"{one}/predictions?limit=1")
    assert said == result["predictions"][:1]
    _, layers = await call("GET", f"{one}/layers?limit=3")
    assert len(layers) == 3 and layers[0]["total_ns"] >= layers[1]["total_ns"]
    _, account = await call("GET", f"{one}/timeline/account")
    _, chunk = await call("GET", f"{one}/timeline/chunks/0")
    assert account["complete"] and len(chunk["spans"]) == sum(account["stored"].values())
    _, trace = await call("GET", f"{one}/timeline?format=chrome")
    assert any(event.get("name") == "predict" for event in trace["traceEvents"])
    _, page = await call("GET", f"{api}/evaluations?model=MNIST-CNN&user=ann&limit=1")
    assert [row["evaluation_id"] for row in page["rows"]] == [begun["evaluation_id"]]
    assert (await call("DELETE", one))[0] == 200
    status, problem = await call("GET", one)
    assert (status, problem["kind"]) == (404, "not_stored")


async def test_it_can_be_stopped(web_url: str) -> None:
    asked = {"model": "MNIST-CNN", "runs": 5_000_000, "framework": "onnxruntime"}
    _, begun = await call("POST", f"{web_url}/api/v1/evaluations", json=asked)
    one = web_url + begun["url"]
    assert (await call("POST", f"{one}/cancel"))[0] == 200
    async with aiohttp.ClientSession() as session, session.get(f"{one}/facts") as stream:
        assert b'"kind":"cancelled"' in await stream.read()


WRONG: tuple[tuple[str, str, dict[str, Any], int, str], ...] = (
    ("POST", "evaluations", {"json": {"model": "MNIST-CNM"}}, 404, "MNIST-CNN"),
    ("POST", "evaluations", {"json": {}}, 422, "`model` or `manifest`"),
    ("POST", "evaluations", {"json": {"model": "MNIST-CNN", "runs": 0}}, 422, "runs"),
    ("POST", "evaluations", {"json": {"model": "MNIST-CNN", "rums": 1}}, 422, "rums"),
    ("POST", "evaluations", {"json": {"model": "MNIST-CNN", "inputs": ["/etc/passwd"]}}, 422, ""),
    (
        "POST",
        "evaluations",
        {"json": {"model": "MNIST-CNN", "inputs": [{"url": "/etc/passwd"}]}},
        422,
        "regex",
    ),
    ("POST", "evaluations", {"json": {"model": "MNIST-CNN", "node": "moon"}}, 409, "node"),
    (
        "POST",
        "evaluations",
        {"data": b"{", "headers": {"Content-Type": "application/json"}},
        400,
        "",
    ),
    (
        "POST",
        "evaluations",
        {"data": b"{}", "headers": {"Content-Type": "text/plain"}},
        415,
        "json",
    ),
    ("GET", "evaluations/../../etc", {}, 404, ""),
    ("GET", "evaluations/nothing", {}, 422, "evaluation"),
    ("GET", "evaluations?limit=many", {}, 422, "int"),
    ("GET", "models/Nothing", {}, 404, "Nothing"),
    ("GET", "models?sort=up", {}, 422, "sort"),
    ("POST", "uploads", {"data": b"", "headers": {"Content-Type": RAW}}, 422, "empty"),
    ("PATCH", "models", {}, 405, ""),
)


@pytest.mark.parametrize(("method", "path", "sent", "status", "says"), WRONG)
async def test_a_wrong_request_is_told_what_is_wrong(
    web_url: str, method: str, path: str, sent: dict[str, Any], status: int, says: str
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{web_url}/api/v1/{path}", **sent) as answer,
    ):
        problem = json.loads(await answer.read())
        assert answer.status == status, problem
        assert answer.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "kind"} <= set(problem)
    assert says in problem["detail"] + str(problem.get("nearest")), problem


async def test_what_was_sent_comes_back_as_a_picture_only_if_it_is_one(web_url: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    for data, media in (
        (picture.getvalue(), "image/png"),
        (b"<script>alert(1)</script>", RAW),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", RAW),
    ):
        url = f"{web_url}/api/v1/uploads"
        _, upload = await call("POST", url, data=data, headers={"Content-Type": RAW})
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/{upload['upload']}") as answer,
        ):
            assert (answer.content_type, await answer.read()) == (media, data)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in answer.headers["Content-Security-Policy"]


async def test_a_model_is_published_and_withdrawn(web_url: str) -> None:
    models = f"{web_url}/api/v1/models"
    _, known = await call("GET", f"{models}/MNIST-CNN")
    manifest = known["models"][0] | {"name": "From-A-Program", "version": "1.0.0"}
    assert (await call("POST", models, json=manifest))[0] == 201
    status, problem = await call("POST", models, json=manifest | {"description": "other"})
    assert (status, problem["kind"]) == (409, "changed")
    _, fitting = await call("GET", f"{models}/From-A-Program/places")
    assert fitting["places"]
    one = f"{models}/From-A-Program/versions/1.0.0"
    assert (await call("DELETE", one))[0] == 200
    assert (await call("GET", f"{models}/From-A-Program"))[0] == 404
