"""The system under the crash test, in either mode: a cart and an order service, each a process that dies alone."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import attrs

from tests.e2e.crash_checker import Findings, check
from tests.e2e.crash_clients import Attempt, Ledger, read_ledger
from tests.faults.cluster import Instance, environment
from tests.faults.parts import Parts

SETTLE_SECONDS = 90.0
"""How long the healed system may take until everything accepted is visible: generous, this is no limit of ours."""
QUIET_SECONDS = 6.0
"""Once both services are back and nothing has changed for so long, nothing will: what is missing stays missing."""


@attrs.frozen
class Mode:
    """What differs between the modes."""

    name: str
    freeze: tuple[float, float]
    """How long a process stands still, in seconds."""
    visible: float
    """Seconds from a kill until what is written then is visible."""


EMBEDDED = Mode("embedded", freeze=(0.1, 0.6), visible=2.0)
# A relay that stands still for longer than its lease of 2 s is replaced, if there is another one; a dead member of a
# consumer group keeps its partitions for its session of 6 s.
CLUSTER = Mode("cluster", freeze=(0.1, 3.0), visible=15.0)


@attrs.frozen
class System:
    """Both services, neither started yet, and the ledger of what their clients were told."""

    mode: Mode
    cart: Instance
    order: Instance
    ledger: Ledger
    path: Path
    look: Callable[[Mapping[str, list[Attempt]]], Findings]
    """The checker's findings now."""
    database: str | None = None
    """Of both stores, if they are not files."""

    @property
    def data(self) -> Path:
        """Where the files of the services are."""
        return self.path.with_name("data")

    @property
    def both(self) -> tuple[Instance, Instance]:
        """Every process of the system."""
        return self.cart, self.order

    async def settled(self, *, patient: bool = True) -> Findings:
        """The findings once nothing is missing any more, or when the time for that is over: with less patience as
        soon as nothing moves."""
        ledger = read_ledger(self.path)
        deadline, before, since = time.monotonic() + SETTLE_SECONDS, None, time.monotonic()
        while True:
            findings, now = await asyncio.to_thread(self.look, ledger), time.monotonic()
            if findings != before:
                before, since = findings, now
            at_rest = not patient and now > since + QUIET_SECONDS
            if findings.all_zero or at_rest or now > deadline:
                return findings
            await asyncio.sleep(0.3)  # stores, log and two processes: nothing tells when they agree


@contextmanager
def embedded(build: Path | None = None, **settings: str) -> Iterator[System]:
    """On files in a temporary folder; ``build`` is a broken build, ``settings`` are more of both services' own.
    Nothing of it survives the block."""
    with tempfile.TemporaryDirectory(prefix="ordering-crash-") as name:
        folder = Path(name)
        data, path = folder / "data", folder / "ledger.jsonl"
        data.mkdir()
        env = environment(
            ORDERING_MODE="embedded",
            ORDERING_DATA_DIR=str(data),
            ORDERING_LOG_FORMAT="json",
            PYTHONUNBUFFERED="1",
            **settings,
        )
        cart, order = (Instance(part, part, env, folder, build) for part in ("cart", "order"))
        try:
            with closing(Ledger(path)) as ledger:
                yield System(EMBEDDED, cart, order, ledger, path, lambda told: check(data, told))
        finally:
            for instance in (cart, order):
                if instance.process is not None:
                    instance.resume()
                    instance.kill()


@contextmanager
def clustered(parts: Parts, build: Path | None = None) -> Iterator[System]:
    """On Kafka, registry and PostgreSQL, with a topic and a database of its own; ``build`` is a broken build."""
    with parts.trial("crash", build=build) as trial:
        cart, order = trial.cluster.cart(start=False), trial.cluster.order(start=False)
        database = trial.cluster.database
        yield System(CLUSTER, cart, order, trial.ledger, trial.path, trial.look, database)
