"""What a running system holds: its processes, by /proc; its WAL files, or the outbox in the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import attrs

from tests.e2e.crash_system import System
from tests.faults.cluster import Instance

MIB = 1 << 20
TRIES = 100
_OUTBOX = "SELECT count(*), pg_total_relation_size('ordering_cart.outbox') FROM ordering_cart.outbox"

OUTBOX_ROWS, OUTBOX_MIB = "outbox rows", "outbox MiB"


@attrs.frozen
class Vitals:
    """One process at one moment. ``rss`` and ``anonymous``, which is the part of it that no file backs, are in MiB;
    ``descriptors`` are all but those of clients' ``connections``."""

    rss: float
    anonymous: float
    descriptors: int
    connections: int
    threads: int

    @classmethod
    def of(cls, instance: Instance) -> Vitals:
        """As it is now; AssertionError with its last words if it has ended."""
        process = instance.process
        assert process is not None, f"{instance.name} does not run"
        assert not process.ended(), f"{instance.name} ended with {process.status}:\n{instance.last_words()}"
        text = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        told = dict(line.split(":", 1) for line in text.splitlines())
        rss, anonymous = (int(told[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
        descriptors, connections = _open(instance)
        return cls(rss, anonymous, descriptors, connections, int(told["Threads"]))


def _open(instance: Instance) -> tuple[int, int]:
    """Descriptors but for clients' connections, and these; again if somebody has come or gone between the counts."""
    for _ in range(TRIES):
        connections, descriptors = instance.connections(), instance.descriptors()
        if connections == instance.connections():
            break
    return descriptors - connections, connections


@attrs.frozen
class Sample:
    """Everything at one moment, so many seconds after the beginning."""

    at: float
    processes: Mapping[str, Vitals]
    stock: Mapping[str, float]
    """What has to be worked off: MiB of each WAL, or rows and MiB of the outbox."""


Stock = Callable[[], Awaitable[Mapping[str, float]]]


async def watch(system: System, stock: Stock, seconds: float, interval: float) -> list[Sample]:
    """Samples of so many seconds."""
    samples, began = list[Sample](), time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        processes = {instance.name: Vitals.of(instance) for instance in system.both}
        samples.append(Sample(at, processes, await stock()))
        await asyncio.sleep(interval)  # the sampling's rate, not a wait for something
    return samples


async def connections_left(system: System, seconds: float = 30.0) -> int:
    """How many connections of clients are still open when all clients have gone; 0 as soon as there are none."""
    deadline = time.monotonic() + seconds
    while (left := sum(one.connections() for one in system.both)) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # nothing tells of it
    return left


@asynccontextmanager
async def stock_of(system: System) -> AsyncIterator[Stock]:
    """What tells how much there is to be worked off."""
    if system.database is None:

        async def wals() -> Mapping[str, float]:
            return _wals(system.data)

        yield wals
        return
    connection = await asyncpg.connect(system.database)
    try:

        async def outbox() -> Mapping[str, float]:
            rows, size = await connection.fetchrow(_OUTBOX)
            return {OUTBOX_ROWS: rows, OUTBOX_MIB: size / MIB}

        yield outbox
    finally:
        await connection.close()


def _wals(data: Path) -> Mapping[str, float]:
    return {f"{path.name} MiB": path.stat().st_size / MIB for path in sorted(data.glob("*.db-wal"))}
