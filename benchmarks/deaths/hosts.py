"""Hosts on this machine: network namespaces on one bridge, whose cables can be pulled."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.deaths.parts import Place

NETWORKS = [f"10.231.{number}" for number in range(1, 255)]
"""Whose addresses the hosts get: of the first one that nobody has here."""


@dataclass(frozen=True)
class Host:
    """A namespace with one cable to the bridge."""

    name: str
    cable: str
    address: str

    @property
    def place(self) -> Place:
        """Where a service runs that runs there."""
        return Place(prefix=("ip", "netns", "exec", self.name), host=self.address)

    async def cut_off(self, for_s: float) -> None:
        """Pull the cable: nothing is refused and nothing arrives. Then plug it in again."""
        _ip("link", "set", self.cable, "down")
        await asyncio.sleep(for_s)
        _ip("link", "set", self.cable, "up")


@dataclass(frozen=True)
class Network:
    """A bridge, this machine's address on it, and the hosts."""

    address: str
    hosts: list[Host]


def why_not() -> str:
    """Why there can be no hosts here, or nothing."""
    if shutil.which("ip") is None:
        return "no `ip` here (Debian's package iproute2)"
    if os.geteuid() != 0:
        return "making network namespaces takes root"
    try:
        with network(1):
            return ""
    except subprocess.CalledProcessError as exc:
        return f"{' '.join(exc.cmd)}: {exc.stderr.strip()}"


@contextmanager
def network(count: int) -> Iterator[Network]:
    """A bridge with `count` hosts; gone after."""
    bridge, free = f"mlms{os.getpid() % 100_000}", _unused()
    hosts = [
        Host(f"{bridge}-{number}", f"{bridge}v{number}", f"{free}.{number + 1}")
        for number in range(1, count + 1)
    ]
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{free}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in hosts:
            _plug_in(host, bridge)
        yield Network(f"{free}.1", hosts)
    finally:
        for host in hosts:  # the cable first: a namespace is taken down later than it says
            subprocess.run(["ip", "link", "delete", host.cable], capture_output=True)
            subprocess.run(["ip", "netns", "delete", host.name], capture_output=True)
        subprocess.run(["ip", "link", "delete", bridge], capture_output=True)


def _plug_in(host: Host, bridge: str) -> None:
    _ip("netns", "add", host.name)
    _ip("link", "add", host.cable, "type", "veth", "peer", "eth0", "netns", host.name)
    _ip("link", "set", host.cable, "master", bridge, "up")
    _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
    _ip("-n", host.name, "link", "set", "lo", "up")
    _ip("-n", host.name, "link", "set", "eth0", "up")


def _unused() -> str:
    """A network that no interface is on: a run that was killed leaves its bridge behind."""
    taken = _ip("-o", "-4", "address", "show")
    return next(one for one in NETWORKS if f" {one}." not in taken)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout
