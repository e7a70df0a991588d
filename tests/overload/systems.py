"""The system under overload: one cart and one order service, embedded or on the real parts."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.e2e import cluster_checker, crash_checker
from tests.e2e.crash_checker import Findings
from tests.e2e.crash_clients import Attempt
from tests.faults.cluster import Instance, environment
from tests.faults.parts import SETTLE_SECONDS, Parts
from tests.overload.service import SLOW_STORE
from tests.services.processes import free_ports

Attempts = dict[str, list[Attempt]]
Evidence = Callable[[Attempts], Findings]

MODULE = "tests.overload.service"


class ServeAll(Instance):
    """Both services of one ``serve all``, whose cart service is asked; their parent is stopped and started."""

    def __init__(self, env: Mapping[str, str], folder: Path, pythonpath: Path | None) -> None:
        super().__init__("all", "all-1", env, folder, pythonpath)
        del self._env["API_PORT"]
        self._env |= {"CART_API_PORT": str(self.port), "ORDER_API_PORT": str(free_ports(1)[0])}


@attrs.frozen
class System:
    """Both services, running, and what compares what clients were told with what is stored."""

    cart: Instance
    slowness: Path
    evidence: Evidence

    @contextmanager
    def slow_store(self, seconds: float) -> Iterator[None]:
        """Each batch takes so much longer during the block."""
        self.slowness.write_text(str(seconds))
        try:
            yield
        finally:
            self.slowness.unlink()

    async def settled(self, attempts: Attempts) -> Findings:
        """The findings once everything accepted is visible, or when the time for that is over."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            findings = await asyncio.to_thread(self.evidence, attempts)
            if findings.all_zero or time.monotonic() > deadline:
                return findings
            await asyncio.sleep(0.5)  # files or a database, written by two processes: nothing tells when they agree


@attrs.frozen
class Place:
    """Where systems run: in files, or (with ``parts``) on the real parts; with ``build`` a broken build of them."""

    parts: Parts | None = None
    build: Path | None = None

    @contextmanager
    def system(self, name: str, *, whole: bool = False, **settings: str) -> Iterator[System]:
        """Both services on stores of their own, of which nothing is left; as one ``serve all`` with ``whole``, which
        is embedded and knows no slow store."""
        if self.parts is None or whole:
            with self._embedded(settings, whole) as made:
                yield made
            return
        with self.parts.trial(name, **settings) as trial, tempfile.TemporaryDirectory() as folder:
            cluster, slowness = trial.cluster, Path(folder) / "slow"
            assert cluster.database is not None
            where = cluster_checker.Cluster(
                cluster.database, cluster.bootstrap, cluster.topic, f"{cluster.topic}-group"
            )
            cluster.module = MODULE
            cart = cluster.cart(**{SLOW_STORE: str(slowness)})
            cluster.order(**{SLOW_STORE: str(slowness)})
            yield System(cart, slowness, lambda attempts: cluster_checker.check(where, attempts, ()))

    @contextmanager
    def _embedded(self, settings: Mapping[str, str], whole: bool) -> Iterator[System]:
        with tempfile.TemporaryDirectory(prefix="ordering-overload-") as name:
            folder, slowness = Path(name), Path(name) / "slow"
            env = environment(
                ORDERING_MODE="embedded",
                ORDERING_DATA_DIR=str(folder / "data"),
                ORDERING_LOG_FORMAT="json",
                **{SLOW_STORE: str(slowness)},
                **settings,
            )
            instances = [
                Instance("cart", "cart-1", env, folder, self.build, MODULE),
                Instance("order", "order-1", env, folder, self.build, MODULE),
            ]
            if whole:
                instances = [ServeAll(env, folder, self.build)]
            try:
                for instance in instances:
                    instance.start()
                yield System(instances[0], slowness, lambda attempts: crash_checker.check(folder / "data", attempts))
            finally:
                for instance in instances:
                    if instance.process is not None:
                        instance.kill()


@attrs.frozen
class Open:
    """What the cart service has open. Databases and brokers are connected to when they are first needed, so on the
    real parts only connections of clients are counted, which is none."""

    instance: Instance
    descriptors: int | None

    @classmethod
    def of(cls, system: System, place: Place) -> Open:
        """As it is now, with no client connected."""
        return cls(system.cart, system.cart.descriptors() if place.parts is None else None)

    async def left(self, seconds: float = 30.0) -> int:
        """How many more it still has when all clients have gone; 0 as soon as there are none."""
        deadline = time.monotonic() + seconds
        while (more := self._more()) > 0 and time.monotonic() < deadline:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.1)
        return max(0, more)

    def _more(self) -> int:
        descriptors = 0 if self.descriptors is None else self.instance.descriptors() - self.descriptors
        return max(self.instance.connections(), descriptors)
