"""How seeds are run, told, remembered and counted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import alive, until
from tests.services.lifeline import children
from tests.simulation import __main__ as command
from tests.simulation import ledger, runs
from tests.simulation.coverage import REQUIRED, lacking, table
from tests.simulation.ledger import Refused, Row
from tests.simulation.runs import Failure, Results, run_range, run_seeds

ROOT = Path(__file__).parents[2]


def failing(seed: int) -> Failure:
    """A seed that broke a promise."""
    return Failure(seed, "AssertionError: I4: version 2 appears behind version 0", "traceback")


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A regression file of one's own."""
    file = tmp_path / "regressions.txt"
    file.write_text("# why\n3 AssertionError: I1\n")
    monkeypatch.setattr(runs, "REGRESSIONS", file)
    return file


@pytest.mark.slow
@pytest.mark.process
def test_the_number_of_processes_changes_nothing() -> None:
    """The same traces, the same counts, whoever ran what when."""
    alone, together = run_range(5, 30, None, 1), run_range(5, 30, None, 2)
    assert (alone.combined, alone.seen, alone.seeds) == (together.combined, together.seen, together.seeds)
    assert Results(traces=alone.traces[1:]).combined != alone.combined


@pytest.mark.slow
@pytest.mark.process
def test_a_search_that_is_ended_leaves_no_process() -> None:
    """Whatever ends it, also what cannot be caught."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "1000000", "--jobs", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as search:
        try:
            until(lambda: len(children(search.pid)) >= 3, "two that work, and one that keeps account")
            begun = children(search.pid)
        finally:
            search.kill()
    until(lambda: not any(map(alive, begun)), "all of them have ended")


def test_a_failure_names_the_one_command_that_shows_it_again() -> None:
    """With its broken build, if it is one."""
    assert failing(7).replay == "make sim SEED=7"
    assert Failure(7, "", "", "a-mutant").replay == "make sim SEED=7 MUTANT=a-mutant"


def test_a_failed_seed_joins_the_regressions_once(notes: Path) -> None:
    """What a broken build fails is no regression."""
    runs.remember([failing(3), failing(7), Failure(8, "", "", "a-mutant")])
    runs.remember([failing(7)])
    assert runs.regressions() == [(3, "AssertionError: I1"), (7, failing(7).reason)]
    assert notes.read_text().startswith("# why\n")


def test_a_world_that_breaks_is_a_failure_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the run goes on with the next seed."""

    def broken(seed: int) -> object:
        raise AssertionError(f"I1:\n {seed} is gone")

    monkeypatch.setattr(runs, "simulate", broken)
    results = run_seeds([1, 2])
    assert [(one.seed, one.reason) for one in results.failures] == [
        (1, "AssertionError: I1: 1 is gone"),
        (2, "AssertionError: I1: 2 is gone"),
    ]


@pytest.mark.usefixtures("notes")
def test_the_command_tells_failures_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reason and replay command, at once and at the end."""
    results = Results(2, failures=[failing(9)], traces=[(8, "a"), (9, "b")])

    def run(*_: object) -> Results:
        told = _[-1]
        assert callable(told)
        told(results)
        return results

    monkeypatch.setattr(command, "run_range", run)
    assert command.main(["--seeds", "2", "--from", "8", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "seed 9 failed: AssertionError: I4" in said
    assert said.count("make sim SEED=9") == 2
    assert (9, failing(9).reason) in runs.regressions()


def test_one_seed_is_told_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    """What the world is made of, everything it saw, and with ``--trace`` every step of it."""
    assert command.main(["--seed", "2"]) == 0
    short = capsys.readouterr().out
    assert command.main(["--seed", "2", "--trace"]) == 0
    long = capsys.readouterr().out
    assert "seed 2: every promise held, trace " in short
    assert short.splitlines()[-1] == long.splitlines()[-1]
    assert "store.write" in long
    assert len(long.splitlines()) > 3 * len(short.splitlines())


# ---------------------------------------------------------------------------------------------- coverage


def test_what_was_not_reached_is_told_by_its_name() -> None:
    """A name that never came up, and one that came up too rarely for so many seeds."""
    seen = dict.fromkeys(REQUIRED, 1_000)
    assert lacking(seen, 500) == {}
    seen["answer 201 POST"] = 0
    seen["store.busy"] = 1
    assert lacking(seen, 500) == {"answer 201 POST": 0, "store.busy": 1}


def test_the_table_shows_what_is_missing_and_what_is_new() -> None:
    """All required names, and those that only this run had."""
    shown = table({"answer 201 POST": 1_234, "something new": 5})
    assert "1,234" in shown
    assert "something new" in shown
    assert all(name in shown for name in REQUIRED)


# ---------------------------------------------------------------------------------------------- ledger


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with a ledger in it, all of it committed."""
    book = tmp_path / "ledger.tsv"
    book.write_text(f"{ledger.HEAD}\n")
    ledger.write(Row("abc", 100, 50, 0, "f00"), book)
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)  # noqa: S607
    return tmp_path


@pytest.mark.process
def test_only_fresh_seeds_of_a_committed_tree_are_counted(clone: Path) -> None:
    """No seed twice, and nothing that nobody else can run again."""
    book = clone / "ledger.tsv"
    assert ledger.next_fresh(book) == 150
    commit = ledger.admit(150, 10, clone, book)
    with pytest.raises(Refused, match="seeds 100 to 149 were counted before: begin at FROM=150"):
        ledger.admit(149, 10, clone, book)
    with pytest.raises(Refused, match="counted before"):
        ledger.admit(0, 101, clone, book)
    ledger.write(Row(commit, 150, 10, 0, "f01"), book)  # a ledger that goes on is no other tree
    assert ledger.admit(160, 10, clone, book) == commit
    (clone / "world.py").write_text("changed")
    with pytest.raises(Refused, match=r"world\.py"):
        ledger.admit(160, 10, clone, book)


def test_a_failure_begins_the_count_anew(tmp_path: Path) -> None:
    """What counts are the seeds since the last one that failed."""
    book = tmp_path / "ledger.tsv"
    book.write_text(f"{ledger.HEAD}\n")
    for first, failures in ((0, 0), (100, 2), (200, 0), (300, 0)):
        ledger.write(Row("abc", first, 100, failures, "f00"), book)
    assert ledger.clean_since_failure(book) == 200
    assert [row.first for row in ledger.rows(book)] == [0, 100, 200, 300]


def test_the_committed_ledger_counts_no_seed_twice() -> None:
    """Whoever wrote into it."""
    ends = 0
    for row in sorted(ledger.rows(), key=lambda row: row.first):
        assert row.first >= ends, row
        ends = row.end
