"""Versions and ranges; expectations about ranges are those of npm's semver documentation."""

from __future__ import annotations

import time

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import InputError
from manifests.version import meets, newest, normalise, parse_reference


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("1.0", "1.0.0"),
        ("1", "1.0.0"),
        ("v1.2", "1.2.0"),
        (" 1.2.3 ", "1.2.3"),
        ("2.13.0+cpu", "2.13.0+cpu"),
        ("2.0.0rc1", "2.0.0-rc.1"),
        ("1.0.0-rc.1", "1.0.0-rc.1"),
        ("1.0.0-alpha.beta.2+x.1", "1.0.0-alpha.beta.2+x.1"),
        ("2.5.0a0+git123", "2.5.0-alpha.0+git123"),
        ("2.5.0.dev20260101+cu121", "2.5.0-dev.20260101+cu121"),
        ("1.2.3.post1", "1.2.3+post.1"),
        ("8.6.1.6", "8.6.1+6"),
        ("2024.01.05", "2024.1.5"),
    ],
)
def test_normalise(text: str, whole: str) -> None:
    assert normalise(text) == whole


@pytest.mark.parametrize(
    "text", ["", "x", "1.x", "one", "1..2", "1.2.3-", "-1", "1.2.3-01", "9" * 999]
)
def test_no_version(text: str) -> None:
    with pytest.raises(InputError, match=r"expected one such as 1\.2\.3"):
        normalise(text)


YES, NO = True, False


@pytest.mark.parametrize(
    ("wanted", "version", "met"),
    [
        ("^1.x", "1.9.0", YES),
        ("^1.x", "2.0.0", NO),
        ("^1.2.3", "1.2.3", YES),
        ("^1.2.3", "1.9.9", YES),
        ("^1.2.3", "1.2.2", NO),
        ("^0.2.3", "0.2.9", YES),
        ("^0.2.3", "0.3.0", NO),
        ("^0.0.3", "0.0.3", YES),
        ("^0.0.3", "0.0.4", NO),
        ("^0.0", "0.0.9", YES),
        ("^0.0", "0.1.0", NO),
        ("^0.x", "0.9.0", YES),
        ("^0.x", "1.0.0", NO),
        ("~1.2.3", "1.2.9", YES),
        ("~1.2.3", "1.3.0", NO),
        ("~1.2", "1.2.0", YES),
        ("~1.2", "1.3.0", NO),
        ("~1", "1.9.9", YES),
        ("~1", "2.0.0", NO),
        (">=1 <2", "1.0.0", YES),
        (">=1 <2", "2.0.0", NO),
        (">= 1, < 2", "1.5.0", YES),
        (">=1.2.7 <1.3.0", "1.2.99", YES),
        (">=1.2.7 <1.3.0", "1.2.6", NO),
        ("1.2.7 || >=1.2.9 <2.0.0", "1.2.7", YES),
        ("1.2.7 || >=1.2.9 <2.0.0", "1.2.8", NO),
        ("1.2.7 || >=1.2.9 <2.0.0", "1.4.6", YES),
        ("1.2.3 - 2.3", "2.3.9", YES),
        ("1.2.3 - 2.3", "2.4.0", NO),
        ("1.2 - 2.3.4", "2.3.5", NO),
        ("=1.2.3", "1.2.3", YES),
        ("==1.2.3", "1.2.4", NO),
        ("1.13", "1.13.7", YES),
        ("1.13", "1.14.0", NO),
        ("1.2.x", "1.2.5", YES),
        ("", "0.0.1", YES),
        ("*", "9.9.9", YES),
        ("latest", "1.0.0", YES),
        ("", "2.0.0rc1", YES),
        (">1.2.3-alpha.3", "1.2.3-alpha.7", YES),
        (">1.2.3-alpha.3", "3.4.5-alpha.9", NO),
        (">1.2.3-alpha.3", "3.4.5", YES),
        ("^1.2.3-beta.2", "1.2.3-beta.4", YES),
        ("^1.2.3-beta.2", "1.2.4-beta.2", NO),
        (">=2.0.0rc1", "2.0.0rc1", YES),
        (">=2.0.0rc1", "2.0.0rc0", NO),
        ("^2", "2.13.0+cpu", YES),
        ("2.13.0+cpu", "2.13.0+cu121", YES),
        ("^1", "no version at all", NO),
        ("*", "no version at all", YES),
    ],
)
def test_meets(wanted: str, version: str, met: bool) -> None:
    assert meets(version, wanted) is met


@pytest.mark.parametrize(
    "wanted",
    ["garbage", "^1 garbage", "a || 1", "1.2.3.4", "!=1", "~=1.2", "^^1", ">", "1..2", "1" * 300],
)
def test_no_range(wanted: str) -> None:
    with pytest.raises(InputError, match="expected"):
        meets("1.0.0", wanted)


NUMBERS = st.tuples(*[st.integers(0, 30)] * 3)


@given(NUMBERS, NUMBERS)
def test_comparisons_agree_with_semver(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    version, bound = (".".join(map(str, numbers)) for numbers in (one, other))
    order = semver.Version.parse(version).compare(bound)
    assert meets(version, f">={bound}") is (order >= 0)
    assert meets(version, f"<{bound}") is (order < 0)
    caret = order >= 0 and one < ((other[0] + 1, 0, 0) if other[0] else (0, other[1] + 1, 0))
    if any(other[:2]):
        assert meets(version, f"^{bound}") is caret


@given(st.text(max_size=40))
def test_any_text_is_a_version_or_an_input_error(text: str) -> None:
    try:
        whole = normalise(text)
    except InputError:
        return
    assert normalise(whole) == whole


@given(st.text("^~<>=|.x*0123456789 -rcab", max_size=30))
def test_any_text_is_a_range_or_an_input_error(text: str) -> None:
    try:
        meets("1.2.3", text)
    except InputError:
        return


def test_newest() -> None:
    assert newest(["1.0", "1.2", "2.0", "1.10"]) == "2.0"
    assert newest(["1.9.0", "1.10.0"]) == "1.10.0"
    assert newest(["1.0.0", "2.0.0rc1"]) == "1.0.0"
    assert newest(["2.0.0a1", "2.0.0rc1"]) == "2.0.0rc1"
    with pytest.raises(InputError):
        newest([])


def test_parse_reference() -> None:
    assert parse_reference("AlexNet@^1") == ("AlexNet", "^1")
    assert parse_reference("AlexNet") == ("AlexNet", "")
    for bad in ("", "@1", "AlexNet@nonsense"):
        with pytest.raises(InputError):
            parse_reference(bad)


def test_a_repeated_question_is_answered_from_memory() -> None:
    meets("1.13.1", ">=1.12 <1.16 || ^2.3")
    began_ns = time.perf_counter_ns()
    for _ in range(10_000):
        meets("1.13.1", ">=1.12 <1.16 || ^2.3")
    # About 0.5 ms; parsing each time would take more than a second.
    assert time.perf_counter_ns() - began_ns < 100_000_000
