"""Writes the lists of the libraries that are installed in this Python.

Run as `python -m manifests.zoo.refresh FOLDER [LIBRARY …]`: one process, for it imports them all.
The lists inside the package are made so, too.
"""

from __future__ import annotations

import datetime
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from manifests.zoo.making import LIBRARIES
from manifests.zoo.rows import ZooList, write_list


def installed() -> list[str]:
    """The libraries that this Python has."""
    return [library for library in LIBRARIES if find_spec(library) is not None]


def refresh(library: str, folder: Path) -> ZooList:
    """Ask a library for its models, and write its list."""
    asked = import_module(f"manifests.zoo.libraries.{library}")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = ZooList(library=library, version=asked.version(), made=today, rows=asked.rows())
    write_list(found, folder / f"{library}.json")
    return found


def main(arguments: list[str]) -> int:
    """Each library that is named, or that is installed; the count of those that failed."""
    folder, failed = Path(arguments[0]), 0
    for library in arguments[1:] or installed():
        try:
            found = refresh(library, folder)
        except Exception as exc:
            print(f"{library}: not listed: {type(exc).__name__}: {exc}", file=sys.stderr)
            failed += 1
            continue
        print(f"{library} {found.version}: {len(found.rows)} models")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
