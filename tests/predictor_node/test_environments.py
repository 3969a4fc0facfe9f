"""Other Pythons on a node: what the settings say, what each can load, what a broken one costs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import onnxruntime
import pytest

from bus.errors import InputError
from bus.messages import LEVELS
from predictor_node.environments import look, read_environments
from predictor_node.process import Environment, Worker, WorkerDied

PLUGIN = '''\
"""A framework that is not there in the node's own Python."""

import doubling_library

from ..errors import WorkerError
from . import Spec


def open(spec: Spec) -> None:
    raise WorkerError("asset", "nothing to open")


def predict(handle, batch):
    return list(batch.values())


def close(handle) -> None:
    pass


def describe():
    return {"version": doubling_library.__version__, "devices": ["cpu"], "providers": []}
'''


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The Python of a virtual environment in which nothing is installed."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--symlinks", tmp_path / "bare"], check=True
    )
    return tmp_path / "bare" / "bin" / "python"


def packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


@pytest.fixture
def other(bare: Path) -> Path:
    """With what a worker needs, and a framework that brings its own plugin, by entry point."""
    ours = Path(sysconfig.get_path("purelib"))
    for name in ("numpy", "numpy.libs", "msgpack", "PIL", "pillow.libs"):
        (packages(bare) / name).symlink_to(ours / name)
    write(
        packages(bare),
        {
            "doubling_library.py": '__version__ = "7.1"\n',
            "doubling_plugin.py": PLUGIN,
            "doubling-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: doubling\n",
            "doubling-1.0.dist-info/entry_points.txt": "[mlmodelscope.frameworks]\n"
            "doubling = doubling_plugin\nlost = no_such_package.plugin\n",
        },
    )
    return bare


async def test_an_environment_brings_its_own_frameworks(other: Path, tmp_path: Path) -> None:
    write(tmp_path, {"typo.py": "import doubling_libary\n"})
    named = f"typo={tmp_path / 'typo.py'}"
    environments = read_environments(f"other={other}", named, allow_code=False)
    ours = environments["default"].plugins["onnxruntime"]
    for environment in environments.values():  # the rest takes seconds to import
        environment.plugins = {"onnxruntime": ours, "typo": environment.plugins["typo"]}
    seen = await look(environments, named)
    found = {(each.environment, each.name): each.version for each in seen.frameworks}
    assert found[("default", "onnxruntime")] == onnxruntime.__version__
    assert found[("other", "doubling")] == "7.1"
    assert ("default", "doubling") not in found and ("other", "onnxruntime") not in found
    assert environments["other"].plugins == {
        "doubling": str(packages(other) / "doubling_plugin.py"),
    }
    assert environments["default"].plugins["onnxruntime"] == ours
    # A library that is not installed is nothing to tell, unless somebody named the plugin.
    assert [what for what in seen.unavailable if what not in LEVELS] == ["framework typo"]
    for words in ("default: ", "other: ", "No module named 'doubling_libary'"):
        assert words in seen.unavailable["framework typo"]


async def test_a_broken_environment_costs_itself_only(other: Path, tmp_path: Path) -> None:
    naked = tmp_path / "naked"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", naked], check=True)
    pythons = f"gone={tmp_path}/gone/python, naked={naked}/bin/python, other={other}"
    environments = read_environments(pythons, "", allow_code=True)
    for environment in environments.values():
        environment.plugins, environment.profilers = {}, {}
    del environments["default"]
    seen = await look(environments)
    assert [(each.name, each.environment) for each in seen.frameworks] == [("doubling", "other")]
    assert list(environments) == ["other"] and environments["other"].allow_code
    assert set(seen.unavailable) == {"environment gone", "environment naked"}
    assert "gone/python cannot be started: No such file" in seen.unavailable["environment gone"]
    why = seen.unavailable["environment naked"]
    assert "numpy, msgpack, pillow" in why and "No module named 'numpy'" in why


async def test_our_python_path_leads_no_other_python(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"doubling_library.py": '__version__ = "ours"\n'})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    environment = Environment("other", str(other), plugins={})
    (framework,) = (await environment.describe())["frameworks"]
    assert framework["version"] == "7.1"


async def test_a_worker_that_cannot_be_started_says_which_python(tmp_path: Path) -> None:
    worker = Worker(Environment("gone", str(tmp_path / "python")))
    with pytest.raises(WorkerDied, match="environment gone needs a Python there"):
        await worker.start()
    assert not worker.alive
    await worker.stop()


async def test_a_worker_starts_again_after_its_end() -> None:
    worker = Worker(Environment(plugins={}))
    for _ in range(2):
        await worker.start()
        assert worker.alive
        worker.send({"do": "exit"})
        with pytest.raises(WorkerDied, match="ended with 0"):
            await worker.receive()
    await worker.stop()


WRONG = [
    ("old", "", "environment 'old': expected name=PATH"),
    ("a b=/python", "", "environment 'a b=/python': expected name=PATH"),
    ("default=/python", "", "the node's own Python: take another name"),
    ("old=/one,old=/two", "", "environment old is given twice: /one and /two"),
    ("", "mine", "plugin 'mine': expected name=PATH"),
    ("", "mine=/no/such/plugin.py", "plugin mine: there is no file /no/such/plugin.py"),
]


@pytest.mark.parametrize(("pythons", "files", "says"), WRONG, ids=lambda text: text[:30])
def test_settings_that_are_wrong(pythons: str, files: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_environments(pythons, files, allow_code=False)
    assert says in str(caught.value)


def test_a_virtual_environments_link_is_not_followed(bare: Path) -> None:
    found = read_environments(f"bare={bare}", "", allow_code=False)["bare"]
    assert found.python == str(bare) != str(bare.resolve())
