"""The ledger: which fresh seeds were ever tried on which commit, and what came of it. The command writes it."""

import subprocess
from pathlib import Path
from typing import Final

import attrs

LEDGER: Final = Path(__file__).with_name("ledger.tsv")
ROOT: Final = Path(__file__).parents[2]
HEAD: Final = "commit\tfrom\tseeds\tfailures\ttraces"


class Refused(Exception):
    """These seeds cannot be counted; one line that says why."""


@attrs.frozen
class Row:
    """One run: the seeds ``first`` to ``first + seeds - 1`` on a commit."""

    commit: str
    first: int
    seeds: int
    failures: int
    traces: str

    @property
    def end(self) -> int:
        """The seed behind its last one."""
        return self.first + self.seeds


def rows(ledger: Path = LEDGER) -> list[Row]:
    """All runs, oldest first."""
    lines = ledger.read_text().splitlines()[1:]
    return [Row(commit, int(a), int(b), int(c), traces) for commit, a, b, c, traces in (x.split("\t") for x in lines)]


def next_fresh(ledger: Path = LEDGER) -> int:
    """The first seed behind all that were ever counted."""
    return max((row.end for row in rows(ledger)), default=0)


def clean_since_failure(ledger: Path = LEDGER) -> int:
    """How many fresh seeds were tried since one failed."""
    count = 0
    for row in rows(ledger):
        count = 0 if row.failures else count + row.seeds
    return count


def admit(first: int, seeds: int, root: Path = ROOT, ledger: Path = LEDGER) -> str:
    """The commit these seeds will be counted for. Raises Refused if one of them was counted before, or if what would
    run is not what was committed."""
    for row in rows(ledger):
        if first < row.end and row.first < first + seeds:
            raise Refused(f"seeds {row.first} to {row.end - 1} were counted before: begin at FROM={next_fresh(ledger)}")
    changed = _git(root, "status", "--porcelain").splitlines()
    if others := [line[3:] for line in changed if not line.endswith(ledger.name)]:
        raise Refused(f"the working tree is not what was committed ({others[0]}): commit first")
    return _git(root, "rev-parse", "--short=12", "HEAD").strip()


def write(row: Row, ledger: Path = LEDGER) -> None:
    """Append a run."""
    with ledger.open("a") as file:
        file.write(f"{row.commit}\t{row.first}\t{row.seeds}\t{row.failures}\t{row.traces}\n")


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607
    if run.returncode:
        raise Refused(f"this is no clone of the repository: {run.stderr.strip()}")
    return run.stdout
