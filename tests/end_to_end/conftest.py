"""Every service as a process of its own, on the session's real servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Process:
    """One service, started by the command that a person would type."""

    def __init__(self, role: str, folder: Path, *arguments: str) -> None:
        self.role, self.log = role, folder / f"{role}-{time.monotonic_ns()}.log"
        env = os.environ | {"MLMS_HOME": str(folder), "MLMS_DATABASE": "end_to_end"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlmodelscope", role, *arguments],
                stdout=log,
                stderr=log,
                env=env,
            )
        self.pid = self._process.pid

    def status_url(self) -> str:
        found = re.search(r"status at (http://\S+)", self.log.read_text())
        return found.group(1) if found else ""

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.status_url() + path, timeout=5) as answer:
            return answer.read().decode()

    def wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            assert self._process.poll() is None, self.log.read_text()
            try:
                if self.status_url() and self.get("/readyz") == "ready\n":
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{self.role} is not ready: {self.log.read_text()}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        if self._process.poll() is None:
            self.thaw()
            self._process.terminate()
            try:
                return self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.role} ignores SIGTERM") from None
        return self._process.returncode


class Fleet:
    """Services on one bus and one database."""

    def __init__(self, bus_url: str, mongo_url: str, folder: Path) -> None:
        self.bus_url, self.mongo_url, self.folder = bus_url, mongo_url, folder
        self.processes: list[Process] = []

    def start(self, role: str, *arguments: str) -> Process:
        if role == "collector":
            arguments += ("--mongo", self.mongo_url)
        process = Process(role, self.folder, "--bus", self.bus_url, *arguments)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        codes = {process.role: process.stop() for process in reversed(self.processes)}
        assert set(codes.values()) <= {0, -signal.SIGKILL}, codes


@pytest.fixture
def make_fleet(mongo_url: str, tmp_path: Path) -> Iterator[Callable[[str], Fleet]]:
    """An empty fleet on the bus at a URL: start what the test needs."""
    from pymongo import MongoClient

    with MongoClient(mongo_url) as client:
        client.drop_database("end_to_end")
    made: list[Fleet] = []

    def make(url: str) -> Fleet:
        made.append(Fleet(url, mongo_url, tmp_path))
        return made[-1]

    yield make
    for fleet in made:
        fleet.stop()


@pytest.fixture
def fleet(bus_url: str, make_fleet: Callable[[str], Fleet]) -> Fleet:
    """An empty fleet on the session's bus."""
    return make_fleet(bus_url)


@pytest.fixture
def whole_fleet(fleet: Fleet) -> Fleet:
    """One of each, ready."""
    started = [fleet.start("collector"), fleet.start("coordinator")]
    started.append(fleet.start("node", "--id", "node-1"))
    for process in started:
        process.wait_until_ready()
    return fleet
