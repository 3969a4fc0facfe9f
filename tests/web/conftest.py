"""`mlmodelscope web` as a person starts it, on the session's embedded system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.web_exceptions import NotAppKeyWarning

from mlmodelscope.client import Client
from web import app
from web.settings import Settings

SAMPLES = Path(__file__).parents[2] / "manifests" / "models" / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    """The pictures of digits and others that the package ships."""
    return SAMPLES


@contextmanager
def web_server(home: Path, *arguments: str) -> Iterator[str]:
    """The address of a web server that runs inside this block; it must end well on Ctrl-C."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLMS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlmodelscope", "web", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"MLMS_HOME": str(home)},
    )
    try:
        assert process.stdout and process.stderr
        first = process.stdout.readline()
        assert " is at http" in first, process.stderr.read()
        yield first.split()[-1]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def serve(home: Path) -> Serve:
    """`async with serve(tokens=…) as url`: a web server of our own, with these settings."""

    @asynccontextmanager
    async def serving(**settings: Any) -> AsyncIterator[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotAppKeyWarning)
            async with (
                Client.local(home, user="web") as client,
                app.serving(client, Settings(port=0, **settings)) as url,
            ):
                yield url

    return serving


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file of two who may run, `ann` and `bob`, and one who administers; NAME + 20 times x."""
    path = tmp_path / "tokens.txt"
    who = (("run", "ann"), ("run", "bob"), ("administer", "root"))
    path.write_text("".join(f"{role} {name} {name}{'x' * 20}\n" for role, name in who))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="session")
def web_url(home: Path) -> Iterator[str]:
    """A web server on loopback, where nobody logs in."""
    with web_server(home, "--user", "ann") as url:
        yield url


@pytest.fixture(scope="session")
def guarded_url(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that asks for a token: `look` + 20 times x, and so on for each role."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    roles = ("look", "run", "publish", "administer")
    tokens.write_text("".join(f"{role} {role}-er {role}{'x' * 20}\n" for role in roles))
    tokens.chmod(0o600)
    with web_server(home, "--tokens", str(tokens)) as url:
        yield url


@pytest.fixture
async def page(browser: Any) -> AsyncIterator[Any]:
    """A page of a browser; what it says on its console fails the test."""
    found = await browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    found.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    found.on("pageerror", lambda error: said.append(str(error)))
    yield found
    # A form that comes back with faults has the status 422, of which a browser makes a note.
    assert not [text for text in said if "status of 422" not in text]
