"""A memory limit for a node's processes, by a control group: the kernel kills what exceeds it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
LIMITS = {V1: "memory.limit_in_bytes", V2: "memory.max"}
NAME = f"deaths-{os.getpid()}"


def why_not() -> str:
    """Why no process can be limited here, or nothing."""
    if os.geteuid() != 0:
        return "making control groups takes root"
    if (root := _root()) is None:
        return "no memory controller at /sys/fs/cgroup"
    try:
        (root / NAME).mkdir(exist_ok=True)
        there = (root / NAME / LIMITS[root]).exists()
        (root / NAME).rmdir()
    except OSError as exc:
        return f"no control group can be made: {exc}"
    return "" if there else f"{root} gives its groups no memory controller"


def limit(pid: int, more_bytes: int) -> None:
    """Put a process and its descendants into a group that may use so much more than they do now."""
    root = _root()
    assert root is not None
    group = root / NAME
    group.mkdir(exist_ok=True)
    family = [pid, *_descendants(pid)]
    for one in family:
        (group / "cgroup.procs").write_text(str(one))
    # What they use already is charged to the group that they were in when they took it.
    (group / LIMITS[root]).write_text(str(more_bytes))


def let_go() -> None:
    """Give the processes back to the group that all others are in."""
    root = _root()
    if root is None or not (root / NAME).exists():
        return
    for pid in (root / NAME / "cgroup.procs").read_text().split():
        try:
            (root / "cgroup.procs").write_text(pid)
        except ProcessLookupError:
            pass
    (root / NAME).rmdir()


def _root() -> Path | None:
    if (V1 / "cgroup.procs").exists():
        return V1
    controllers = V2 / "cgroup.subtree_control"
    return V2 if controllers.exists() and "memory" in controllers.read_text() else None


def _descendants(pid: int) -> Iterable[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from _descendants(child)
