"""The Open Inference Protocol v2, by the client that Triton's users have."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # gevent's, on being imported
    triton = pytest.importorskip("tritonclient.http")


@pytest.fixture(scope="module")
def client(web_url: str) -> Iterator[Any]:
    found = triton.InferenceServerClient(web_url.removeprefix("http://"), network_timeout=90.0)
    yield found
    found.close()


def pictures(samples: Path) -> np.ndarray:
    data = [(samples / name).read_bytes() for name in ("seven.png", "zero.png")]
    return np.array(data, dtype=object)


def test_it_says_what_there_is(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("MNIST-CNN")
    assert "classification" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata("MNIST-CNN")
    assert about["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert about["outputs"][0]["name"] == "classes"
    with pytest.raises(triton.InferenceServerException, match="unknown model"):
        client.get_model_metadata("Nothing")


@pytest.mark.parametrize("binary", [True, False])
def test_a_batch_of_encoded_images(client: Any, binary: bool, samples: Path) -> None:
    given = triton.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(pictures(samples))
    wanted = triton.InferRequestedOutput("classes", binary_data=binary, class_count=3)
    answer = client.infer("MNIST-CNN", [given], outputs=[wanted], request_id="r1")
    classes = answer.as_numpy("classes")
    assert classes.shape == (2, 3)
    best = [
        bytes(row[0]) if binary else row[0].encode() if isinstance(row[0], str) else row[0]
        for row in classes
    ]
    assert [one.split(b":")[2] for one in best] == [b"7", b"0"]
    assert answer.get_response()["id"] == "r1"


def test_wrong_tensors_are_told_what_is_expected(client: Any) -> None:
    given = triton.InferInput("image", [1, 784], "FP32")
    given.set_data_from_numpy(np.zeros((1, 784), np.float32))
    with pytest.raises(triton.InferenceServerException, match="expected BYTES"):
        client.infer("MNIST-CNN", [given])
    given = triton.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([b"no picture"], dtype=object))
    with pytest.raises(triton.InferenceServerException, match="item-0"):
        client.infer("MNIST-CNN", [given])
