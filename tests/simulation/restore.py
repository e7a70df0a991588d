"""A bad day of an operator: the order store is put back to a backup, and brought up to the log again."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

import attrs

from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.application.compare_log import Reconciled, Reconciler, StoreBehindLog
from ordering.application.failures import BrokerUnavailable, CommitAmbiguous, NotStored, StoreUnavailable
from tests.simulation.clients import Client
from tests.simulation.disk import restore_store, saved_store
from tests.simulation.nodes import CODEC, SOURCE
from tests.simulation.oracle import create
from tests.simulation.ports import Node, SimRegistry, SimSource, SimStore, Weather

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE_SECONDS: Final = 30
TRIES: Final = 50
REQUESTS: Final = 10
WEATHER: Final = {"store.busy": 0.2, "store.read_failed": 0.1, "store.mark_failed": 0.2, "store.late": 0.1,
                  "log.poll_failed": 0.1, "log.short_poll": 0.5, "registry.no_schema": 0.2}  # fmt: skip


class Backup:
    """A copy of the order store from some moment of the storm. ``behind``: how many orders have gone on since."""

    def __init__(self, world: "World") -> None:
        self._world, self._outside = world, world.outside
        self._saved: dict[str, Any] | None = None

    async def take(self) -> None:
        """At any moment, while everybody works; or before anybody does, as if no store were left."""
        rng = self._world.rng
        await self._world.runtime.sleep(rng.choice((0.0, 1.0)) * rng.uniform(0, self._world.swarm.storm_seconds))
        self._outside.store_disk.seen()
        self._saved = saved_store(self._outside.store)

    async def restore(self) -> None:
        """All carts stop, the store is put back; none publishes before people have reconciled store and log."""
        world, outside = self._world, self._outside
        if self._saved is None or outside.store._outbox or world.watch.is_log_lost or world.is_trimmed:
            return
        world.is_closed = True
        for cart in world.carts:
            world.crash(cart, 0.0)
        await world.runtime.sleep(5)
        if outside.store._outbox:  # a commit that nobody waits for any more came late: what a backup cannot bring back
            world.is_closed = False
            world.replace_all()
            return
        outside.store_disk.writing(promised=True)
        world.watch.is_store_old = True
        restore_store(outside.store, self._saved)
        outside.store_disk.promised()
        outside.saw("store.restored")
        behind = self._behind()
        await self._start_too_early(behind)
        await self._reconcile(behind)
        assert not self._behind(), f"I1: reconciled, and yet behind the log: {self._behind()}"
        world.watch.is_store_old = world.is_closed = False
        world.replace_all()
        client = Client(world)
        for attempt in world.rng.sample(world.attempts, min(REQUESTS, len(world.attempts))):
            await client.send(attrs.evolve(attempt.write, key=None))

    def _behind(self) -> list[str]:
        states = self._outside.store._states
        return [
            order_id
            for order_id, events in self._world.watch.events.items()
            if events and (order_id not in states or states[order_id].version < len(events))
        ]

    async def _start_too_early(self, behind: list[str]) -> None:
        """Somebody starts the carts before anything was reconciled: they find out, take nothing and publish nothing."""
        world, ends = self._world, self._outside.log.ends()
        if not behind:
            return
        world.replace_all()
        world.ids.append(f"order-{len(world.ids)}")
        refused = await Client(world).send(create(world.ids[-1], 1))
        assert refused.answer is None or isinstance(refused.answer, NotStored), f"an old store took {refused}"
        relays = [cart.loops[1] for cart in world.carts]
        await asyncio.wait(relays, timeout=PATIENCE_SECONDS)
        for relay in relays:
            assert relay.done(), "the store is older than the log, and the relay runs"
            assert isinstance(relay.exception(), StoreBehindLog), f"the relay ended with {relay!r}"
        assert self._outside.log.ends() == ends, "an old store has published"
        self._outside.saw("store.found_old")
        for cart in world.carts:
            world.crash(cart, 0.0)

    async def _reconcile(self, behind: list[str]) -> None:
        """In all weather, killed in the middle now and then, until it says that nothing is left to do."""
        world, outside = self._world, self._outside
        outside.weather = Weather(WEATHER, slowest=0.02, store_slowest=0.02)
        adopted: dict[str, None] = {}
        for _ in range(TRIES):
            told = await self._tried()
            if told is not None:
                adopted |= told.orders
                if not told.orders:
                    break
        else:
            raise AssertionError("reconciling does not come to an end")
        outside.heal()
        assert not told.dropped, f"nothing had been published, and yet {told.dropped} went"
        assert {*adopted} <= {*behind}, f"behind were {behind}, {adopted} were adopted"
        world.outside.saw("people.reconciled")

    async def _tried(self) -> Reconciled | None:
        world = self._world
        terminal = Node(world.outside, world.number())
        reconciler = Reconciler(
            SimSource(terminal, alone=True), OrderEventDecoder(SimRegistry(terminal), CODEC), SimStore(terminal), SOURCE
        )
        work = terminal.runtime.spawn(_told(reconciler), name="reconcile")
        await asyncio.wait([work], timeout=world.rng.choice((0.01, 0.1, PATIENCE_SECONDS)))
        if work.done():
            return work.result()
        terminal.crash()
        world.outside.saw("people.reconcile_killed")
        return None


async def _told(reconciler: Reconciler) -> Reconciled | None:
    try:
        return await reconciler.run(dry_run=False)
    except (StoreUnavailable, BrokerUnavailable, CommitAmbiguous):
        return None
