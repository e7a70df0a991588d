"""What samples of a run tell: its table, and its limits with what was measured.

A run has ten equal parts: the minutes, if it is one of ten minutes. What a process holds is the most that it held in a
part, and the last part is compared with the third: by then caches are full and pools have their size.

Memory is compared by its anonymous part: the heaps of Python and C, and with them SQLite's page caches, which have a
fixed size each. The rest is backed by files (the libraries, the index of a WAL): the kernel fills and drops those pages
as it likes. The table shows all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from ordering.entrypoints.cli.output import table
from tests.faults.outcome import Limit
from tests.soak.sampling import OUTBOX_MIB, OUTBOX_ROWS, Sample, Vitals

PARTS, REFERENCE = 10, 3

MEMORY_MIB = 8.0
MORE_DESCRIPTORS = 4
"""Connections of clients left out, which come and go with the clients. Our own to a database or a broker may be
replaced, and their ends overlap."""
MORE_THREADS = 2
"""Threads for blocking calls come when they are first needed, a handful at most."""
WAL_MIB = 64.0
"""From 16 MiB on, each commit writes back what no read still needs, and the WAL begins anew when all of it is written
back and nobody reads: it is longer by what is committed meanwhile. What is over 64 MiB is cut off then."""
OUTBOX_SECONDS = 5.0
"""How much of the load may wait to be published."""
OUTBOX_TABLE_MIB = 64.0
"""Rows that are published are dead rows until the next autovacuum, which comes once a minute: some 60,000 of 300 bytes
with both indexes at 1,000 a second, and as much again while it runs."""

Value = Callable[[Vitals], float]


@attrs.frozen
class Run:
    """The samples of so many seconds at so many requests a second."""

    samples: Sequence[Sample]
    seconds: float
    rate: float

    def part(self, number: int) -> list[Sample]:
        """Those of a part, from 1 on."""
        length = self.seconds / PARTS
        return [sample for sample in self.samples if (number - 1) * length <= sample.at < number * length]

    def most(self, name: str, number: int, value: Value) -> float:
        """The most that a process held in a part; if nobody looked in all of it, what was seen next to it."""
        middle = (number - 0.5) * self.seconds / PARTS
        samples = self.part(number) or [min(self.samples, key=lambda sample: abs(sample.at - middle))]
        return max(value(sample.processes[name]) for sample in samples)

    @property
    def processes(self) -> list[str]:
        """Their names."""
        return sorted({name for sample in self.samples for name in sample.processes})

    @property
    def stocks(self) -> list[str]:
        """The names of what has to be worked off."""
        return sorted({name for sample in self.samples for name in sample.stock})

    def tables(self) -> str:
        """The most of everything in each part, by process."""
        parts = [number for number in range(1, PARTS + 1) if self.part(number)]
        held = [self._row(number, name) for number in parts for name in self.processes]
        work = [self._stock(number) for number in parts]
        columns = ["until", "process", "RSS MiB", "anonymous MiB", "descriptors", "connections", "threads"]
        return "\n".join([table(held, columns), "", table(work, ["until", *self.stocks])])

    def _row(self, number: int, name: str) -> dict[str, str]:
        return {
            "until": self._until(number),
            "process": name,
            "RSS MiB": f"{self.most(name, number, lambda one: one.rss):.1f}",
            "anonymous MiB": f"{self.most(name, number, lambda one: one.anonymous):.1f}",
            "descriptors": f"{self.most(name, number, lambda one: one.descriptors):.0f}",
            "connections": f"{self.most(name, number, lambda one: one.connections):.0f}",
            "threads": f"{self.most(name, number, lambda one: one.threads):.0f}",
        }

    def _stock(self, number: int) -> dict[str, str]:
        samples = self.part(number)
        most = {name: max(sample.stock.get(name, 0.0) for sample in samples) for name in self.stocks}
        return {"until": self._until(number), **{name: f"{value:.1f}" for name, value in most.items()}}

    def _until(self, number: int) -> str:
        seconds = round(self.seconds * number / PARTS)
        return f"{seconds // 60}:{seconds % 60:02}"

    def limits(self) -> list[Limit]:
        """Of each process, and of each stock."""
        return [
            *(limit for name in self.processes for limit in self._growth(name)),
            *(self._bound(name) for name in self.stocks),
        ]

    def _growth(self, name: str) -> list[Limit]:
        def grown(what: str, value: Value, most: float, unit: str = "") -> Limit:
            before, after = self.most(name, REFERENCE, value), self.most(name, PARTS, value)
            told = f"{name}: {what} at the end over that of {self._until(REFERENCE)}"
            return Limit(told, after - before, most, count=True, unit=unit)

        return [
            grown("anonymous memory", lambda one: one.anonymous, MEMORY_MIB, "MiB"),
            grown("descriptors", lambda one: one.descriptors, MORE_DESCRIPTORS),
            grown("threads", lambda one: one.threads, MORE_THREADS),
        ]

    def _bound(self, name: str) -> Limit:
        measured = max(sample.stock.get(name, 0.0) for sample in self.samples)
        if name == OUTBOX_ROWS:
            return Limit(f"{name}, at any time", measured, OUTBOX_SECONDS * self.rate, count=True)
        most = OUTBOX_TABLE_MIB if name == OUTBOX_MIB else WAL_MIB
        return Limit(f"{name.removesuffix(' MiB')}, at any time", measured, most, count=True, unit="MiB")
