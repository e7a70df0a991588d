"""The real Kafka, schema registry and PostgreSQL of a benchmark, on the load's core."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import attrs

from benchmarks.processes import LOAD_CORE
from tests.services.kafka import Kafka
from tests.services.lifeline import children
from tests.services.postgres import Postgres
from tests.services.processes import Process
from tests.services.registry import Registry

Part = TypeVar("Part", Kafka, Registry, Postgres)


@attrs.frozen
class Services:
    """What the contestants share."""

    kafka: Kafka
    registry: Registry
    postgres: Postgres


@contextmanager
def on_the_load_core() -> Iterator[Services]:
    """All three, running; they and this process (whose children are the load) are kept on the load's core meanwhile.

    Raises Missing if one of them cannot run on this machine.
    """
    before = os.sched_getaffinity(0)
    with ExitStack() as exits:
        # PostgreSQL with its default settings but the address: fsync and synchronous_commit are on.
        services = Services(_ended(exits, Kafka()), _ended(exits, Registry()), _ended(exits, Postgres()))
        for part in (services.kafka, services.registry, services.postgres):
            part.start()
        # Only now: a JVM that starts on one core chooses other garbage collectors and compilers than people run.
        for part in (services.kafka, services.registry, services.postgres):
            _keep(part.process, LOAD_CORE)
        os.sched_setaffinity(0, {LOAD_CORE % (os.cpu_count() or 1)})
        try:
            yield services
        finally:
            os.sched_setaffinity(0, before)


def _ended(exits: ExitStack, part: Part) -> Part:
    """The part, which ends with the block, started or not."""
    exits.callback(part.stop)
    return part


def _keep(process: Process | None, core: int) -> None:
    """Keep a process, its children and all their threads on one core; what they start later inherits it."""
    assert process is not None
    waiting = [process.pid]
    while waiting:
        pid = waiting.pop()
        waiting += children(pid)
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core % (os.cpu_count() or 1)})
