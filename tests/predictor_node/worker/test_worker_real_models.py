"""The shipped models of every modality in a real worker, beside what their makers say of them."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from magika import Magika

from manifests.catalog import Catalog, shipped
from predictor_node.assets import Assets
from predictor_node.model_files import described, fetch_model
from predictor_node.process import plugins

if TYPE_CHECKING:
    from conftest import Process

Predict = Callable[..., Any]


@pytest.fixture
def predict(shared_worker: Process, wheels: Path, tmp_path: Path) -> Predict:
    """The predictions of a shipped model for its samples, or for other files."""
    assets = Assets(wheels / "assets", None)  # type: ignore[arg-type]  # nothing is on a bus

    async def run(
        name: str, files: list[Path] | None = None, framework: str = "onnxruntime"
    ) -> list[dict[str, Any]]:
        (manifest,) = Catalog(shipped()).candidates(name, lambda known: known == framework)
        if files is None:
            files = [await assets.fetch(one.url, one.checksum) for one in manifest.samples]
        with assets.in_use() as held:
            found = await fetch_model(manifest, held, held.fetch, held.unpacked)
        run = {"index": 0, "batch_size": 1, "queries": 1, "warmup": 0, "level": "none"}
        said = shared_worker.run(
            {
                **{"job_id": "job", "framework": framework, "settings": {"threads": 1}},
                "plugin": plugins()[framework],
                **described(manifest, found),
                "items": [{"name": path.name, "path": str(path)} for path in files],
                "runs": [run],
                "folder": str(tmp_path),
            }
        )
        assert not said.all("failed"), said.one("failed")["text"]
        return said.one("predictions")["predictions"]

    return run


def values(tensor: dict[str, Any]) -> np.ndarray:
    if "file" in tensor:
        return np.load(tensor["file"])
    return np.frombuffer(tensor["data"], tensor["dtype"]).reshape(tensor["shape"])


async def test_magika_tells_files_apart(predict: Predict, tmp_path: Path) -> None:
    python, picture = await predict("Magika")
    assert (python["classes"][0]["label"], picture["classes"][0]["label"]) == ("python", "png")
    files = {"page.html": b"<html><body><p>Hello</p></body></html>\n" * 20, "a.c": C_SOURCE}
    paths = []
    for name, content in files.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    theirs = [Magika().identify_path(path) for path in paths]
    for ours, result in zip(await predict("Magika", paths), theirs, strict=True):
        assert ours["classes"][0]["label"] == str(result.dl.label)
        assert ours["classes"][0]["probability"] == pytest.approx(result.score, abs=1e-4)


C_SOURCE = b"""#include <stdio.h>

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) printf("%s\\n", argv[i]);
    return 0;
}
"""


async def test_sentences_that_mean_the_same_lie_near(predict: Predict) -> None:
    guitar, music, bank = (values(one["tensors"][0]) for one in await predict("all-MiniLM-L6-v2"))
    assert guitar.shape == (384,)
    assert np.linalg.norm(guitar) == pytest.approx(1, abs=1e-5)
    assert guitar @ music >= 0.6
    assert max(guitar @ bank, music @ bank) <= 0.2


async def test_silero_hears_speech_where_its_own_rule_does(predict: Predict, wheels: Path) -> None:
    assets = Assets(wheels / "assets", None)  # type: ignore[arg-type]  # nothing is on a bus
    manifest = Catalog(shipped()).resolve("Silero-VAD")
    sample = await assets.fetch(manifest.samples[0].url)
    graph = await assets.fetch(manifest.model.graph_path)
    (found,) = await predict("Silero-VAD")
    # As OnnxWrapper in silero_vad/utils_vad.py does: 64 samples of context, then 512, and a state.
    with wave.open(str(sample)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
    session = onnxruntime.InferenceSession(graph.read_bytes())
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
    speech = []
    for first in range(0, len(samples), 512):
        chunk = np.zeros(512, np.float32)
        chunk[: len(samples[first : first + 512])] = samples[first : first + 512]
        window = np.concatenate([context, chunk])[np.newaxis]
        rate = np.array(16000, np.int64)
        (score,), state = session.run(None, {"input": window, "state": state, "sr": rate})
        speech.append(float(score[0]))
        context = chunk[-64:]
    heard = np.zeros(len(speech), bool)
    for one in found["intervals"]:
        first, last = round(one["start_s"] / 0.032), round(one["end_s"] / 0.032 + 0.49)
        heard[first:last] = True
        assert one["probability"] == pytest.approx(np.mean(speech[first:last]), abs=1e-4)
    np.testing.assert_array_equal(heard, np.array(speech) >= 0.5)
    # The package's own table of who speaks when begins at 6.69 s.
    assert found["intervals"][0]["start_s"] == pytest.approx(6.69, abs=0.2)


async def test_silence_is_no_speech(predict: Predict, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 100, 32000).astype("<i2")
    with wave.open(str(tmp_path / "noise.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(noise.tobytes())
    (found,) = await predict("Silero-VAD", [tmp_path / "noise.wav"])
    assert found["intervals"] == []


async def test_basic_pitch_hears_the_chord(predict: Predict) -> None:
    (found,) = await predict("Basic-Pitch")
    notes = values(found["tensors"][0])
    # 3,840 samples of lead-in and two seconds at 22,050 Hz are two windows of 43,844.
    assert notes.shape == (2, 172, 88)
    sounding = notes[0, 25:60].mean(axis=0)
    # C4, E4 and G4 are MIDI 60, 64 and 67; the first key, A0, is 21.
    assert set(np.argsort(sounding)[-3:] + 21) == {60, 64, 67}


async def test_basic_pitch_takes_and_gives_tensors(
    predict: Predict, wheels: Path, tmp_path: Path
) -> None:
    (chord,) = await predict("Basic-Pitch-Tensors")
    notes = values(chord["tensors"][0])
    assert set(np.argsort(notes[20:50].mean(axis=0))[-3:] + 21) == {60, 64, 67}
    # Two windows of somebody's own, in one array, beside ONNX Runtime called directly.
    windows = np.random.default_rng(3).normal(0, 0.1, (2, 43844, 1)).astype(np.float32)
    np.save(tmp_path / "own.npy", windows)
    (found,) = await predict("Basic-Pitch-Tensors", [tmp_path / "own.npy"])
    assets = Assets(wheels / "assets", None)  # type: ignore[arg-type]  # nothing is on a bus
    manifest = Catalog(shipped()).resolve("Basic-Pitch-Tensors")
    graph = await assets.fetch(manifest.model.graph_path)
    session = onnxruntime.InferenceSession(graph.read_bytes())
    names = [output.name for output in manifest.outputs]
    for tensor, expected in zip(
        found["tensors"], session.run(names, {session.get_inputs()[0].name: windows}), strict=True
    ):
        np.testing.assert_allclose(values(tensor), expected, atol=1e-5)


async def test_basic_pitch_is_the_same_in_every_form(predict: Predict) -> None:
    expected = values((await predict("Basic-Pitch"))[0]["tensors"][0])
    for name in ("Basic-Pitch", "Basic-Pitch-SavedModel"):
        (found,) = await predict(name, framework="tensorflow")
        np.testing.assert_allclose(values(found["tensors"][0]), expected, atol=1e-4)
