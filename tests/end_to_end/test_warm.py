"""A model held open on a node, and a model that is published, through separate processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.errors import NoAnswerError, RefusedError
from bus.messages import Close, Done, Input, Predict, Predicted, PredictFailed, Progress
from manifests.catalog import dump
from mlmodelscope import Client
from mlmodelscope.warm import PredictionError

MODEL = "EfficientNet-Lite0"
COFFEE = "package://scikit-image==0.26.0/skimage/data/coffee.png"
CHELSEA = "package://scikit-image==0.26.0/skimage/data/chelsea.png"


async def asked(bus: Bus, node: str, request: Predict) -> PredictFailed:
    return await bus.request(subjects.predict_on(node), request, PredictFailed)


@pytest.fixture
def photo(tmp_path: Path, installed_coffee: bytes) -> Path:
    """The cup of espresso, small enough to travel inside a message."""
    import io

    from PIL import Image

    path = tmp_path / "cup.jpg"
    with Image.open(io.BytesIO(installed_coffee)) as image:
        image.convert("RGB").resize((300, 200)).save(path, quality=85)
    assert path.stat().st_size < 64 * 1024
    return path


@pytest.fixture
async def installed_coffee(whole_fleet, tmp_path: Path) -> bytes:  # type: ignore[no-untyped-def]
    """The photograph itself, out of the cache that the fleet's node uses too."""
    from platformdirs import user_cache_path

    from predictor_node.assets import Assets

    connection = await Bus.connect(whole_fleet.bus_url, name="test")
    try:
        folder = user_cache_path("mlmodelscope") / "assets"
        return (await Assets(folder, connection).fetch(COFFEE)).read_bytes()
    finally:
        await connection.close()


async def test_opened_asked_twice_and_closed(whole_fleet, photo: Path) -> None:
    async with Client(whole_fleet.bus_url, user="ann") as scope:
        before_s = time.monotonic()
        async with scope.open(MODEL, threads=1) as model:
            open_s = time.monotonic() - before_s
            opened = model.opened
            first = await model.predict([COFFEE, CHELSEA])
            assert [(p.input, p.classes[0].index) for p in first] == [
                ("coffee.png", 967),
                ("chelsea.png", 282),
            ]
            assert first[0].classes[0].label == "espresso"
            # What the model's authors' weights give in torch.
            assert first[0].classes[0].probability == pytest.approx(0.951, abs=0.005)

            before_s = time.monotonic()
            second = await model.ask([photo], top_k=1)
            assert time.monotonic() - before_s < open_s
            (prediction,) = second.predictions
            assert (prediction.input, prediction.classes[0].label) == ("cup.jpg", "espresso")
            assert len(prediction.classes) == 1
            assert 0 < second.duration_ns < 10**10 and second.preprocess_ns > 0
        with pytest.raises(PredictionError, match="closed") as caught:
            await model.predict([photo])
        assert caught.value.kind == "closed"
        await model.close()  # twice is harmless
    assert (opened.node_id, opened.model, opened.cached) == ("node-1", MODEL, False)
    assert opened.settings["intra_op_threads"] == 1 and opened.settings["device"] == "cpu"
    assert opened.inputs[0].shape[1:] == [3, 224, 224]
    node = whole_fleet.processes[2]
    assert "mlms_node_predicts_total 2.0" in node.get("/metrics")
    assert json.loads(node.get("/status"))["warm"] == []


async def test_handles_of_one_model_share_it_and_end_alone(whole_fleet, photo: Path) -> None:
    async with Client(whole_fleet.bus_url) as scope, scope.open(MODEL, threads=1) as kept:
        async with scope.open(MODEL, threads=1) as other:
            assert (kept.opened.cached, other.opened.cached) == (False, True)
            assert kept.opened.handle != other.opened.handle
            both = await asyncio.gather(kept.predict([photo]), other.predict([photo]))
            assert both[0] == both[1]
        assert (await kept.predict([photo]))[0].classes[0].index == 967


