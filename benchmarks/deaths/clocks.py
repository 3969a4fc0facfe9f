"""A node's clock that jumps by an hour: libfaketime in that node's processes, nothing else's."""

from __future__ import annotations

from pathlib import Path

from benchmarks.deaths.parts import Place

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
SHIFT = "shift"


def why_not() -> str:
    """Why no clock can be made to jump here, or nothing."""
    return "" if LIBRARIES else "no libfaketime here (Debian's package libfaketime)"


def place(folder: Path) -> Place:
    """Where a node runs whose clock is shifted by what the file `shift` in `folder` says.

    The monotonic clock stays as it is, as it does when a machine's clock is set.
    """
    jump(folder, 0)
    return Place(
        env={
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(folder / SHIFT),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    )


def jump(folder: Path, seconds: int) -> None:
    """Set the node's clock to so many seconds from the machine's own, now."""
    new = folder / f"{SHIFT}.new"
    new.write_text(f"{seconds:+d}\n")
    new.rename(folder / SHIFT)  # whole at every moment: it is read at every look at the clock
