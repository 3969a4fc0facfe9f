"""How inputs are handed over, and what layers give: two settings of every framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from conftest import MakeJob, Process


def settings(**more: Any) -> dict[str, Any]:
    return {"device": "cpu", "threads": 1, **more}


@pytest.mark.parametrize("feed", ["list", "native"])
def test_the_answers_do_not_depend_on_how_inputs_come(
    make_job: MakeJob, shared_worker: Process, feed: str
) -> None:
    plain = shared_worker.run(make_job())
    other = shared_worker.run(make_job(settings=settings(feed=feed)))
    assert not other.all("failed"), other.frames
    assert other.one("predictions")["predictions"] == plain.one("predictions")["predictions"]
    assert other.one("opened")["settings"]["feed"] == feed
    assert "feed" not in plain.one("opened")["settings"]
    assert len(other.one("measured")["durations_ns"]) == 4


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"feed": "scroll"}, "unknown feed 'scroll'"),
        ({"layer_outputs": "some"}, "layer_outputs is 'some'; 1 (tell them) or 0 is expected"),
    ],
)
def test_a_wrong_setting_is_named(
    make_job: MakeJob, shared_worker: Process, more: dict[str, Any], says: str
) -> None:
    failed = shared_worker.run(make_job(settings=settings(**more))).one("failed")
    assert failed["kind"] == "request" and says in failed["text"]


def test_what_the_layers_give_is_told_beside_the_same_measurement(
    make_job: MakeJob, shared_worker: Process
) -> None:
    """The weights of this model lie in another file than its graph."""
    said = shared_worker.run(make_job(settings=settings(layer_outputs=1)))
    frames = said.all("insides")
    layers = [layer for frame in frames for layer in frame["layers"]]
    assert [frame["first"] for frame in frames] == [*range(0, len(layers), 100)]
    assert {frame["input"] for frame in frames} == {"coffee.png"}
    assert layers[-1]["shape"] == [1, 1000]
    scores = np.frombuffer(layers[-1]["sample"], "<f4")
    assert int(scores.argmax()) == 967  # espresso
    best = said.one("predictions")["predictions"][0]["classes"][0]
    assert best["index"] == 967 and said.one("measured")["durations_ns"]
