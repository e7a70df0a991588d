"""What a power cut leaves: everything that was promised, and any part of what was written after the last promise.

A store, a log and a read model each are one file with one order of writing: a promise for a write holds for everything
that was written before it. What others can see is as good as promised, because stores show a transaction, and brokers a
record, only once it is safe. Some writes are never promised (marks, leases, trimming): they go with the next promise.
"""

import random
from collections.abc import Callable
from copy import copy
from typing import Any, Generic, TypeVar

import attrs

from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews

S = TypeVar("S")


class Disk(Generic[S]):
    """One device. ``save`` copies its state, ``restore`` puts a copy back; nothing is copied unless ``may_fail``."""

    def __init__(self, save: Callable[[], S], restore: Callable[[S], None], *, may_fail: bool) -> None:
        self._save, self._restore, self._may_fail = save, restore, may_fail
        self._unsafe: list[tuple[S, bool]] = []
        """The state before each write that may still be lost, and whether its caller is promised that it is not."""
        self.writes = 0
        """How often something changed: who looks after every step need not look when nothing has."""
        self.power_cuts = 0
        """How often the power was cut: a call under way notices it by this."""

    def writing(self, *, promised: bool) -> None:
        """Something is about to be written."""
        self.writes += 1
        if self._may_fail:
            self._unsafe.append((self._save(), promised))

    def promised(self) -> None:
        """A caller is told that its write is safe."""
        self.writes += 1
        self._unsafe.clear()

    def seen(self) -> None:
        """Somebody sees what is there now."""
        if self._unsafe:
            last = max((at for at, (_, promised) in enumerate(self._unsafe) if promised), default=-1)
            del self._unsafe[: last + 1]

    @property
    def unsafe(self) -> int:
        """How many writes a power cut could take now."""
        return len(self._unsafe)

    def cut(self, rng: random.Random) -> tuple[int, int]:
        """The power goes and comes back; how many writes were lost and how many survived although nobody was told."""
        self.power_cuts += 1
        self.writes += 1
        unsafe, self._unsafe = self._unsafe, []
        kept = rng.randint(0, len(unsafe))
        if kept < len(unsafe):
            self._restore(unsafe[kept][0])
        return len(unsafe) - kept, kept


def saved_store(store: MemoryOrderStore) -> dict[str, Any]:
    """A copy of everything the store holds: its tables are dicts of values that never change."""
    return {name: copy(table) for name, table in vars(store).items()}


def restore_store(store: MemoryOrderStore, saved: dict[str, Any]) -> None:
    """Put it back."""
    vars(store).update(saved)


def saved_views(views: MemoryViews) -> dict[str, Any]:
    """A copy of everything the read model holds but who rebuilds it, which is no matter of the disk."""
    model = views._model
    return {
        "pointer": model.pointer,
        "generations": {
            number: attrs.evolve(
                one,
                identities=copy(one.identities),
                positions={topic: copy(at) for topic, at in one.positions.items()},
                rows=copy(one.rows),
                appearances=copy(one.appearances),
                held=copy(one.held),
                labels=copy(one.labels),
                counters=copy(one.counters),
            )
            for number, one in model.generations.items()
        },
        "leftovers": copy(model.leftovers),
        "discarded": copy(model.discarded),
    }


def restore_views(views: MemoryViews, saved: dict[str, Any]) -> None:
    """Put it back."""
    vars(views._model).update(saved)
