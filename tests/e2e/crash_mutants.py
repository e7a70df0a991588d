"""Named broken builds: copies of the source with one promise broken, which the crash test must catch."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

import ordering

SOURCE = Path(ordering.__file__).parent


@attrs.frozen
class Mutant:
    """A text of a source file, found exactly once, and what the broken build has instead."""

    path: str
    sound: str
    broken: str


MUTANTS = {
    # The mark is durable before the log has the event: a crash in between loses the event. The pause stands for a
    # log that is slower than the store.
    "mark-before-append": Mutant(
        "application/relay_outbox.py",
        "        began = self._runtime.monotonic()\n        results: Iterable[PublishResult]\n",
        "        await self._outbox.mark_published([(event.aggregate_id, event.version) for event in batch])\n"
        "        await self._runtime.sleep(0.03)\n"
        "        began = self._runtime.monotonic()\n        results: Iterable[PublishResult]\n",
    ),
    # What an earlier life left unpublished is never looked at again.
    "no-reload-at-start": Mutant(
        "application/relay_outbox.py",
        "            rows = await self._outbox.heads(limit, exclude)\n",
        "            rows = ()\n",
    ),
}


def build(name: str, folder: Path, mutants: Mapping[str, Mutant] = MUTANTS) -> Path:
    """Write the broken build into a folder; what to put in front of PYTHONPATH."""
    return build_steps(name, folder, [mutants[name]])


def build_steps(name: str, folder: Path, steps: Sequence[Mutant]) -> Path:
    """The same for a promise that is kept in several places."""
    copy = folder / "ordering"
    shutil.copytree(SOURCE, copy, symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    for mutant in steps:
        path = copy / mutant.path
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.sound) != 1:
            raise SystemExit(f"mutant {name} is stale: {mutant.path} does not hold its text exactly once")
        path.write_text(text.replace(mutant.sound, mutant.broken), encoding="utf-8")
    return folder
