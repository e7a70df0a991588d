"""The real parts that scenarios break: started when first needed, shared by the scenarios of a run, one at a time."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import attrs

from tests.e2e import cluster_checker
from tests.e2e.crash_checker import Findings
from tests.e2e.crash_clients import Attempt, Ledger, counts, read_ledger
from tests.faults.cluster import Cluster, running
from tests.services.kafka import Kafka
from tests.services.part import Part
from tests.services.postgres import Postgres
from tests.services.registry import Registry

SETTLE_SECONDS = 90.0
"""How long the healed system may take until everything accepted is visible: generous, this is no limit of ours."""

AnyPart = TypeVar("AnyPart", bound=Part)


@attrs.frozen
class Trial:
    """One system under one scenario, with the ledger of what its clients were told."""

    cluster: Cluster
    ledger: Ledger
    path: Path

    async def settled(self, strangers: Collection[str] = ()) -> Findings:
        """The checker's findings once nothing is missing any more, or when the time for that is over.

        ``strangers`` are keys in the topic that did not come from the cart service.
        """
        ledger = read_ledger(self.path)
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            findings = await asyncio.to_thread(self.look, ledger, strangers)
            if findings.all_zero or time.monotonic() > deadline:
                return findings
            await asyncio.sleep(0.5)  # a database, a broker and two processes: nothing tells when they agree

    def look(self, ledger: Mapping[str, list[Attempt]], strangers: Collection[str] = ()) -> Findings:
        """The checker's findings now."""
        assert self.cluster.database is not None
        where = cluster_checker.Cluster(
            self.cluster.database, self.cluster.bootstrap, self.cluster.topic, f"{self.cluster.topic}-group"
        )
        return cluster_checker.check(where, ledger, strangers)

    def counts(self) -> str:
        """How much was tried, in words."""
        return counts(read_ledger(self.path))

    def statuses(self) -> Mapping[int | None, int]:
        """How often each status was answered; None: no answer."""
        found: dict[int | None, int] = {}
        for of_order in read_ledger(self.path).values():
            for attempt in of_order:
                found[attempt.status] = found.get(attempt.status, 0) + 1
        return found


class Parts:
    """Kafka, registry and PostgreSQL of a run. With ``build`` (a folder for PYTHONPATH) the services are a broken
    build. Whatever a scenario breaks, it repairs before it ends, or ``close`` ends it all."""

    def __init__(self, build: Path | None = None) -> None:
        self.build = build
        self._exits = ExitStack()
        self._trials = 0

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every part that was started."""
        self._exits.close()

    def _started(self, make: Callable[[], AnyPart]) -> AnyPart:
        made = make()
        self._exits.enter_context(made)
        return made

    @cached_property
    def kafka(self) -> Kafka:
        """One broker; raises Missing where it cannot run, like the others."""
        return self._started(Kafka)

    @cached_property
    def postgres(self) -> Postgres:
        """One server; every trial has a database of its own."""
        return self._started(Postgres)

    @cached_property
    def registry(self) -> Registry:
        """Its schemas are in memory, so that nothing of it depends on the broker. It cannot be killed and come back."""
        return self._started(Registry)

    @cached_property
    def lasting_registry(self) -> Registry:
        """Its schemas are in the broker: it can be killed and come back."""
        return self._started(lambda: Registry(storage="kafkasql", bootstrap=self.kafka.bootstrap))

    @contextmanager
    def trial(
        self, name: str, *, lasting: bool = False, topic: bool = True, build: Path | None = None, **settings: str
    ) -> Iterator[Trial]:
        """A prepared cluster without instances, on a topic and a database of its own; nothing of it is left.

        ``lasting``: on the registry that can be killed. Without ``topic`` the topic does not exist yet. ``build`` is
        a broken build for this trial alone.
        """
        self._trials += 1
        unique = f"{name}-{self._trials}"
        registry = self.lasting_registry if lasting else self.registry
        with tempfile.TemporaryDirectory(prefix="ordering-fault-") as folder, ExitStack() as exits:
            database = self.postgres.create_database(unique)
            exits.callback(self.postgres.drop_database, unique)
            path = Path(folder) / "ledger.jsonl"
            cluster = Cluster(
                Path(folder),
                bootstrap=self.kafka.bootstrap,
                registry=registry.url,
                database=database,
                topic=unique,
                pythonpath=build or self.build,
                **settings,
            )
            cluster.prepare(topic=topic)
            ledger = exits.enter_context(closing(Ledger(path)))
            yield Trial(exits.enter_context(running(cluster)), ledger, path)
