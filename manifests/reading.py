"""YAML text <-> plain data in which every scalar is text, and the line of every field.

Text is untrusted: size, depth, aliases and repeated keys are checked before anything is built.
(Home of pyyaml.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from bus.errors import ManifestError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 20_000
"""Values in one manifest, aliases followed: what stands between us and a billion laughs."""

Path = tuple[str | int, ...]
# libyaml's parser reads a megabyte in a fraction of a second, the one in Python in many.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where."""

    line: int
    field: str
    text: str

    def show(self, source: str) -> str:
        """As people read it."""
        where = f"{source}:{self.line}: " if self.line else f"{source}: "
        return where + (f"{self.field}: {self.text}" if self.field else self.text)


@dataclass(slots=True)
class Document:
    """A manifest as plain data, the line of each field, and the faults met on the way."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def line(self, path: Path) -> int:
        """The line of a field, or of what it would stand in."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


@dataclass(frozen=True, slots=True)
class At:
    """One value of a document and where it stands: what rules are written with.

    Scalars may still be text, as YAML gave them; whatever is of another type than asked for is
    empty here, for the types say so already.
    """

    document: Document
    path: Path = ()
    value: Any = None

    def __getitem__(self, name: str) -> At:
        """A member of a mapping; its value is None where there is none."""
        inside = self.value.get(name) if isinstance(self.value, dict) else None
        return At(self.document, (*self.path, name), inside)

    def each(self) -> Iterator[At]:
        """The items of a list."""
        for index, item in enumerate(self.value if isinstance(self.value, list) else ()):
            yield At(self.document, (*self.path, index), item)

    def members(self) -> Iterator[tuple[str, At]]:
        """The members of a mapping, by name."""
        for name in self.value if isinstance(self.value, dict) else ():
            yield str(name), self[name]

    @property
    def text(self) -> str:
        """The value, if it is text."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def number(self) -> float | None:
        """The value, if it is a finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            return None
        try:
            number = float(self.value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None

    def fault(self, text: str) -> Fault:
        """Something that is wrong here."""
        return Fault(self.document.line(self.path), field_name(self.path), text)


def parse(text: str, source: str) -> Document:
    """The text as a document; ManifestError where it cannot be read at all."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise _unreadable(source, 0, f"{size} bytes: expected a manifest of at most {MAX_BYTES}")
    try:
        _check_depth(text, source)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        problem = " ".join(str(part) for part in (exc.context, exc.problem) if part)
        raise _unreadable(source, mark.line + 1 if mark else 0, f"not YAML: {problem}") from exc
    except yaml.YAMLError as exc:
        raise _unreadable(source, 0, f"not YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(root, yaml.MappingNode):
        raise _unreadable(source, 1, "expected a mapping with name, version, framework and model")
    document = Document()
    document.data = _plain(root, (), document, source)
    return document


def write(data: dict[str, Any]) -> str:
    """Plain data as YAML, its fields in the order that they have."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def field_name(path: Path) -> str:
    """A path as people write it: inputs[0].parameters.mean."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _unreadable(source: str, line: int, text: str) -> ManifestError:
    return ManifestError(source, [Fault(line, "", text).show(source)])


def _check_depth(text: str, source: str) -> None:
    """Refuse deep nesting before the composer, which is recursive, meets it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise _unreadable(source, line, f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(node: yaml.Node, path: Path, document: Document, source: str) -> Any:
    document.nodes += 1
    if document.nodes > MAX_NODES or len(path) > MAX_DEPTH:
        line = node.start_mark.line + 1
        raise _unreadable(
            source, line, f"more than {MAX_NODES} values once its aliases (*name) are followed"
        )
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return dict(_members(node, path, document, source))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(n, (*path, i), document, source) for i, n in enumerate(node.value)]
    return node.value


def _members(
    node: yaml.MappingNode, path: Path, document: Document, source: str
) -> Iterator[tuple[str, Any]]:
    """The fields of a mapping; one that is empty in YAML's sense counts as not given."""
    first: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            document.faults.append(Fault(line, field_name(path), "expected a plain text key"))
            continue
        name, here = key.value, (*path, key.value)
        if name in first:
            text = f"written twice, first on line {first[name]}: expected it once"
            document.faults.append(Fault(line, field_name(here), text))
            continue
        first[name] = line
        document.lines[here] = line
        if isinstance(value, yaml.ScalarNode) and not value.style and value.value in _NULLS:
            continue
        yield name, _plain(value, here, document, source)
