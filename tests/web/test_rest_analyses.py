"""What stored evaluations mean, by REST: analyses, comparisons and reports in all their formats."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mlmodelscope.client import Client

ASKED = {"model": "MNIST-CNN", "runs": 30, "framework": "onnxruntime", "threads": 1}


@pytest.fixture(scope="module")
def evaluations(home: Path) -> list[str]:
    """Two evaluations of the same, the first traced; both ended."""

    async def make() -> list[str]:
        async with Client.local(home, user="ann") as client:
            found = []
            for trace in ("framework", "model"):
                evaluation = await client.evaluate(trace=trace, **ASKED)  # type: ignore[arg-type]
                await evaluation.result()
                await client.timeline(evaluation.evaluation_id, 20.0)
                found.append(evaluation.evaluation_id)
            return found

    return asyncio.run(make())


@pytest.fixture
async def session(web_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(web_url) as found:
        yield found


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, str, bytes]:
    async with session.get(f"/api/v1/{path}") as answer:
        return answer.status, answer.content_type, await answer.read()


async def test_analyses_in_their_formats(
    session: aiohttp.ClientSession, evaluations: list[str]
) -> None:
    here = f"evaluations/{evaluations[0]}/analyses"
    async with session.get(f"/api/v1/{here}", params={"what": "A1,A2,layer-types"}) as answer:
        told: list[dict[str, Any]] = await answer.json()
    assert [one["analysis"] for one in told] == ["A1", "A2", "A5"]
    assert all(one["rows"] and not one["unavailable"] for one in told)
    status, media, content = await get(session, f"{here}?what=A2&format=csv")
    assert (status, media) == (200, "text/csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert len(rows) == len(told[1]["rows"])
    assert {row["name"] for row in rows} == {row["name"] for row in told[1]["rows"]}
    status, media, content = await get(session, f"{here}?what=A5&format=html")
    assert (status, media) == (200, "text/html") and b"plotly" in content
    async with session.get(f"/api/v1/{here}?what=A5&format=html") as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["Content-Security-Policy"]


async def test_a_timeline_is_sent_while_it_is_made(
    session: aiohttp.ClientSession, evaluations: list[str]
) -> None:
    path = f"/api/v1/evaluations/{evaluations[0]}/timeline?format=csv"
    async with session.get(path) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        rows = list(csv.DictReader(io.StringIO((await answer.read()).decode())))
    async with session.get(f"/api/v1/evaluations/{evaluations[0]}/timeline/account") as answer:
        assert len(rows) == sum((await answer.json())["stored"].values())


async def test_comparisons(session: aiohttp.ClientSession, evaluations: list[str]) -> None:
    ids = ",".join(evaluations)
    async with session.get("/api/v1/comparisons", params={"ids": ids, "layers": "true"}) as answer:
        (told,) = await answer.json()
    assert told["comparison"]["evaluation_a"] == evaluations[0]
    metrics = [row["metric"] for row in told["comparison"]["metrics"]]
    assert metrics == ["latency", "p99", "throughput"] and told["layers"] == []
    status, media, content = await get(session, f"comparisons?ids={ids},last&format=csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert (status, media, [row["metric"] for row in rows]) == (200, "text/csv", 2 * metrics)
    assert rows[0]["ratio_value"] and not rows[1]["ratio_value"]  # too few for a p99
    assert "ratio" not in rows[0]


@pytest.mark.parametrize(
    ("format", "media", "holds"),
    [("md", "text/markdown", b"MNIST-CNN"), ("html", "text/html", b"<!doctype html>")],
)
async def test_reports(
    session: aiohttp.ClientSession, evaluations: list[str], format: str, media: str, holds: bytes
) -> None:
    for ids in (evaluations[0][:8], ",".join(evaluations)):
        status, kind, content = await get(session, f"reports?ids={ids}&format={format}")
        assert (status, kind) == (200, media), content
        assert holds in content


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("evaluations/{0}/analyses?what=A99", 404, "A99"),
        ("evaluations/{0}/analyses?what=A1,A2&format=csv", 422, "expected one analysis"),
        ("evaluations/{0}/analyses?what=A2&batch_size=7", 422, "batch size 7 was not measured"),
        ("evaluations/{1}/analyses?what=A2&format=csv", 409, "--trace framework"),
        ("evaluations/{0}/analyses?format=xml", 422, "format"),
        ("comparisons?ids={0}", 422, "ids"),
        ("comparisons?ids={0},{1}&metric=speed", 404, "latency"),
        ("comparisons?ids={0},{1}&tolerance=2", 422, "tolerance"),
        ("comparisons?ids={0},0123456789", 404, "no evaluation"),
        ("reports?ids=../../etc/passwd", 422, "ids"),
        ("evaluations/{1}/timeline?format=xml", 422, "format"),
    ],
)
async def test_wrong_questions(
    session: aiohttp.ClientSession, evaluations: list[str], path: str, status: int, says: str
) -> None:
    got, media, content = await get(session, path.format(*evaluations))
    assert (got, media) == (status, "application/problem+json"), content
    assert says in content.decode()


async def test_how_a_models_times_went(
    session: aiohttp.ClientSession, evaluations: list[str]
) -> None:
    path = "models/MNIST-CNN/trends?framework=onnxruntime&since_ns=1000"
    status, _, content = await get(session, path)
    told = json.loads(content)
    assert status == 200 and not told["older"]
    points = [point for series in told["trends"] for point in series["points"]]
    assert {one["framework"] for one in told["trends"]} == {"onnxruntime"}
    assert set(evaluations) <= {point["evaluation_id"] for point in points}
    assert all(point["median_ns"] > 0 for point in points)
    status, media, content = await get(session, "models/MNIST-CNN/trends?since_ns=soon")
    assert (status, media) == (422, "application/problem+json") and b"since_ns" in content


async def test_what_runs_and_what_waits(session: aiohttp.ClientSession) -> None:
    status, _, content = await get(session, "system")
    told = json.loads(content)
    assert status == 200
    assert {"coordinator", "collector", "node"} <= {one["name"] for one in told["services"]}
    consumers = {one["name"]: one["consumers"] for one in told["streams"]}
    assert all(one["waiting"] >= 0 for each in consumers.values() for one in each)
    assert any("collector" in one["name"] for each in consumers.values() for one in each)
