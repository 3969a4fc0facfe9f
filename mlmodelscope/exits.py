"""How a command ends: one message on stderr, and an exit code that means something."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from bus.errors import (
    InputError,
    ManifestError,
    MLModelScopeError,
    NotStoredError,
    RefusedError,
    UnknownNameError,
)

OK, FAILED, USAGE, NOTHING_FITS, INTERRUPTED = 0, 1, 2, 3, 130
WORSE, NOT_COMPARABLE = 4, 5
"""Of a comparison: something is surely slower or less often right; no verdict may be drawn."""
USAGE_KINDS = (
    "bad_request",
    "unknown_model",
    "unknown_dataset",
    "unknown_framework",
    "not_runnable",
    "changed",
)


def guarded(command: Callable[[], int]) -> int:
    """Run a command; an error becomes one message on stderr and an exit code."""
    try:
        return command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK  # whoever read us has seen enough
    except MLModelScopeError as exc:
        from mlmodelscope.tables import print_error

        print_error(exc)
        return exit_code(exc)


def exit_code(exc: MLModelScopeError) -> int:
    """Which exit code an error has."""
    if isinstance(exc, RefusedError):
        return USAGE if exc.kind in USAGE_KINDS else NOTHING_FITS
    usage = (InputError, ManifestError, NotStoredError, UnknownNameError)
    return USAGE if isinstance(exc, usage) else FAILED
