"""Finds what in a .pt2 archive would run as code when PyTorch loads it, before it does.

torch.export.load trusts its file: pickles of sample inputs and of odd weights, compiled libraries,
and texts that become Python (the guards, the names of arguments, the sizes as formulas for sympy).
Tensors need none of these. Pickles are read by PyTorch's own restricted reader, which
TORCH_FORCE_WEIGHTS_ONLY_LOAD asks for; all others are looked at here.
"""

import ast
import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from ..errors import WorkerError

LIBRARIES = ("data/aotinductor/", "data/executorch/")
OBJECTS = ("custom_obj_", "opaque_obj_")
TEXTS = 20  # bytes of a value that an error shows
FUNCTIONS = {
    *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Abs", "Not"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "floor", "ceiling", "Piecewise"),
    *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt"),
    *("FloorToInt", "CeilDiv", "IntTrueDiv", "FloatTrueDiv", "LShift", "RShift", "TruncToFloat"),
    *("TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "FloatPow", "PowByNatural"),
    "Identity",
}
GUARDED = {"size", "stride", "storage_offset"}  # what a guard may ask of a tensor
ARITHMETIC = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.Load),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.keyword, ast.Subscript),
)


def check_archive(path: str) -> None:
    """Raise where an archive holds anything but tensors and a graph of operators."""
    found = False
    for name, content in _members(path):
        found = True
        if any(part in f"{name}/" for part in LIBRARIES) or name.endswith(
            (".so", ".dll", ".dylib")
        ):
            raise _refused(path, f"a compiled library ({name})")
        if name.startswith("models/") or name.endswith(".json"):
            try:
                _check(path, json.loads(content))
            except ValueError as error:
                raise _refused(path, f"{name}, which is not JSON") from error
    if not found:
        text = f"model file {os.path.basename(path)} is no exported program"
        raise WorkerError("asset", f"{text} (.pt2 from torch.export.save); fetch it again")


def _members(path: str) -> Iterator[tuple[str, bytes]]:
    """The texts of the archive, as PyTorch's reader and as Python's see them: they may differ."""
    import torch

    try:
        reader = torch._C.PyTorchFileReader(path)
        for name in reader.get_all_records():
            yield name, reader.get_record(name) if _is_text(name) else b""
    except RuntimeError:
        pass  # an older archive, or none
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename
                inside = name.partition("/")[2] or name
                yield inside, archive.read(info) if _is_text(inside) else b""


def _is_text(name: str) -> bool:
    return name.startswith("models/") or name.endswith(".json")


def _check(path: str, value: Any) -> None:
    if isinstance(value, list):
        for each in value:
            _check(path, each)
    elif isinstance(value, dict):
        for key, each in value.items():
            _check_field(path, key, each)
            _check(path, each)


def _check_field(path: str, key: str, value: Any) -> None:
    match key, value:
        case "expr_str", str():
            if not _is_arithmetic(value, {"True", "False", "oo", "int_oo"}):
                raise _refused(path, f"a size that is no formula ({value[:TEXTS]!r})")
        case "guards_code", list():
            for guard in value:
                if not _is_arithmetic(str(guard), {"L", "True", "False", "None"}):
                    raise _refused(path, f"a guard that is no comparison ({guard[:TEXTS]!r})")
        case "forward_arg_names", list():
            if not all(str(name).isidentifier() for name in value):
                raise _refused(path, "arguments whose names are no names")
        case "in_spec", str():
            for name in _keywords(json.loads(value)):
                if not name.isidentifier():
                    raise _refused(path, f"an argument that has no name ({name[:TEXTS]!r})")
        case "path_name", str():
            if value.startswith(OBJECTS):
                raise _refused(path, "a pickled object")
    if isinstance(value, str) and "defaultdict" in value and key in ("in_spec", "out_spec"):
        raise _refused(path, "a structure that names a function of Python's")


def _keywords(spec: Any) -> Iterator[str]:
    if isinstance(spec, list):
        for each in spec:
            yield from _keywords(each)
    elif isinstance(spec, dict):
        if "dict" in str(spec.get("type")).lower() and spec.get("context"):
            yield from map(str, json.loads(spec["context"]))
        yield from _keywords(spec.get("children_spec", []))


def _is_arithmetic(text: str, names: set[str]) -> bool:
    """Whether a text, read as Python, can do nothing but compute with sizes."""
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_harmless(node, names) for node in nodes)


def _is_harmless(node: ast.AST, names: set[str]) -> bool:
    match node:
        case ast.Name(id=name):
            symbol = name[0] in "suz" and name.lstrip("suzf").isdecimal()
            return symbol or name in FUNCTIONS or name in names
        case ast.Attribute(attr=attribute):
            return attribute in GUARDED
        case ast.Call(func=ast.Name(id=name)):
            return name in FUNCTIONS
        case ast.Call(func=ast.Attribute()):
            return True
        case ast.Constant(value=value):
            return isinstance(value, int | float | None) or str(value).isidentifier()
        case _:
            return isinstance(node, ARITHMETIC)


def _refused(path: str, what: str) -> WorkerError:
    text = f"model file {os.path.basename(path)} holds {what} besides tensors and operators"
    return WorkerError("asset", f"{text}, which could run as code; it is not loaded")
