"""The table is whole: every hazard has a broken build that somebody notices, or says why it cannot happen here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import table
from tests.mutants.hazards import HAZARDS, Hazard
from tests.mutants.patching import found_at
from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


def test_every_hazard_is_in_the_table() -> None:
    """In their order, each once, with what keeps it from us."""
    assert [hazard.id for hazard in HAZARDS] == [f"H{number}" for number in range(1, 32)]
    assert all(hazard.line and hazard.answer for hazard in HAZARDS)


@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda hazard: hazard.id)
def test_what_applies_has_a_broken_build(hazard: Hazard) -> None:
    """And what does not apply has none."""
    builds = [m.name for m in MUTANTS.values() if hazard.id in m.hazards and m.harmless is None]
    assert bool(builds) is hazard.applies


def test_every_broken_build_says_what_it_breaks() -> None:
    """One line each, of its own; its hazards are in the list, its module is in the table."""
    lines = [mutant.breaks for mutant in MUTANTS.values()]
    assert len(set(lines)) == len(lines)
    known = {hazard.id for hazard in HAZARDS}
    for mutant in MUTANTS.values():
        assert mutant.breaks.endswith("."), mutant.name
        assert "\n" not in mutant.breaks, mutant.name
        assert known >= {*mutant.hazards}, mutant.name
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+", mutant.name), mutant.name
    modules = [path.stem for path in Path(__file__).parent.glob("*.py") if "\n@mutant(" in path.read_text()]
    assert {f"tests.mutants.{name}" for name in modules} <= {vars(table)[name].__name__ for name in modules}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda mutant: mutant.name)
def test_a_broken_build_finds_its_places_and_leaves_them_as_they_were(mutant: Mutant) -> None:
    """Each place is there, in the product or in what the simulation puts around it, and is sound again afterwards."""
    sound = {place: found_at(place)[2] for place in mutant.places}
    with mutant.applied():
        for place, before in sound.items():
            assert found_at(place)[2] is not before, place
    assert {place: found_at(place)[2] for place in mutant.places} == sound


@pytest.mark.parametrize("test", sorted({test for mutant in MUTANTS.values() for test in mutant.tests}))
def test_every_killer_exists(test: str) -> None:
    """By its file and name; `make mutants` also finds its parameters."""
    file, _, name = test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {re.escape(name.partition('[')[0])}\(", text, re.MULTILINE), test


@pytest.mark.process
@pytest.mark.slow
def test_a_broken_build_of_every_hazard_is_noticed() -> None:
    """One build for each hazard, in a process of its own, by its killer; all of them: `make mutants`."""
    command = [sys.executable, "-m", "tests.mutants", "--quick", "--jobs", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
