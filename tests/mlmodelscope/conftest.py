"""A running embedded system for the session, which the commands of the tests join."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlmodelscope import embedded

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with embedded.joined(folder):
        yield folder


@pytest.fixture
def mlms(home: Path, tmp_path: Path) -> Command:
    """`mlmodelscope …` as a person types it, in an empty folder."""

    def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLMS_")}
        return subprocess.run(
            [sys.executable, "-m", "mlmodelscope", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env=environment | {"MLMS_HOME": str(home), "COLUMNS": "120"} | env,
        )

    return run
