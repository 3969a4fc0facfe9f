"""A manifest's own Python: `run(context, data)`, only where the node allows it.

Its names are the manifest's fields, and every error says which field and which of its lines.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import WorkerError

FIELDS = (
    "before_preprocess",
    "preprocess",
    "after_preprocess",
    "before_postprocess",
    "postprocess",
    "after_postprocess",
)
Run = Callable[["Context", Any], Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What a manifest's code is told beside its data.

    model: the manifest's name; item: the name of the input at hand; input: the manifest's input
    that is being made (empty in postprocessing); outputs: the manifest's; labels: by index.
    """

    model: str
    item: str
    input: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Mapping[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


class Code:
    """The functions of one manifest by their fields; a field without code has none."""

    def __init__(self, sources: Mapping[str, Any], allowed: bool) -> None:
        given = {name: source for name in FIELDS if (source := sources.get(name))}
        for name in sources:
            if name not in FIELDS:
                raise WorkerError("request", f"code of {name!r}: expected {', '.join(FIELDS)}")
        if given and not allowed:
            text = f"the manifest's {', '.join(given)} is code, which this node does not run"
            raise WorkerError(
                "request", f"{text}; start the node with --allow-code if you trust it"
            )
        self._functions = {name: _function(name, _text(name, given[name])) for name in given}

    def __bool__(self) -> bool:
        return bool(self._functions)

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def run(self, name: str, context: Context, data: Any) -> Any:
        """What the field's code makes of the data; the data itself where there is no code."""
        if name not in self._functions:
            return data
        try:
            return self._functions[name](context, data)
        except Exception as error:
            raise _fault(name, error, f"{context.item}: ") from error


def _text(name: str, source: Any) -> str:
    """A field is a text, or a list of lines."""
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "\n".join(source)
    if not isinstance(source, str):
        text = f"the manifest's {name} is {type(source).__name__}; Python as a text is expected"
        raise WorkerError("request", text)
    return source


def _function(name: str, source: str) -> Run:
    space: dict[str, Any] = {"__name__": name}
    try:
        exec(compile(source, _file(name), "exec"), space)  # allowed: looked at by the caller
    except Exception as error:
        raise _fault(name, error) from error
    run = space.get("run")
    if not callable(run):
        text = f"the manifest's {name} defines no function run; `def run(context, data):` is"
        raise WorkerError("request", f"{text} expected")
    function: Run = run
    return function


def _file(name: str) -> str:
    """The file name by which a traceback knows a field's lines."""
    return f"<manifest {name}>"


def _fault(name: str, error: Exception, about: str = "") -> WorkerError:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == _file(name)
    ]
    if isinstance(error, SyntaxError) and error.filename == _file(name):
        lines = [error.lineno]
    where = f", line {lines[-1]}" if lines else ""
    text = f"{about}the manifest's {name}{where}: {type(error).__name__}: {error}"
    return WorkerError("request", f"{text}; mend it in the manifest")
