"""What a container may have and see, without an engine: settings, files, the smallest program."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from bus.errors import InputError
from predictor_node import capabilities
from predictor_node.container_files import files_of, stage, visible
from predictor_node.container_settings import Allowed, in_effect, limits_of, none_meant, without
from predictor_node.containers import ContainerError, Engine, _parted, smallest_program
from predictor_node.launching import Limits
from predictor_node.worker.software import LIBRARY, packages

GIB = 1 << 30
ALLOWED = Allowed(memory_bytes=2 * GIB, network=True)


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({}, Limits(memory_bytes=2 * GIB)),
        ({"threads": 1, "device": "gpu"}, Limits(memory_bytes=2 * GIB, gpu=True)),
        ({"container.memory": "512MiB"}, Limits(memory_bytes=GIB // 2)),
        ({"container.memory": 67108864, "container.cpus": "0.5"}, Limits(GIB // 16, 0.5)),
        ({"container.network": "on"}, Limits(2 * GIB, network=True)),
    ],
)
def test_limits(settings: dict[str, str | int], limits: Limits) -> None:
    assert limits_of(settings, ALLOWED) == limits


WRONG = [
    ({"container.memory": "a lot"}, "container.memory 'a lot': expected a size such as"),
    ({"container.memory": "1MiB"}, "expected 32 MiB to 2048 MiB"),
    ({"container.memory": "3GiB"}, "expected 32 MiB to 2048 MiB"),
    ({"container.cpus": "many"}, "container.cpus many: expected a number of CPUs up to"),
    ({"container.cpus": "0"}, "container.cpus 0: expected a number of CPUs up to"),
    ({"container.network": "yes"}, "container.network yes: expected on or off"),
    ({"container.disk": "1"}, "container.disk: a container has the settings container.memory, c"),
]


@pytest.mark.parametrize(("settings", "says"), WRONG)
def test_limits_that_are_wrong(settings: dict[str, str | int], says: str) -> None:
    with pytest.raises(InputError) as caught:
        limits_of(settings, ALLOWED)
    assert says in str(caught.value)


def test_limits_of_a_node_that_says_nothing() -> None:
    most = limits_of({}, Allowed()).memory_bytes
    assert most == int(0.8 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with pytest.raises(InputError, match="MLMS_CONTAINER_NETWORK=1 would"):
        limits_of({"container.network": "on"}, Allowed())
    assert in_effect(Limits(GIB)) == {
        "container.memory": GIB,
        "container.cpus": capabilities.cores(),
        "container.network": "off",
    }


def test_settings_of_a_container_and_of_none() -> None:
    asked: dict[str, str | int] = {"threads": 1, "container.cpus": 2}
    assert without(asked) == {"threads": 1}
    none_meant({"threads": 1}, "default")
    with pytest.raises(InputError, match="container.cpus: this job runs in environment default"):
        none_meant(asked, "default")


def test_what_a_job_must_see_and_nothing_else(tmp_path: Path) -> None:
    cache = tmp_path / "assets"
    for name in (
        "files/ab/abc",
        "files/cd/labels",
        "folders/ef/archive/inner/graph.pb",
        "folders/aa/saved/model.pb",
        "models/m1/graph.onnx",
        "inline/zz/another",
    ):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text(name)
    (cache / "models/m1/saved").symlink_to(cache / "folders/aa/saved")
    elsewhere = tmp_path / "photographs"
    elsewhere.mkdir()
    command = {
        "model": {
            "files": {
                "graph": str(cache / "models/m1/graph.onnx"),
                "weights": str(cache / "folders/ef/archive/inner/graph.pb"),
            }
        },
        "labels": str(cache / "files/cd/labels"),
        "inputs": [{"parameters": {"tokenizer": str(cache / "files/ab/abc")}}, {}],
        "dataset": {"files": {"images": str(elsewhere)}, "labels_file": ""},
    }
    places = ("files/ab/abc", "files/cd/labels", "folders/aa/saved", "folders/ef/archive")
    expected = [*(str(cache / place) for place in places), str(cache / "models/m1")]
    assert visible(files_of(command), cache) == (*expected, str(elsewhere))


def test_inputs_are_copied_into_the_jobs_folder(tmp_path: Path) -> None:
    given = tmp_path / "cat.png"
    given.write_bytes(b"cat")
    items = [{"name": "cat", "path": str(given)}, {"name": "dog", "data": b"dog"}]
    cat, dog = stage(items, tmp_path / "job")
    assert dog == items[1]
    assert Path(cat["path"]).read_bytes() == b"cat" and Path(cat["path"]).suffix == ".png"
    assert Path(cat["path"]).is_relative_to(tmp_path / "job")
    assert not Path(cat["path"]).samefile(given)  # what is written there is not written here


def test_the_smallest_program_ends_well(tmp_path: Path) -> None:
    if not (program := smallest_program(platform.machine())):
        pytest.skip(f"no smallest program is known for {platform.machine()}")
    path = tmp_path / "exit"
    path.write_bytes(program)
    path.chmod(0o755)
    assert len(program) < 140 and subprocess.run([path]).returncode == 0
    assert smallest_program("abacus") == b""


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("ort", "ort", "latest"),
        ("ort:1.31", "ort", "1.31"),
        ("localhost:5000/team/ort", "localhost:5000/team/ort", "latest"),
        ("localhost:5000/team/ort:1", "localhost:5000/team/ort", "1"),
        ("ort@sha256:ab", "ort", "sha256:ab"),
    ],
)
def test_names_of_images(name: str, repository: str, tag: str) -> None:
    assert _parted(name) == (repository, tag)


async def test_no_engine_is_said_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(ContainerError, match="no Docker engine answers at "):
        await Engine.found(tmp_path)


def test_packages_are_those_that_can_be_imported() -> None:
    found = packages()
    for name in ("numpy", "msgspec", "scikit-learn"):
        assert found[name] == metadata.version(name)
    assert len(found) > 20 and sys.version_info >= (3, 11)


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("libstdc++.so.6.0.30", "libstdc++", "6.0.30"),
        ("libgomp-a34b3233.so.1.0.0", "libgomp", "1.0.0"),
        ("libtorch_cpu.so", "libtorch_cpu", None),
        ("libonnxruntime.so.1.31.1", "libonnxruntime", "1.31.1"),
    ],
)
def test_names_of_libraries(file: str, name: str, version: str | None) -> None:
    match = LIBRARY.fullmatch(file)
    assert match is not None and (match["name"], match["version"]) == (name, version)
