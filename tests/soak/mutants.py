"""Named broken builds that the soak must catch."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import crash_mutants
from tests.e2e.crash_mutants import Mutant

_ADMITTED = "        self.in_hand += 1\n        scope[_ADMITTED] = True\n"

MUTANTS: dict[str, Mutant] = {
    # Who was here is never forgotten: memory.
    "remembers-every-request": Mutant(
        "entrypoints/http/admission.py",
        _ADMITTED,
        f"{_ADMITTED}        self.__dict__.setdefault('_seen', {{}})[self._new_request_id()] = dict(scope)\n",
    ),
    # A file is opened for every hundredth request and never closed: descriptors.
    "keeps-files-open": Mutant(
        "entrypoints/http/admission.py",
        _ADMITTED,
        f"{_ADMITTED}        seen = self.__dict__.setdefault('_seen', [])\n"
        "        seen.append(open('/dev/null') if len(seen) % 100 == 0 else None)\n",
    ),
    # Nobody ever writes the WAL back: WAL. Embedded only.
    "wal-never-checkpointed": Mutant("adapters/sqlite/files.py", "_WAL_PAGES = 4000", "_WAL_PAGES = 0"),
}

EMBEDDED_ONLY = frozenset({"wal-never-checkpointed"})


def build(name: str, folder: Path) -> Path:
    """Write the broken build into a folder; what to put in front of PYTHONPATH."""
    return crash_mutants.build(name, folder, MUTANTS)
