"""The table: every broken build, whatever module it stands in."""

from tests.mutants import (  # noqa: F401 -- importing enters their builds
    edge,
    files,
    harmless,
    held,
    late,
    read_side,
    rebuilds,
    recovery,
    relay,
    silence,
    wire,
    write_path,
)
from tests.mutants.patching import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "chosen"]


def chosen(names: list[str]) -> list[Mutant]:
    """Those of these names, all if there are none. Raises SystemExit for one that is unknown."""
    for name in names:
        if name not in MUTANTS:
            raise SystemExit(f"there is no mutant {name}; there are: {', '.join(sorted(MUTANTS))}")
    return [mutant for mutant in MUTANTS.values() if not names or mutant.name in names]
