"""Broken builds stay broken builds: each finds the text that it breaks."""

from __future__ import annotations

import pytest

from tests.e2e.crash_mutants import CAUGHT_AT, SOURCE, Mutant
from tests.e2e.crash_mutants import MUTANTS as OF_CRASHES
from tests.faults.mutants import MUTANTS as OF_FAULTS
from tests.overload.mutants import MUTANTS as OF_OVERLOAD

ALL = [*OF_FAULTS.items(), *OF_OVERLOAD.items()]


@pytest.mark.parametrize("mutant", [mutant for _, mutant in ALL], ids=[name for name, _ in ALL])
def test_a_broken_build_finds_its_place(mutant: Mutant) -> None:
    """Whoever changes that place hears of it here, not in the run that would have needed it."""
    for edit in (mutant, *mutant.also):
        assert (SOURCE / edit.path).read_text(encoding="utf-8").count(edit.sound) == 1, edit.path


def test_every_broken_build_of_the_crash_test_has_its_kill_points() -> None:
    """`make crash MUTANT=name` goes there."""
    assert CAUGHT_AT.keys() == OF_CRASHES.keys()
    assert all(CAUGHT_AT.values())
