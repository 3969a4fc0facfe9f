"""The perceptron in C: what numpy computes, and no byte out of place whatever it is sent."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from sklearn.datasets import load_digits

from predictor_node.worker import frameworks
from predictor_node.worker.errors import WorkerError

EXAMPLE = Path(__file__).parents[2] / "examples" / "c-framework"
WEIGHTS = EXAMPLE / "digits.mlp"
TRAINED = 1200
MUTATIONS = 3000


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`make TARGET` in a copy of the example; warnings are errors in its Makefile."""
    for name in ("cc", "make"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path_factory.mktemp("c") / "c-framework"
    shutil.copytree(EXAMPLE, folder)

    def make(target: str) -> Path:
        done = subprocess.run(["make", target], cwd=folder, capture_output=True, text=True)
        if "cannot find" in done.stderr and "san" in done.stderr:
            pytest.skip("the compiler has no sanitizers")
        assert done.returncode == 0, done.stderr
        return folder / target

    return make


def layers_of(data: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The weights file as numpy sees it, from the description at the top of mlp.c."""
    assert data[:4] == b"MLP1"
    (rank,) = struct.unpack_from("<I", data, 4)
    *row, count = struct.unpack_from(f"<{rank}II", data, 8)
    assert row == [1, 8, 8]
    at = 8 + 4 * (rank + 1)
    for _ in range(count):
        inputs, outputs = struct.unpack_from("<II", data, at)
        weights = np.frombuffer(data, "<f4", inputs * outputs, at + 8).reshape(inputs, outputs)
        biases = np.frombuffer(data, "<f4", outputs, at + 8 + weights.nbytes)
        at += 8 + weights.nbytes + biases.nbytes
        yield weights, biases
    assert at == len(data)


def expected(rows: np.ndarray) -> np.ndarray:
    *hidden, last = layers_of(WEIGHTS.read_bytes())
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    for weights, biases in hidden:
        rows = np.maximum(rows @ weights + biases, 0)
    rows = np.exp(rows @ last[0] + last[1])
    return rows / rows.sum(1, keepdims=True)


def test_it_computes_what_numpy_computes(build: Any) -> None:
    mlp = frameworks.load("mlp", str(build("mlp")))
    assert mlp.describe() == {"version": "1.0.0", "devices": ["cpu"], "providers": []}
    digits = load_digits()
    unseen = digits.images[TRAINED:, None].astype(np.float32) / 16
    handle = mlp.open(frameworks.Spec(files={"graph": str(WEIGHTS)}, settings={"threads": 1}))
    assert handle.inputs == [{"name": "input", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert handle.outputs == [{"name": "probabilities", "dtype": "float32", "shape": ["batch", 10]}]
    (all_at_once,) = mlp.predict(handle, {"input": unseen})
    (one,) = mlp.predict(handle, {"input": unseen[:1]})
    mlp.close(handle)
    np.testing.assert_allclose(all_at_once, expected(unseen), atol=1e-5)
    np.testing.assert_array_equal(one, all_at_once[:1])
    # A network of 32 hidden units gets more than nine in ten of these digits right.
    assert (all_at_once.argmax(1) == digits.target[TRAINED:]).mean() > 0.9


HEAD = 4 + 4 + 12 + 4
WHOLE = WEIGHTS.read_bytes()
DAMAGED = {
    "empty": b"",
    "another format": b"MLP2" + WHOLE[4:],
    "cut short": WHOLE[:-1],
    "a byte too many": WHOLE + b"\0",
    "no head": WHOLE[:10],
    "a rank of nine": WHOLE[:4] + struct.pack("<I", 9) + WHOLE[8:],
    "no layers": WHOLE[: HEAD - 4] + struct.pack("<I", 0) + WHOLE[HEAD:],
    "a billion layers": WHOLE[: HEAD - 4] + struct.pack("<I", 10**9) + WHOLE[HEAD:],
    "an endless layer": WHOLE[: HEAD + 4] + b"\xff\xff\xff\xff" + WHOLE[HEAD + 8 :],
    "layers that do not meet": WHOLE[:HEAD] + struct.pack("<I", 63) + WHOLE[HEAD + 4 :],
}


def test_damaged_weights_are_refused(build: Any, tmp_path: Path) -> None:
    mlp = frameworks.load("mlp", str(build("mlp-checked")))
    for case, data in DAMAGED.items():
        path = tmp_path / "damaged.mlp"
        path.write_bytes(data)
        with pytest.raises(WorkerError, match="damaged, or not of the format MLP1") as caught:
            mlp.open(frameworks.Spec(files={"graph": str(path)}))
        assert caught.value.kind == "asset", case


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"device": "gpu"}, "there is no device but cpu"),
        ({"settings": {"threads": 2}}, "the only setting is threads, which is 1"),
        ({"settings": {"treads": 1}}, "the only setting is threads"),
        ({"files": {}}, "open names no file"),
        ({"files": {"graph": "x" * 5000}}, "too long"),
        ({"files": {"graph": "/nowhere"}}, "cannot be opened"),
    ],
)
def test_what_it_cannot_do_is_said(build: Any, spec: dict[str, Any], words: str) -> None:
    mlp = frameworks.load("mlp", str(build("mlp-checked")))
    with pytest.raises(WorkerError, match=words):
        mlp.open(frameworks.Spec(**{"files": {"graph": str(WEIGHTS)}, **spec}))


def framed(message: Any) -> bytes:
    body = message if isinstance(message, bytes) else msgpack.packb(message)
    return len(body).to_bytes(4, "big") + body


def frames_in(data: bytes) -> Iterator[dict[str, Any]]:
    while data:
        size = int.from_bytes(data[:4], "big")
        yield msgpack.unpackb(data[4 : 4 + size])
        data = data[4 + size :]


def obeyed(program: Path, sent: bytes) -> tuple[int, list[dict[str, Any]]]:
    """The program's exit code and answers; a sanitizer that had something to say fails the test."""
    done = subprocess.run([program], input=sent, capture_output=True, timeout=60)
    assert b"Sanitizer" not in done.stderr and b"runtime error" not in done.stderr, done.stderr
    return done.returncode, list(frames_in(done.stdout))


OPEN = {"do": "open", "files": {"graph": str(WEIGHTS)}, "device": "cpu", "settings": {}}
TENSOR = {"dtype": "float32", "shape": [1, 64], "data": np.zeros(64, np.float32).tobytes()}
PREDICT = {"do": "predict", "inputs": {"input": TENSOR}}
STRANGE: dict[str, Any] = {
    "nothing": {},
    "a list": [],
    "a number": 7,
    "text": "open",
    "an extension": b"\xc7\x01\x05\x00",
    "a map that ends early": b"\x82\xa2do",
    "text that ends early": b"\x81\xa2do\xdb\xff\xff\xff\xff",
    "deep nesting": b"\x81\xa1a" + b"\x91" * 5000 + b"\xc0",
    "an endless array": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "a key that is no text": {1: 2},
    "an unknown command": {"do": "dance"},
    "no tensor": {"do": "predict"},
    "another tensor": {"do": "predict", "inputs": {"x": TENSOR}},
    "another dtype": {"do": "predict", "inputs": {"input": {**TENSOR, "dtype": "int8"}}},
    "half a row": {"do": "predict", "inputs": {"input": {**TENSOR, "data": b"\0" * 128}}},
    "no rows": {"do": "predict", "inputs": {"input": {**TENSOR, "data": b""}}},
    "data that is text": {"do": "predict", "inputs": {"input": {**TENSOR, "data": "0" * 256}}},
}


def test_every_strange_frame_is_answered(build: Any) -> None:
    sent = [OPEN, *STRANGE.values(), PREDICT]
    code, answers = obeyed(build("mlp-checked"), b"".join(map(framed, sent)))
    assert code == 0
    assert [answer["said"] for answer in answers] == [
        "opened",
        *["failed"] * len(STRANGE),
        "predicted",
    ]


def test_damaged_bytes_do_no_harm(build: Any) -> None:
    """Valid frames with some bytes changed: each is answered, and the last one as if alone."""
    chance, mutated = random.Random(11), []
    for _ in range(MUTATIONS):
        body = bytearray(msgpack.packb(chance.choice([OPEN, PREDICT])))
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        mutated.append(framed(bytes(body[: chance.choice([None, chance.randint(1, len(body))])])))
    sent = b"".join([*mutated, framed(OPEN), framed(PREDICT)])
    code, answers = obeyed(build("mlp-checked"), sent)
    assert code == 0
    assert len(answers) == MUTATIONS + 2
    assert answers[-1]["outputs"][0]["shape"] == [1, 10]


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\x10\0\0\1", b"\xff\xff\xff\xff", b"GET "])
def test_bytes_that_are_no_frame_end_it(build: Any, header: bytes) -> None:
    assert obeyed(build("mlp-checked"), framed({"do": "close"}) + header + b"123")[0] == 2


def test_half_a_frame_is_an_end(build: Any) -> None:
    assert obeyed(build("mlp-checked"), framed(PREDICT)[:40]) == (0, [])
