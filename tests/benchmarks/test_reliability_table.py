"""The table of deaths: between the marks of a page, with the reason for what was not done."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__, reliability
from benchmarks.deaths.audit import Account
from benchmarks.deaths.death import Outcome
from benchmarks.deaths.kills import KILLS

BLOW = KILLS[0]


def outcome(account: Account, back_s: float = 1.0) -> Outcome:
    return Outcome(BLOW.what, in_hand=4, back_s=back_s, ended_s=2.0, true_s=0.4, account=account)


@pytest.mark.parametrize(
    ("account", "back_s", "faults"),
    [
        (Account(evaluations=9, finished=9, spans=90), 1.0, []),
        (Account(doubled=["a ended 2 times"]), 1.0, ["a ended 2 times"]),
        (Account(spans_lost=3), 1.0, ["3 spans lost"]),
        (Account(), 99.0, ["all was well after 99.0 s, expected: 15 s"]),
    ],
)
def test_faults_are_named(account: Account, back_s: float, faults: list[str]) -> None:
    assert outcome(account, back_s).faults(BLOW) == faults


def test_written_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reliability.BEGIN}old\n{reliability.END}after\n")
    rows = [
        reliability._row(BLOW, outcome(Account(evaluations=9, spans=90))),
        {"name": "clock", "skipped": "no libfaketime here", "faults": []},
    ]
    reliability.write(page, reliability.markdown(rows, {"cores": "2"}))
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after") and "old" not in lines
    assert "| nothing | 4 | 1.0 | 2.0 | 0.4 | 9 | 0 | 0 | 0 | 0 | 90 | 0 | 0 | 0 | yes |" in lines
    assert any(line.startswith("| clock | n/a: no libfaketime here |") for line in lines)
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    with pytest.raises(SystemExit, match="to write between"):
        page.write_text("no marks")
        reliability.write(page, "")


def test_an_unknown_death_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        __main__.main(["reliability", "noed"])
    assert left.value.code == 2
    assert "no death 'noed'; there is: apart, clock-back" in capsys.readouterr().err
