"""What REST and the Open Inference Protocol add to a prediction of a model that is held open."""

from __future__ import annotations

import base64
import json
import random
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.effort import Effort
from benchmarks.intervals import bootstrap, difference_of_medians
from benchmarks.report import Row
from mlmodelscope.client import Client
from mlmodelscope.warm import WarmModel

ADDS_MS = 5.0
A_TURN = 20
Ask = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """Who is asked, and what: one file a prediction."""

    client: Client
    session: aiohttp.ClientSession
    model: str
    sample: Path


async def compared(asked: Asked, effort: Effort) -> tuple[list[Row], dict[str, Any]]:
    """Turns of each way, in an order drawn anew each time; the differences of their medians."""
    chance, times = random.Random(7), dict[str, list[float]]()
    turns = max(2, effort.pages // A_TURN)
    async with asked.client.open(asked.model, threads=1) as model, _warm(asked) as url:
        ways = {
            "the Python client": _python(model, asked),
            "the Python client again": _python(model, asked),
            "REST": _rest(asked, url),
            "/v2/infer": _inference(asked),
        }
        for ask in ways.values():
            for _ in range(3):
                await ask()
        for _ in range(turns):
            for name in chance.sample(list(ways), len(ways)):
                times.setdefault(name, []).append(await _median_ms(ways[name]))
    python = times["the Python client"]
    same = bootstrap(difference_of_medians, times["the Python client again"], python)
    rows = [
        Row(
            what=f"a warm prediction by {name} − by the Python client",
            ours=float(np.median(times[name])),
            theirs=float(np.median(python)),
            unit="ms",
            compared=bootstrap(difference_of_medians, times[name], python),
            sign="ms",
            at_most=ADDS_MS,
            same=same,
        )
        for name in ("REST", "/v2/infer")
    ]
    return rows, {"predictions_ms": times}


async def _median_ms(ask: Ask) -> float:
    found = []
    for _ in range(A_TURN):
        began_ns = time.perf_counter_ns()
        await ask()
        found.append((time.perf_counter_ns() - began_ns) / 1e6)
    return float(np.median(found))


def _python(model: WarmModel, asked: Asked) -> Ask:
    async def ask() -> None:
        assert await model.predict([asked.sample])

    return ask


@asynccontextmanager
async def _warm(asked: Asked) -> AsyncIterator[str]:
    """A model held open by REST: its address within the block."""
    body = {"model": asked.model, "threads": 1}
    async with asked.session.post("/api/v1/warm", json=body) as answer:
        url = str((await _read(answer))["url"])
    yield url
    async with asked.session.delete(url) as answer:
        await _read(answer)


def _rest(asked: Asked, url: str) -> Ask:
    data = base64.b64encode(asked.sample.read_bytes()).decode()
    body = {"inputs": [{"name": asked.sample.name, "data": data}]}

    async def ask() -> None:
        async with asked.session.post(f"{url}/predict", json=body) as answer:
            assert (await _read(answer))["predictions"]

    return ask


def _inference(asked: Asked) -> Ask:
    data = asked.sample.read_bytes()
    element = struct.pack("<I", len(data)) + data
    given = {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(element)},
    }
    head = json.dumps({"inputs": [given]}).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }

    async def ask() -> None:
        path = f"/v2/models/{asked.model}/infer"
        async with asked.session.post(path, data=head + element, headers=headers) as answer:
            assert (await _read(answer))["outputs"]

    return ask


async def _read(answer: aiohttp.ClientResponse) -> Any:
    body = await answer.read()
    if answer.status >= 400:
        raise RuntimeError(f"{answer.url}: {answer.status} {body[:300]!r}")
    return json.loads(body)
