"""The options of a load on the command line, and what is printed of its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bus.errors import InputError
from bus.messages import Scenario
from mlmodelscope.asked import Asked
from mlmodelscope.cli_load import Load
from mlmodelscope.loads import read_offsets, scenario_of
from mlmodelscope.mlperf_logs import check

MEANT: list[tuple[dict[str, Any], Scenario | None]] = [
    ({}, None),
    ({"until_ci": "2%"}, Scenario(name="online", until_ci=0.02)),
    ({"until_ci": "0.02"}, Scenario(name="online", until_ci=0.02)),
    ({"scenario": "online"}, Scenario(name="online")),
    ({"find": "max-qps"}, Scenario(name="server", find="max_qps")),
    (
        {"scenario": "single-stream", "percentile": 99.9},
        Scenario(name="single_stream", percentile=0.999),
    ),
    (
        {"scenario": "offline", "min_duration": 0.0, "min_queries": 5},
        Scenario(name="offline", min_duration_s=0.0, min_queries=5),
    ),
]


@pytest.mark.parametrize(("options", "meant"), MEANT)
def test_what_options_mean(options: dict[str, Any], meant: Scenario | None) -> None:
    assert scenario_of(Load(**options)) == meant


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"until_ci": "5"}, "expected a share like 2% or 0.02"),
    ({"until_ci": "wide"}, "expected a share like 2% or 0.02"),
    ({"scenario": "replay"}, "expected both, or neither"),
    ({"scenario": "server", "replay": Path("x")}, "expected both, or neither"),
    ({"mlperf_logs": Path("x")}, "expected with --scenario single-stream"),
]


@pytest.mark.parametrize(("options", "text"), WRONG)
def test_wrong_options_say_what_is_expected(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        scenario_of(Load(**options))


# (file, offsets in ns or what is wrong)
FILES = [
    ("0\n0.5\n1.25\n", [0, 500_000_000, 1_250_000_000]),
    ("# a recording\n\n10.0  # first\n10.001\n", [0, 1_000_000]),
    ("", "no offsets there"),
    ("0\nsoon\n", r":2: 'soon'; expected seconds"),
    ("0\n-1\n", r":2: '-1'; expected seconds"),
    ("0\nnan\n", r":2: 'nan'; expected seconds"),
    ("1\n0.5\n", r":2: 0.5 is before the line above"),
]


@pytest.mark.parametrize(("text", "wanted"), FILES)
def test_offsets(tmp_path: Path, text: str, wanted: list[int] | str) -> None:
    path = tmp_path / "offsets.txt"
    path.write_text(text)
    if isinstance(wanted, str):
        with pytest.raises(InputError, match=wanted):
            read_offsets(path)
    else:
        assert read_offsets(path) == wanted


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match="expected a text file of offsets"):
        read_offsets(path)


def asked(scenario: Scenario | None, sizes: tuple[int, ...] = (1,)) -> Asked:
    return Asked("m", (), sizes, 1, 0, "model", "", "cpu", "", 0, 0, 5, 9.0, scenario=scenario)


@pytest.mark.parametrize(
    ("scenario", "sizes", "text"),
    [
        (Scenario(name="burst"), (1,), "expected a scenario of MLPerf"),
        (Scenario(name="server", find="peak"), (1,), "server --find"),
        (Scenario(name="offline"), (1, 2), "expected one batch size"),
    ],
)
def test_logs_that_cannot_be_written(
    tmp_path: Path, scenario: Scenario, sizes: tuple[int, ...], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        check(tmp_path, asked(scenario, sizes))


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        check(path, asked(Scenario(name="offline")))
