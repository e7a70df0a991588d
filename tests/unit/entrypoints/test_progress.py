"""How far a long command is, as people see it."""

from __future__ import annotations

import io
import re

import pytest

from ordering.application.generations import Phase, Progress
from ordering.entrypoints.cli.progress import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_shows_how_many_how_fast_and_how_long_in_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every phase, whatever it is called and however large the log is: a thousand million, a million a second."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    shown, now = Terminal(), 0.0
    with progress(shown, lambda: now) as told:
        told.waits("[the database] is away", 28.0)
        for phase in Phase:
            for done in range(0, 1_000_000_001, 500_000_000):
                now += 500
                told(Progress(phase, done, 1_000_000_000))
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", shown.getvalue())

    assert "waiting: [the database] is away (it is asked again for 28 s)" in last
    assert "…" not in last
    assert "1,000,000,000 of 1,000,000,000 events, 1,000,000/s" in last
    assert re.search(r"\d:\d\d:\d\d", last)
    for word in ("removing", "filling", "comparing", "exchanging"):
        assert word in last


def test_bars_keep_nothing_from_a_file_that_the_answer_goes_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ordering rebuild > report` at a terminal: the differences belong into the report, in whole lines."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    line, shown = "row different: " + "x" * 200, Terminal()
    with progress(shown) as told:
        told(Progress(Phase.COMPARING, 0, 10))
        print(line)
        told(Progress(Phase.COMPARING, 10, 10))

    assert capsys.readouterr().out == line + "\n"
    assert "row different" not in shown.getvalue()


def test_where_nobody_watches_a_phase_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """In full words."""
    shown = io.StringIO()
    with progress(shown) as told:
        told(Progress(Phase.FILLING, 0, 10))
        told(Progress(Phase.FILLING, 10, 10))
        told.waits("the database is away", 28.0)
        told(Progress(Phase.FLIPPING, 0, None))
    lines = shown.getvalue().splitlines()

    assert lines[0] == "waiting: the database is away (it is asked again for 28 s)"
    assert re.fullmatch(r"filling the new generation: 10 of 10 events, [\d,]+/s", lines[1])
    assert lines[2:] == ["exchanging them"]
    assert capsys.readouterr() == ("", "")
