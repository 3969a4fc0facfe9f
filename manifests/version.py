"""Versions and version ranges: the only place that knows how either is written.

Versions are semantic versions; short ones are padded (1.0 is 1.0.0) and Python's spellings are
understood (2.0.0rc1 is 2.0.0-rc.1). Ranges are npm's: ^1.x, ~1.2, >=1 <2, 1.13, =1.2.3, 1 - 2, ||.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Any

import nodesemver
import semver

from bus.errors import InputError

ANY = frozenset({"", "*", "x", "X", "latest", "any"})
"""Ranges that ask for nothing: they admit pre-releases too, which npm's `*` would not."""

LONGEST = 256  # characters of a version or a range: both come from strangers

_VERSION = re.compile(
    r"v?(?P<major>\d+)(?:\.(?P<minor>\d+))?(?:\.(?P<patch>\d+))?(?P<more>(?:\.\d+)*)"
    r"(?:[._-]?(?P<stage>alpha|beta|preview|pre|rc|dev|post|a|b|c)[._-]?(?P<step>\d*))?"
    r"(?:-(?P<suffix>[0-9A-Za-z.-]+))?(?:\+(?P<build>[0-9A-Za-z.-]+))?",
    re.IGNORECASE,
)
_STAGES = {"a": "alpha", "b": "beta", "c": "rc", "pre": "rc", "preview": "rc"}
# Python's pre-releases inside a range: >=2.0.0rc1
_PYTHON_PRERELEASE = re.compile(r"\d+(?:\.\d+)*[._]?(?:alpha|beta|rc|dev|a|b|c)\.?\d*(?![\w.*-])")
_COMPARATOR = re.compile(
    r"(?:\^|~>?|>=|<=|>|<|=)?v?(?:\d+|[xX*])(?:\.(?:\d+|[xX*])){0,2}"
    r"(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
)
_AFTER_OPERATOR = re.compile(r"([\^~<>=])\s+")
_EXPECTED_RANGE = "a range such as ^1.x, ~1.2, >=1 <2, 1.13, =1.2.3, ^1 || ^2 or *"


@lru_cache(maxsize=65536)
def normalise(text: str) -> str:
    """`text` as a whole semantic version."""
    match = _VERSION.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if match is None:
        raise _not_a_version(text)
    numbers = ".".join(str(int(match[part] or 0)) for part in ("major", "minor", "patch"))
    before, build = _labels(match)
    whole = numbers + (f"-{before}" if before else "") + (f"+{build}" if build else "")
    if not semver.Version.is_valid(whole):
        raise _not_a_version(text)
    return whole


def _labels(match: re.Match[str]) -> tuple[str, str]:
    """The pre-release and the build of a version.

    Semantic versions have no fourth number and no post-release: both become part of the build.
    """
    before = [match["suffix"]] if match["suffix"] else []
    build = [match["more"].strip(".")] if match["more"] else []
    stage, step = (match["stage"] or "").lower(), match["step"]
    if stage:
        label = _STAGES.get(stage, stage) + (f".{int(step)}" if step else "")
        (build if stage == "post" else before).insert(0, label)
    if match["build"]:
        build.append(match["build"])
    return "-".join(before), ".".join(build)


