"""A first token where there is none: as a container starts the web."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bus.errors import InputError
from web.access import read_tokens
from web.first_token import make_first_token


def test_it_is_made_once_and_lets_in(tmp_path: Path) -> None:
    path = tmp_path / "below" / "tokens"
    token = make_first_token(path)
    (visitor,) = read_tokens(path).values()
    assert len(token) == 40 and (visitor.name, visitor.role) == ("admin", "administer")
    assert make_first_token(path) == "" and token in path.read_text()
    with pytest.raises(InputError, match="tokens .*tokens/x"):
        make_first_token(path / "x")


def test_the_web_makes_it_and_asks_for_it(bus_url: str, bus: object, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    command = [sys.executable, "-m", "mlmodelscope", "web", "--bus", bus_url, "--make-token"]
    nowhere = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert nowhere.returncode == 2 and "expected --tokens FILE" in nowhere.stderr
    command += ["--port", "0", "--tokens", str(tokens)]
    web = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert web.stdout is not None
        said, at = web.stdout.readline(), web.stdout.readline()
        token = said.split()[-1]
        assert token in tokens.read_text()
        url = f"{at.split()[-1]}/api/v1/models"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}x"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == 401
        refused.value.close()
    finally:
        web.send_signal(signal.SIGINT)
        web.communicate(timeout=20)
