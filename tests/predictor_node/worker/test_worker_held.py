"""Models held open in a real worker: open, predict and close beside run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import EfficientNet, MakeJob, Process

OF_A_RUN = ("job_id", "attempt", "items", "runs", "seed", "top_k", "parent_span", "span_base")


def target(make_job: MakeJob, **changes: Any) -> dict[str, Any]:
    """The model of a job, without what makes it a job."""
    return {k: v for k, v in make_job(**changes).items() if k not in OF_A_RUN}


def ask(worker: Process, do: str, **fields: Any) -> dict[str, Any]:
    worker.tell({"do": do, **fields})
    return worker.hear()


def best(frame: dict[str, Any]) -> list[int]:
    assert frame["said"] == "predicted", frame
    return [made["classes"][0]["index"] for made in frame["predictions"]]


def test_open_predict_close(
    fresh_worker: Process, make_job: MakeJob, efficientnet: EfficientNet
) -> None:
    opened = ask(fresh_worker, "open", handle="a", model=target(make_job))
    assert (opened["said"], opened["cached"]) == ("opened", False)
    assert opened["inputs"][0]["name"] == "images" and opened["duration_ns"] > 0
    assert opened["settings"]["intra_op_threads"] == 1

    coffee = {"name": "coffee.png", "data": efficientnet.coffee.read_bytes()}
    chelsea = {"name": "chelsea.png", "path": str(efficientnet.chelsea)}
    said = ask(fresh_worker, "predict", handle="a", items=[coffee, chelsea], top_k=3)
    assert best(said) == [967, 282]
    assert [made["input"] for made in said["predictions"]] == ["coffee.png", "chelsea.png"]
    assert [len(made["classes"]) for made in said["predictions"]] == [3, 3]
    assert said["predictions"][0]["classes"][0]["probability"] == pytest.approx(0.951, abs=0.002)
    assert said["duration_ns"] > 0 and said["preprocess_ns"] > 0

    assert ask(fresh_worker, "close", handle="a") == {"said": "closed"}
    assert ask(fresh_worker, "close", handle="a") == {"said": "closed"}
    failed = ask(fresh_worker, "predict", handle="a", items=[coffee], top_k=3)
    assert (failed["said"], failed["kind"]) == ("failed", "request")


def test_handles_of_equal_content_share_one_model(
    fresh_worker: Process, make_job: MakeJob, efficientnet: EfficientNet
) -> None:
    one = target(make_job)
    cached = [ask(fresh_worker, "open", handle=h, model=one)["cached"] for h in "ab"]
    other = target(make_job, settings={"device": "cpu", "threads": 2})
    cached.append(ask(fresh_worker, "open", handle="c", model=other)["cached"])
    assert cached == [False, True, False]
    ask(fresh_worker, "close", handle="a")
    items = [{"name": "coffee.png", "path": str(efficientnet.coffee)}]
    for handle in "bc":
        assert best(ask(fresh_worker, "predict", handle=handle, items=items, top_k=1)) == [967]
    # Once both have let go, it is opened anew; a run beside it keeps its own.
    ask(fresh_worker, "close", handle="b")
    assert not ask(fresh_worker, "open", handle="d", model=one)["cached"]
    assert fresh_worker.run(make_job()).one("opened")["cached"] is False


def test_a_graph_of_one_batch_size_is_fed_with_it(
    fresh_worker: Process, make_job: MakeJob, efficientnet: EfficientNet, tmp_path: Path
) -> None:
    # The input's first dimension, in protobuf: the name `batch` becomes the number 2, as long.
    named, numbered = b"\x0a\x07\x12\x05batch", b"\x0a\x07\x08\x82\x80\x80\x80\x80\x00"
    graph = efficientnet.graph.read_bytes()
    assert named in graph and len(named) == len(numbered)
    place = tmp_path / "fixed" / "model.onnx"
    place.parent.mkdir()
    place.write_bytes(graph.replace(named, numbered, 1))
    files = {"graph": str(place), "weights": str(efficientnet.weights)}
    model = {"name": "fixed", "version": "1.0.0", "key": "fixed", "files": files}
    opened = ask(fresh_worker, "open", handle="a", model=target(make_job, model=model))
    assert opened["inputs"][0]["shape"] == [2, 3, 224, 224]
    items = [{"name": n, "path": str(getattr(efficientnet, n))} for n in ("coffee", "chelsea")]
    said = ask(fresh_worker, "predict", handle="a", items=[*items, items[0]], top_k=1)
    assert best(said) == [967, 282, 967]


WRONG_MODELS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such input": ({"inputs": [{"type": "sound"}]}, "request", "unknown input type 'sound'"),
    "no output": ({"outputs": []}, "request", "has no outputs"),
    "no such tensor": (
        {"outputs": [{"type": "classification", "name": "logit"}]},
        "request",
        "did you mean logits",
    ),
    "no labels": ({"labels": "/nowhere/labels.json"}, "asset", "labels.json"),
    "a misspelled setting": ({"settings": {"treads": 1}}, "request", "did you mean threads"),
    "an unknown field": ({"surprise": 1}, "request", "surprise"),
    "no model": ({"model": {}}, "request", "the model to open cannot be read"),
}


@pytest.mark.parametrize("case", WRONG_MODELS)
def test_what_a_manifest_gets_wrong_is_found_at_open(
    shared_worker: Process, make_job: MakeJob, case: str
) -> None:
    changes, kind, words = WRONG_MODELS[case]
    failed = ask(shared_worker, "open", handle=case, model=target(make_job, **changes))
    assert (failed["said"], failed["kind"]) == ("failed", kind)
    assert words in failed["text"]
    assert ask(shared_worker, "predict", handle=case, items=[], top_k=1)["kind"] == "request"


WRONG_QUERIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "bytes that are no image": (
        {"items": [{"name": "x.png", "data": b"\x00\xff"}]},
        "input",
        "2 by",
    ),
    "half an image": ({"items": [{"name": "x.png", "data": b"\x89PNG"}]}, "input", "PNG file, 4"),
    "a missing file": ({"items": [{"name": "x.png", "path": "/no/x"}]}, "input", "missing file"),
    "no items": ({"items": []}, "request", "at least one"),
    "no item": ({"items": [{"file": "x"}]}, "request", "inputs cannot be read"),
    "no class": ({"top_k": 0}, "request", "top_k is 0"),
    "no number of classes": ({"top_k": None}, "request", "top_k is None"),
    "no handle": ({"handle": "z"}, "request", "open it first"),
}


def test_a_wrong_query_leaves_the_model_open(
    fresh_worker: Process, make_job: MakeJob, efficientnet: EfficientNet
) -> None:
    ask(fresh_worker, "open", handle="a", model=target(make_job))
    right = {"items": [{"name": "c", "path": str(efficientnet.coffee)}], "top_k": 1, "handle": "a"}
    for case, (changes, kind, words) in WRONG_QUERIES.items():
        failed = ask(fresh_worker, "predict", **(right | changes))
        assert (failed["said"], failed["kind"]) == ("failed", kind), case
        assert words in failed["text"], case
        assert best(ask(fresh_worker, "predict", **right)) == [967], case


def test_a_handle_is_given_once(shared_worker: Process, make_job: MakeJob) -> None:
    ask(shared_worker, "open", handle="twice", model=target(make_job))
    failed = ask(shared_worker, "open", handle="twice", model=target(make_job))
    assert "open already" in failed["text"]
    ask(shared_worker, "close", handle="twice")