def _not_a_version(text: str) -> InputError:
    return InputError(
        f"{_short(text)} is no version: expected one such as 1.2.3, 1.0 or 2.0.0-rc.1"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


@lru_cache(maxsize=4096)
def _range(text: str) -> nodesemver.Range | None:
    """The parsed range, None for any version."""
    plain = text.strip()
    if plain in ANY:
        return None
    if len(plain) > LONGEST:
        raise InputError(f"a range of {len(plain)} characters: expected at most {LONGEST}")
    # Python writes `==1.2` and joins by commas; both mean the same here.
    plain = plain.replace("==", "=").replace(",", " ")
    plain = _PYTHON_PRERELEASE.sub(lambda found: normalise(found[0]), plain)
    plain = _AFTER_OPERATOR.sub(r"\1", plain)
    # node-semver drops what it cannot read as long as something remains: so each part is looked at.
    for part in plain.split("||"):
        words = part.split()
        if len(words) == 3 and words[1] == "-":
            words = [words[0], words[2]]
        if not all(_COMPARATOR.fullmatch(word) for word in words):
            raise InputError(f"{_short(text)} is no version range: expected {_EXPECTED_RANGE}")
    try:
        return nodesemver.make_range(plain, loose=True)
    except ValueError as exc:
        raise InputError(f"{_short(text)} is no version range: expected {_EXPECTED_RANGE}") from exc


def check_range(text: str) -> None:
    """InputError unless `text` is a range."""
    _range(text)


@lru_cache(maxsize=65536)
def meets(version: str, wanted: str) -> bool:
    """Whether a version lies in a range; one that cannot be read lies only in the range of all."""
    parsed = _range(wanted)
    if parsed is None:
        return True
    try:
        return parsed.test(normalise(version))
    except InputError:
        return False


def order(version: str) -> semver.Version:
    """What versions sort by."""
    return semver.Version.parse(normalise(version))


Key = tuple[Any, ...]
"""(major, minor, patch, before): plain tuples compare ten times faster than semver's objects."""


@lru_cache(maxsize=65536)
def key(version: str) -> Key:
    """What versions sort by, as a tuple; the build does not count."""
    parsed = order(version)
    before = parsed.prerelease.split(".") if parsed.prerelease else []
    return parsed.major, parsed.minor, parsed.patch, _before(before)


def _before(labels: Iterable[str | int]) -> tuple[Any, ...]:
    """A release comes after its pre-releases, numbers before words, fewer labels before more."""
    parts = [(0, int(x), "") if str(x).isdigit() else (1, 0, str(x)) for x in labels]
    return (0, *parts) if parts else (1,)


@lru_cache(maxsize=4096)
def bounds(wanted: str) -> tuple[tuple[Key | None, Key | None], ...]:
    """Between which versions those of a range lie, for each of its alternatives; None: no end.

    Both ends are inside, so what lies between is still to be held against the range.
    """
    parsed = _range(wanted)
    if parsed is None:
        return ((None, None),)
    found = []
    for comparators in parsed.set:
        lows, highs = [], []
        for one in comparators:
            if not hasattr(one.semver, "major"):
                continue  # anything
            version = (one.semver.major, one.semver.minor, one.semver.patch)
            ordered = (*version, _before(one.semver.prerelease or ()))
            if one.operator in (">", ">=", "", "="):
                lows.append(ordered)
            if one.operator in ("<", "<=", "", "="):
                highs.append(ordered)
        found.append((max(lows, default=None), min(highs, default=None)))
    return tuple(found)


def for_pip(*ranges: str) -> str | None:
    """All of these ranges as pip writes them (PEP 440): `^1.20` is `>=1.20.0,<2.0.0`.

    pip knows no alternatives: of those that agree with each other the newest are taken. Empty:
    any version; None: no version can be in all of them.
    """
    parsed = [(bounds(text), found.set) for text in ranges if (found := _range(text)) is not None]
    lowest: Key = (0, 0, 0, ())
    best: tuple[Key, list[str]] | None = None
    for chosen in product(*(range(len(ends)) for ends, _ in parsed)):
        picked = [(ends[i], sets[i]) for (ends, sets), i in zip(parsed, chosen, strict=True)]
        low = max((ends[0] or lowest for ends, _ in picked), default=lowest)
        highs = [ends[1] for ends, _ in picked if ends[1] is not None]
        comparators = [one for _, some in picked for one in some]
        between = not highs or low < min(highs)
        just_one = low in highs and all(one.operator not in ("<", ">") for one in comparators)
        if (between or just_one) and (best is None or low > best[0]):
            best = low, [_for_pip(one) for one in comparators]
    return None if best is None else ",".join(dict.fromkeys(filter(None, best[1])))


def _for_pip(one: Any) -> str:
    if not hasattr(one.semver, "major"):
        return ""  # anything
    version = f"{one.semver.major}.{one.semver.minor}.{one.semver.patch}"
    # The -0 of an upper end keeps npm from pre-releases of it; pip does so by itself.
    stage = "" if one.operator == "<" else _pip_stage(one.semver.prerelease or ())
    return f"{'==' if one.operator in ('', '=') else one.operator}{version}{stage}"


def _pip_stage(labels: Iterable[str | int]) -> str:
    """`-rc.1` as pip writes it; what it cannot write is left out."""
    text = "".join(str(label) for label in labels)
    match = re.fullmatch(r"(alpha|beta|rc|dev)(\d*)", text)
    return f"{'.' if match[1] == 'dev' else ''}{match[1]}{match[2] or 0}" if match else ""


def newest(versions: Iterable[str]) -> str:
    """The newest release; the newest pre-release only where nothing was released."""
    known = list(versions)
    if not known:
        raise InputError("no versions to choose the newest of: expected at least one")
    return max(known, key=lambda text: (order(text).prerelease is None, order(text)))


def newest_first(versions: Iterable[str]) -> list[str]:
    """Releases before pre-releases, each newest first."""
    return sorted(versions, key=lambda v: (order(v).prerelease is None, order(v)), reverse=True)


def parse_reference(text: str) -> tuple[str, str]:
    """`AlexNet@^1` as its name and its range; without `@` any version is meant."""
    name, found, wanted = text.strip().rpartition("@")
    if not found:
        name, wanted = wanted, ""
    if not name.strip():
        raise InputError(f"{_short(text)} has no name: expected `name` or `name@range`")
    check_range(wanted)
    return name.strip(), wanted.strip()
