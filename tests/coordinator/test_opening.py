"""Open, asked of a coordinator on a real NATS, with nodes that the test plays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bus import subjects
from bus.connection import Bus
from bus.messages import (
    Device,
    FrameworkSeen,
    FrameworkWanted,
    Manifest,
    Message,
    Open,
    Opened,
    OpenHere,
    Refused,
    Wanted,
)
from coordinator import opening
from coordinator.coordinator import Coordinator

Eventually = Callable[..., Awaitable[None]]
Start = Callable[[], Awaitable[Coordinator]]
Model = Callable[..., Manifest]


def holding(bus: Bus, node_id: str, asked: list[OpenHere], wait_s: float = 0.0) -> Awaitable[None]:
    """The node of that id answers Open from now on."""

    async def answer(request: Message) -> Message:
        assert isinstance(request, OpenHere)
        asked.append(request)
        await asyncio.sleep(wait_s)
        return Opened(
            handle="h",
            node_id=node_id,
            model=request.manifest.name,
            model_version=request.manifest.version,
            framework=request.framework,
            framework_version="1.31.1",
        )

    return bus.serve("node", {subjects.open_on(node_id): answer})


async def alive(coordinator: Coordinator, eventually: Eventually, *nodes: str) -> None:
    await eventually(lambda: coordinator.status()["nodes"] == list(nodes))


async def test_the_chosen_node_gets_the_whole_manifest(
    bus: Bus, coordinator_on: Start, player: Any, model: Model, eventually: Eventually
) -> None:
    coordinator, asked = await coordinator_on(), []
    await player("n1")
    await player(
        "n2",
        devices=[Device(kind="cpu", name="a cpu"), Device(kind="gpu", name="a gpu")],
        frameworks=[
            FrameworkSeen(
                name="onnxruntime", version="1.31.1", devices=["gpu"], environment="with-gpu"
            )
        ],
    )
    await holding(bus, "n2", asked)
    await alive(coordinator, eventually, "n1", "n2")
    request = Open(
        user="ann",
        manifest=model(),
        wanted=Wanted(device="gpu"),
        settings={"threads": 2},
        timeout_s=9.0,
    )
    opened = await bus.request(subjects.OPEN, request, Opened)
    assert (opened.node_id, opened.model) == ("n2", "AlexNet")
    assert asked == [
        OpenHere(
            user="ann",
            manifest=model(),
            framework="onnxruntime",
            environment="with-gpu",
            settings={"device": "gpu", "threads": 2},
            timeout_s=9.0,
        )
    ]
    # A device that was set by hand stays.
    by_hand = Open(manifest=model(), wanted=Wanted(node="n2", device=""), settings={"device": "x"})
    await bus.request(subjects.OPEN, by_hand, Opened)
    assert asked[1].settings == {"device": "x"}


async def test_a_node_that_is_gone_is_passed_over(
    bus: Bus, coordinator_on: Start, player: Any, model: Model, eventually: Eventually
) -> None:
    coordinator, asked = await coordinator_on(), []
    await player("n1")
    await player("n2")
    await alive(coordinator, eventually, "n1", "n2")
    refused = await bus.request(subjects.OPEN, Open(manifest=model()), Refused)
    assert refused.kind == "node_lost" and "n1, n2" in refused.text
    await holding(bus, "n2", asked)
    opened = await bus.request(subjects.OPEN, Open(manifest=model()), Opened)
    assert opened.node_id == "n2"


async def test_a_node_that_is_too_slow_is_not_waited_for(
    bus: Bus,
    coordinator_on: Start,
    player: Any,
    model: Model,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "MARGIN_S", 0.1)
    coordinator, asked = await coordinator_on(), []
    await player("n1")
    await player("n2")
    for node_id in ("n1", "n2"):
        await holding(bus, node_id, asked, wait_s=5.0)
    await alive(coordinator, eventually, "n1", "n2")
    began_s = time.monotonic()
    refused = await bus.request(subjects.OPEN, Open(manifest=model(), timeout_s=0.1), Refused)
    assert (refused.kind, len(asked)) == ("node_lost", 1)
    assert time.monotonic() - began_s < 2


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no model": ({}, "bad_request", "model's name"),
    "an unknown model": ({"model": "EficientNet-Lite0"}, "unknown_model", "EfficientNet-Lite0"),
    "no time": ({"model": "EfficientNet-Lite0", "timeout_s": 0.0}, "bad_request", "timeout_s"),
    "a day": ({"model": "EfficientNet-Lite0", "timeout_s": 86_400.0}, "bad_request", "3600"),
    "no number": ({"model": "EfficientNet-Lite0", "timeout_s": float("nan")}, "bad_request", "nan"),
    "no such device": (
        {"model": "EfficientNet-Lite0", "wanted": Wanted(device="gpu")},
        "nothing_fits",
        "wanted gpu, has cpu",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_without_asking_a_node(
    bus: Bus, coordinator_on: Start, player: Any, eventually: Eventually, case: str
) -> None:
    fields, kind, words = REFUSED[case]
    coordinator, asked = await coordinator_on(), []
    await player("n1")
    await holding(bus, "n1", asked)
    await alive(coordinator, eventually, "n1")
    refused = await bus.request(subjects.OPEN, Open(**fields), Refused)
    assert refused.kind == kind and words in refused.text
    assert not asked


async def test_a_manifest_that_is_not_runnable(
    bus: Bus, coordinator_on: Start, player: Any, model: Model, eventually: Eventually
) -> None:
    coordinator = await coordinator_on()
    refused = await bus.request(subjects.OPEN, Open(manifest=model()), Refused)
    assert refused.kind == "no_nodes"
    await player("n1")
    await alive(coordinator, eventually, "n1")
    for changes, kind in (
        ({"preprocess": "[[code]]"}, "not_runnable"),
        ({"framework": FrameworkWanted(name="pytorch")}, "nothing_fits"),
    ):
        request = Open(manifest=model(**changes))
        assert (await bus.request(subjects.OPEN, request, Refused)).kind == kind