async def test_what_cannot_be_predicted_is_said(whole_fleet, photo: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture at all")
    async with Client(whole_fleet.bus_url) as scope, scope.open(MODEL, threads=1) as model:
        with pytest.raises(PredictionError, match=r"notes\.txt is not an image") as caught:
            await model.predict([notes])
        assert caught.value.kind == "input"
        assert (await model.predict([photo]))[0].classes[0].index == 967  # and it stays open
        handle, bus = model.opened.handle, await Bus.connect(whole_fleet.bus_url, name="test")
        small = [Input(name="cup.jpg", data=photo.read_bytes())]
        for request, kind, words in (
            (Predict(handle="1234", inputs=small), "unknown_handle", "'1234'"),
            (Predict(handle=handle, inputs=[]), "request", "expected 1 to 256"),
            (Predict(handle=handle, inputs=small, top_k=0), "request", "top_k is 0"),
            (Predict(handle=handle, inputs=small, timeout_s=float("nan")), "request", "timeout_s"),
            (Predict(handle=handle, inputs=[Input(name="x", url="ftp://x/y")]), "asset", "ftp:"),
            (Predict(handle=handle, inputs=small * 9, top_k=1000), "request", "8000 classes"),
        ):
            failed = await asked(bus, "node-1", request)
            assert failed.kind == kind and words in failed.text, failed
        done = await bus.request(subjects.close_on("node-1"), Close(handle="1234"), Done)
        assert "no model" in done.text
        good = Predict(handle=handle, inputs=small, top_k=1)
        await bus.request(subjects.predict_on("node-1"), good, Predicted)
        await bus.close()


@pytest.mark.parametrize(
    ("model", "fields", "kind", "words"),
    [
        ("EfficientNet-Lite1", {}, "unknown_model", "EfficientNet-Lite0"),
        (f"{MODEL}@^2", {}, "unmet_version", "1.0.0"),
        (MODEL, {"node": "node-9"}, "nothing_fits", "node-9"),
        (MODEL, {"timeout_s": 0.0}, "bad_request", "timeout_s"),
    ],
)
async def test_what_cannot_be_opened_is_refused(
    whole_fleet, model: str, fields: dict[str, object], kind: str, words: str
) -> None:
    async with Client(whole_fleet.bus_url) as scope:
        with pytest.raises(RefusedError, match=words) as caught:
            async with scope.open(model, **fields):
                raise AssertionError("it was opened")
    assert caught.value.kind == kind


async def test_a_measured_job_is_waited_for(whole_fleet, photo: Path) -> None:
    async with Client(whole_fleet.bus_url) as scope, scope.open(MODEL, threads=1) as model:
        evaluation = await scope.evaluate(MODEL, runs=400, threads=1)
        async for fact in evaluation:
            if isinstance(fact, Progress) and fact.phase == "measure":
                break
        with pytest.raises(PredictionError, match="busy") as caught:
            await model.predict([photo], timeout_s=0.2)
        assert caught.value.kind == "busy"
        waiting = asyncio.create_task(model.ask([photo], timeout_s=60.0))
        result = await evaluation.result()
        answered = await waiting
    assert result.latency[0].queries == 400
    assert answered.predictions[0].classes[0].index == 967


async def test_a_killed_worker_costs_its_models_and_nothing_else(whole_fleet, photo: Path) -> None:
    node = whole_fleet.processes[2]
    async with Client(whole_fleet.bus_url) as scope:
        model = await scope.open(MODEL, threads=1).__aenter__()
        status = json.loads(node.get("/status"))
        (held,) = status["warm"]
        assert held["worker"] != status["workers"]["default"]  # a measured job's is not shared
        os.kill(held["worker"], signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(PredictionError, match="SIGKILL|open") as caught:
                await model.predict([photo])
            assert caught.value.kind == "worker_died"
        async with scope.open(MODEL, threads=1) as again:
            assert (await again.predict([photo]))[0].classes[0].index == 967
        await (await scope.evaluate(MODEL, runs=5, threads=1)).result()


async def test_a_killed_node_is_noticed_at_once(whole_fleet, photo: Path) -> None:
    async with Client(whole_fleet.bus_url) as scope, scope.open(MODEL, threads=1) as model:
        await model.predict([photo])
        whole_fleet.processes[2].kill()
        # What is asked before the bus has seen the connection end waits for its own timeout.
        await asyncio.sleep(0.5)
        before_s = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"node-1, which held the model, is gone"):
            await model.predict([photo])
        # The coordinator believes in it until its key expires, and asks it in vain.
        with pytest.raises(RefusedError, match="node") as caught:
            await scope.open(MODEL).__aenter__()
        assert caught.value.kind in ("node_lost", "no_nodes")
        assert time.monotonic() - before_s < 5


async def test_published_evaluated_unpublished_refused(whole_fleet, tmp_path: Path) -> None:
    async with Client(whole_fleet.bus_url, user="ann") as scope:
        (shipped,) = [
            m for m in (await scope.models(MODEL)).models if m.framework.name == "onnxruntime"
        ]
        path = tmp_path / "my-net.yml"
        path.write_text(dump(replace(shipped, name="My-Net", version="2.0.0")))

        published = await scope.publish(path)
        assert await scope.publish(published) == published  # the same again is done
        result = await (await scope.evaluate("My-Net@^2", runs=5, threads=1)).result()
        assert result.model == "My-Net"
        async with scope.open("my-net", threads=1) as model:
            assert (await model.predict([COFFEE]))[0].classes[0].index == 967

        for name in ("My-Net", "MY-NET"):
            changed = replace(published, name=name, description="quite another one")
            with pytest.raises(RefusedError, match="raise the version") as caught:
                await scope.publish(changed)
            assert caught.value.kind == "changed"
        await scope.publish(replace(published, version="2.0.1", description="another one"))
        assert [m.version for m in (await scope.models("My-Net")).models] == ["2.0.1", "2.0.0"]

        for version in ("2.0.1", "2.0"):
            await scope.unpublish(f"My-Net@{version}")
        with pytest.raises(RefusedError, match="My-Net") as caught:
            await scope.evaluate("My-Net", runs=5)
        assert caught.value.kind == "unknown_model"
        await scope.publish(published)  # it may come back
        assert (await scope.models("My-Net")).models == [replace(published, owner="ann")]
