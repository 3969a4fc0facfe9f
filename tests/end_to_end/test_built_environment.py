"""A node that may, installs the version of a framework that a request names, and runs it there."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnxruntime
import pytest

from bus.connection import Bus
from mlmodelscope import embedded
from predictor_node.assets import Assets, Limits
from predictor_node.built_environments import Builder, NotBuilt, read_wishes
from predictor_node.process import Environment

pytestmark = pytest.mark.timeout(600)  # the first time, packages are fetched
MODEL = "EfficientNet-Lite0"
QUICK = ("--runs", "5", "--warmup", "1", "--threads", "1", "--output", "json")
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """`mlmodelscope …` on a system whose node may build environments; they are kept."""
    from platformdirs import user_cache_path

    home = tmp_path_factory.mktemp("building")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLMS_")}
    env |= {"MLMS_HOME": str(home), "MLMS_CACHE": str(user_cache_path("mlmodelscope-tests"))}
    env |= {"MLMS_BUILD_ENVIRONMENTS": "1", "MLMS_CONTAINERS": "never"}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlmodelscope", *map(str, words)]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)

    with embedded.joined(home, env):
        yield run


def test_a_version_that_nobody_has_is_installed(building: Command) -> None:
    done = building("evaluate", MODEL, *QUICK, "--framework", "onnxruntime@1.20.*")
    if "pip cannot install" in done.stderr:
        pytest.skip(f"no package index gives onnxruntime 1.20: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    old = json.loads(done.stdout)
    assert old["framework_version"].startswith("1.20.") and old["state"] == "finished"
    assert old["environment"] == "pip:onnxruntime>=1.17.0,>=1.20.0,<1.21.0"
    assert old["stack"]["packages"]["onnxruntime"] == old["framework_version"]
    assert "torch" not in old["stack"]["packages"]

    new = json.loads(building("evaluate", MODEL, *QUICK).stdout)
    assert new["environment"] == "default"
    assert new["framework_version"] == onnxruntime.__version__ != old["framework_version"]
    one, other = (result["predictions"][0]["classes"][0] for result in (old, new))
    assert one["label"] == other["label"] == "espresso"
    assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)

    shown = building("image", "diff", old["evaluation_id"], "last", "--output", "json")
    rows = json.loads(shown.stdout)["differences"]
    ours = [row for row in rows if (row["kind"], row["name"]) == ("package", "onnxruntime")]
    has = (old["framework_version"], new["framework_version"])
    assert [(row["a"], row["b"]) for row in ours] == [has]


def test_a_version_that_does_not_exist_fails_with_pips_own_words(building: Command) -> None:
    done = building("evaluate", MODEL, *QUICK, "--framework", "onnxruntime@1.99.*")
    words = " ".join(done.stderr.split())
    assert done.returncode == 1 and "failed (environment): pip cannot install" in words, words
    assert "onnxruntime>=1.17.0,>=1.99.0,<1.100.0" in words


def test_without_leave_the_node_does_not_fit(mlms: Command) -> None:
    done = mlms("evaluate", MODEL, *QUICK, "--framework", "onnxruntime@1.20.*")
    words = " ".join(done.stderr.split())
    assert done.returncode == 3 and "onnxruntime version: wanted" in words, words


@pytest.mark.parametrize(
    ("wishes", "found"),
    [
        ("onnxruntime==1.20.1", ("onnxruntime==1.20.1", "numpy", "msgpack", "pillow")),
        (
            "pytorch>=2.4,<3 torchvision>=0.20",
            ("torch>=2.4,<3", "safetensors", "torchvision>=0.20", "numpy", "msgpack", "pillow"),
        ),
        ("mxnet", ("mxnet", "numpy==1.23.5", "msgpack", "pillow")),
    ],
)
def test_what_pip_is_told(wishes: str, found: tuple[str, ...]) -> None:
    assert read_wishes(wishes) == found


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ("caffe==1.0", "how caffe is installed is not known, only: onnxruntime, pytorch"),
        (
            "onnxruntime --index-url=http://elsewhere",
            "'--index-url=http://elsewhere' is no package",
        ),
        ("onnxruntime git+https://elsewhere/x", "is no package with versions"),
        ("", "no framework is named"),
    ],
)
def test_what_pip_is_never_told(wishes: str, says: str) -> None:
    with pytest.raises(NotBuilt, match=says.replace("+", r"\+")):
        read_wishes(wishes)


async def test_an_environment_is_made_once_and_evicted(bus: Bus, tmp_path: Path) -> None:
    """Of what a worker itself needs, which is small: pip fetches it from its own cache."""
    from predictor_node import built_environments as built

    assets = Assets(tmp_path, bus, Limits(cache_bytes=1 << 30))
    own = Environment(plugins={"tiny": __file__}, profilers={})
    builder, told = Builder(own), list[str]()
    built.PACKAGES["tiny"] = ("msgpack",)
    try:

        def hear(text: str, done: int, total: int) -> None:
            told.append(text)

        with assets.in_use() as held:
            one, other = await asyncio.gather(
                *(builder.environment("tiny==1.1.0", held, hear) for _ in range(2))
            )
            assert one.python == other.python and one.stack.packages["msgpack"] == "1.1.0"
            assert len([text for text in told if "building an environment of" in text]) == 1
        small = Assets(tmp_path, bus, Limits(cache_bytes=1))
        assert (await small.evict()).entries == 1 and not Path(one.python).exists()
    except NotBuilt as exc:
        pytest.skip(f"no package index gives msgpack 1.1.0: {exc}")
    finally:
        del built.PACKAGES["tiny"]
