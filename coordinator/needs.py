"""Constraints as people write them: `gpu.memory>=16GiB, framework=onnxruntime@^1, !avx512`.

A need is [!]NAME or NAME OPERATOR VALUE, with = != >= <= > <; several stand between commas. What
each NAME is held against is in coordinator/meeting.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from bus.errors import InputError, MLModelScopeError, UnknownNameError
from manifests.version import meets, parse_reference

_NEED = re.compile(r"(!?)\s*([A-Za-z][\w.-]*)\s*(?:(>=|<=|!=|==|=|>|<)\s*(.*))?", re.DOTALL)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGTP]?)(iB|B)?", re.IGNORECASE)
MOST_NEEDS = 32
LONGEST = 200

SIZE, NUMBER, VERSION, WORD = "size", "number", "version", "word"
PART, FLAG, REFERENCE, LABEL = "part", "flag", "reference", "label"
NAMES = {
    "cores": NUMBER,
    "memory": SIZE,
    "disk": SIZE,
    "arch": WORD,
    "os": WORD,
    "kernel": VERSION,
    "cpu": PART,
    "cpu.features": WORD,
    "interconnect": WORD,
    "containers": FLAG,
    "allow_code": FLAG,
    "node": WORD,
    "gpu": NUMBER,
    "gpu.count": NUMBER,
    "gpu.memory": SIZE,
    "gpu.name": PART,
    "gpu.capability": VERSION,
    "framework": REFERENCE,
    "python": VERSION,
    "environment": WORD,
    "provider": WORD,
}
FEATURES = frozenset(
    {
        *("avx", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni"),
        *("amx", "amx_bf16", "amx_int8", "amx_fp16", "fma", "f16c", "sse4.2"),
        *("neon", "dotprod", "sve", "sve2", "bf16", "i8mm", "vsx"),
    }
)
"""What may stand alone: `avx512` is `cpu.features=avx512`."""
OTHER_NAMES = {"gpu.model": "gpu.name", "label": "label.", "package": "package."}
PREFIXES = ("label.", "package.")
"""`label.zone=a`, `package.numpy>=2`."""
ORDERED = (">=", "<=", ">", "<")


@dataclass(frozen=True, slots=True)
class Need:
    """One constraint. number: the value of a size (in bytes) or a number, else 0."""

    name: str
    operator: str
    value: str
    number: float
    text: str

    @property
    def wanted(self) -> str:
        """The operator and the value, as a refusal shows them."""
        return self.value if self.operator == "=" else f"{self.operator}{self.value}"

    def of_number(self, has: float) -> bool:
        """Whether a number or size is as wanted."""
        return _compared(has, self.operator, self.number)

    def of_words(self, has: Iterable[str]) -> bool:
        """Whether the wanted word is among those there (`!=`: is not)."""
        found = self.value.casefold() in {word.casefold() for word in has}
        return found == (self.operator == "=")

    def of_part(self, has: str) -> bool:
        """Whether what is wanted is a part of the name that is there."""
        return (self.value.casefold() in has.casefold()) == (self.operator == "=")

    def of_version(self, has: str) -> bool:
        """Whether a version is in the wanted range."""
        if not has:
            return False
        if self.operator in ("=", "!="):
            return meets(has, self.value) == (self.operator == "=")
        return meets(has, f"{self.operator}{self.value}")


def read_needs(texts: Iterable[str]) -> tuple[Need, ...]:
    """The constraints in some texts; InputError naming the one that is none."""
    return _read(tuple(texts))


@lru_cache(maxsize=1024)
def _read(texts: tuple[str, ...]) -> tuple[Need, ...]:
    parts = [part.strip() for text in texts for part in text.split(",")]
    parts = [part for part in parts if part]
    if len(parts) > MOST_NEEDS:
        raise InputError(f"requires: expected at most {MOST_NEEDS} constraints (got {len(parts)})")
    return tuple(_one(part) for part in parts)


def _one(text: str) -> Need:
    matched = _NEED.fullmatch(text) if len(text) <= LONGEST else None
    if matched is None:
        expected = "expected NAME, !NAME or NAME>=VALUE, such as gpu.memory>=16GiB"
        raise InputError(f"constraint {text[:LONGEST]!r}: {expected}")
    no, name, operator, value = matched.groups()
    name = OTHER_NAMES.get(name.lower(), name if name.startswith(PREFIXES) else name.lower())
    if operator is None:
        return _alone(text, name, bool(no))
    operator = "=" if operator == "==" else operator
    if no:
        raise InputError(f"constraint {text!r}: expected `!` before a NAME alone, else `!=`")
    if not value:
        raise InputError(f"constraint {text!r}: expected a value after {operator}")
    return _checked(Need(name, operator, value, 0.0, text))


def _alone(text: str, name: str, no: bool) -> Need:
    """`avx512`, `gpu`, `containers`; and `!containers`, what must not be there."""
    operator = "!=" if no else "="
    if name in FEATURES:
        return Need("cpu.features", operator, name, 0.0, text)
    kind = kind_of(name)
    if kind == FLAG:
        return Need(name, operator, "yes", 0.0, text)
    if name == "gpu":
        return Need("gpu.count", "=" if no else ">=", "0" if no else "1", 0.0 if no else 1.0, text)
    if name.startswith(PREFIXES):
        return Need(name, "!=" if not no else "=", "", 0.0, text)
    raise InputError(f"constraint {text!r}: expected {name} with an operator and a value")


def _checked(need: Need) -> Need:
    name, kind = need.name, kind_of(need.name)
    if name == "gpu":
        need = Need("gpu.count", need.operator, need.value, 0.0, need.text)
    if kind == FLAG:
        said = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
        if need.operator not in ("=", "!=") or need.value.lower() not in said:
            raise InputError(f"constraint {need.text!r}: expected {name}, !{name} or {name}=yes")
        positive = said[need.value.lower()] == (need.operator == "=")
        return Need(name, "=" if positive else "!=", "yes", 0.0, need.text)
    if kind in (SIZE, NUMBER) or (kind == LABEL and need.operator in ORDERED):
        return Need(need.name, need.operator, need.value, _number(need, kind), need.text)
    if kind in (WORD, PART, REFERENCE) and need.operator in ORDERED:
        raise InputError(f"constraint {need.text!r}: expected = or != for {name}")
    if kind == VERSION:
        _try(need, lambda: need.of_version("1.0.0"))
    if kind == REFERENCE:
        _try(need, lambda: parse_reference(need.value))
    return need


def kind_of(name: str) -> str:
    """What the values of a name are; UnknownNameError with the nearest names."""
    if name.startswith("package.") and len(name) > len("package."):
        return VERSION
    if name.startswith("label.") and len(name) > len("label."):
        return LABEL
    if name not in NAMES:
        known = [*NAMES, "label.NAME", "package.NAME", *sorted(FEATURES)]
        raise UnknownNameError("constraint", name, known)
    return NAMES[name]


def _number(need: Need, kind: str) -> float:
    if kind != SIZE:
        try:
            return float(need.value)
        except ValueError:
            text = f"constraint {need.text!r}: expected a number (got {need.value!r})"
            raise InputError(text) from None
    return float(read_size(need.value, need.text))


def read_size(value: str, what: str) -> int:
    """`16GiB`, `500 MB` or plain bytes; G and GiB are 1024³, GB is 1000³."""
    matched = _SIZE.fullmatch(value.strip())
    if matched is None:
        raise InputError(f"constraint {what!r}: expected a size such as 16GiB (got {value!r})")
    amount, letter, unit = matched.groups()
    base = 1000 if letter and (unit or "").upper() == "B" else 1024
    return int(float(amount) * base ** (" KMGTP".index(letter.upper()) if letter else 0))


def _try(need: Need, read: object) -> None:
    try:
        read()  # type: ignore[operator]
    except MLModelScopeError as exc:
        raise InputError(f"constraint {need.text!r}: {exc}") from exc


def _compared(has: float, operator: str, wanted: float) -> bool:
    return {
        "=": has == wanted,
        "!=": has != wanted,
        ">=": has >= wanted,
        "<=": has <= wanted,
        ">": has > wanted,
        "<": has < wanted,
    }[operator]
