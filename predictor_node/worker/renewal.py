"""Begins the worker anew, in the same process and on the same pipe, before a job that needs it.

Some settings are taken once a process: TensorFlow's thread pools, oneDNN. The worker replaces its
own program and takes the job over, so that the node notices nothing but the time of an import. A
cancel that is on its way meanwhile may be lost: the node ends a worker that does not hear it.
"""

import os
import sys
import tempfile
from typing import Any, NoReturn

from .frames import LENGTH, pack, read_frames
from .job import Target, read_job, read_target
from .models import plugin_of, spec_of


def settings_spent(command: dict[str, Any]) -> str:
    """Why this process cannot take a model's settings any more; empty where it can."""
    try:
        match command:
            case {"do": "run", "job": dict(sent)}:
                target: Target = read_job(sent)
            case {"do": "open", "model": dict(sent)}:
                target = read_target(sent)
            case _:
                return ""
        spent = getattr(plugin_of(target), "spent", None)
        return str(spent(spec_of(target))) if spent is not None else ""
    except Exception as error:  # opening the model will say what is wrong with it, or goes well
        print(f"worker: whether settings are spent is not known: {error!r}", file=sys.stderr)
        return ""


def begin_anew(command: dict[str, Any], read_fd: int, write_fd: int) -> NoReturn:
    """This program again, with the command to begin with in a file that has no name."""
    with tempfile.TemporaryFile() as file:
        content = pack(command)
        file.write(LENGTH.pack(len(content)) + content)
        file.flush()
        for descriptor in (file.fileno(), read_fd, write_fd):
            os.set_inheritable(descriptor, True)
        old = ("--again=", "--connect=", "--read-fd=", "--write-fd=")
        arguments = [part for part in sys.orig_argv if not part.startswith(old)]
        ours = [f"--read-fd={read_fd}", f"--write-fd={write_fd}", f"--again={file.fileno()}"]
        os.execv(sys.executable, [*arguments, *ours])


def taken_over(descriptor: int) -> dict[str, Any]:
    """The command that the program before this one left."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return next(read_frames(file))
