"""The command about the lists of libraries' models: which there are, how old, and new ones."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from typing import Any, Literal

from mlmodelscope.exits import FAILED, OK, guarded


def zoo(*, refresh: bool = False, output: Literal["table", "json", "csv"] = "table") -> int:
    """Show the lists of libraries' models (torchvision, timm, Keras, ONNX); needs no system.

    For example:

        mlmodelscope zoo

        mlmodelscope zoo --refresh

    Parameters
    ----------
    refresh
        Ask the libraries that are installed in this Python for new lists, first. They are kept in
        the data folder (MLMS_HOME), and win over the shipped ones wherever a coordinator on that
        folder starts. It takes minutes, for networks are built to be counted; nothing is
        downloaded.
    """

    def look() -> int:
        from manifests.zoo import Zoo, zoo_folder
        from mlmodelscope.places import home_folder
        from mlmodelscope.tables import Column, print_rows

        folder = zoo_folder(home_folder(os.environ))
        code = OK
        if refresh:
            # A process of its own: it imports every library, and one of them may crash it.
            command = [sys.executable, "-m", "manifests.zoo.refresh", str(folder)]
            code = OK if subprocess.run(command, stdout=sys.stderr).returncode == 0 else FAILED
        rows: list[dict[str, Any]] = [
            {
                "library": library,
                "version": listed.zoo.version,
                "made": listed.zoo.made,
                "models": len(listed.zoo.rows),
                "trained_weights": sum(len(row.weights) for row in listed.zoo.rows),
                "list": listed.origin,
                "installed": _installed(library),
            }
            for library, listed in Zoo(folder).lists.items()
        ]
        columns = [Column(name) for name in ("library", "version", "made")]
        columns += [
            Column("models", right=True),
            Column("trained weights", "trained_weights", right=True),
            Column("list"),
            Column("installed here", "installed"),
        ]
        print_rows(output, rows, columns)
        return code

    return guarded(look)


def _installed(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
