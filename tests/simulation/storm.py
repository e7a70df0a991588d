"""What happens to everybody for a while: servers go and come back, partitions lose leaders, topics grow, and worse."""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.simulation.foreign import ForeignProducer
from tests.simulation.outside import Outside
from tests.simulation.weather import EVENTS, FATES

LONGEST_SECONDS: Final = 4.0
GROWN_MAX: Final = 6


class Storm:
    """The events of the seed's weather, each as often as it says; ended by calm weather.

    ``spared`` names events that this world cannot have. A fate strikes once.
    """

    def __init__(self, outside: Outside, seconds: float, spared: tuple[str, ...] = ()) -> None:
        self._outside, self._rng, self._seconds = outside, outside.rng, seconds
        self._foreign = ForeignProducer(outside)
        self._acts: dict[str, Callable[[], Awaitable[None]]] = {
            "store.down": self._store_down,
            "store.full": self._store_full,
            "store.stalled": self._store_stalled,
            "views.down": self._views_down,
            "log.down": self._log_down,
            "log.leaderless": self._leaderless,
            "log.grown": self._grown,
            "log.poisoned": self._foreign.send,
            "log.trimmed": self._trimmed,
            "log.compacted": self._compacted,
            "group.rebalanced": self._rebalanced,
            "registry.down": self._registry_down,
            "registry.forgot": self._registry_forgot,
            "power.cut_at_server": self._power_cut,
            "log.recreated": self._recreated,
            "log.history_lost": self._history_lost,
        }
        assert self._acts.keys() == {*EVENTS, *FATES}
        for name in spared:
            del self._acts[name]

    async def run(self) -> None:
        """Until the weather is calm."""
        while True:
            rates = {name: rate for name in self._acts if (rate := self._outside.weather.rates.get(name))}
            total = sum(rates.values())
            if not total:
                return
            await self._outside.runtime.sleep(self._rng.expovariate(total / self._seconds))
            (name,) = self._rng.choices(list(rates), list(rates.values()))
            if self._outside.weather.rates.get(name):
                act = self._acts.pop(name) if name in FATES else self._acts[name]
                self._outside.saw(name)
                self._outside.runtime.spawn(act(), name=name)

    async def _while(self, longest: float = LONGEST_SECONDS) -> None:
        await self._outside.runtime.sleep(self._rng.choice((self._rng.uniform(0, 0.2), self._rng.uniform(0, longest))))

    # ------------------------------------------------------------------ stores

    async def _store_down(self) -> None:
        self._outside.store_down = True
        await self._while()
        self._outside.store_down = False
        for wake in list(self._outside.followers.values()):
            wake()  # whoever listens wakes once when it can again

    async def _store_full(self) -> None:
        self._outside.store_full = True
        await self._while()
        self._outside.store_full = False

    async def _store_stalled(self) -> None:
        self._outside.store_stalled.clear()
        await self._while()
        self._outside.store_stalled.set()

    async def _views_down(self) -> None:
        self._outside.views_down = True
        await self._while()
        self._outside.views_down = False
        for wake in list(self._outside.view_followers.values()):
            wake(None)

    async def _power_cut(self) -> None:
        """One server's: its clients live on and see their calls fail. It comes when there is something to lose."""
        outside, device = self._outside, self._rng.choice(("store", "log", "views"))
        disk = {"store": outside.store_disk, "log": outside.log.disk, "views": outside.views_disk}[device]
        enough = self._rng.choice((0, 1, 2, 4))
        for _ in range(400):
            if disk.unsafe >= enough:
                break
            await outside.runtime.sleep(0.005)
        outside.power_cut((device,))

    # ------------------------------------------------------------------ log, group, registry

    async def _log_down(self) -> None:
        self._outside.broker_down = "all brokers are down"
        await self._while()
        self._outside.broker_down = None

    async def _leaderless(self) -> None:
        log = self._outside.log
        partition = self._rng.randrange(len(log.partitions))
        log.leaderless.add(partition)
        await self._while()
        log.leaderless.discard(partition)
        log.wake()

    async def _grown(self) -> None:
        log = self._outside.log
        log.grow(min(GROWN_MAX, len(log.partitions) + 1))

    async def _trimmed(self) -> None:
        """Retention takes what every reader has read."""
        log, positions = self._outside.log, await self._outside.views.positions(self._outside.log.topic)
        partition = self._rng.randrange(len(log.partitions))
        begin, reached = log.begins.get(partition, 0), positions.get(partition, 0)
        if begin < reached:
            log.trim(partition, self._rng.randint(begin, reached))

    async def _compacted(self) -> None:
        """Readers get nothing for a while; then an operator's clean-up removes what they have not read and should."""
        log, seconds = self._outside.log, self._rng.choice((0.5, 2.0, 7.0))
        log.withheld = True
        await self._outside.runtime.sleep(self._rng.uniform(0, seconds))
        share = self._rng.choice((0.5, 1.0))
        for _ in range(log.compact(lambda: self._outside.happens(share))):
            self._outside.saw("log.record_gone")
        log.withheld = False
        log.wake()

    async def _rebalanced(self) -> None:
        self._outside.group.rebalance()

    async def _registry_down(self) -> None:
        self._outside.registry_down = True
        await self._while()
        self._outside.registry_down = False

    async def _registry_forgot(self) -> None:
        """One of its instances has not heard of our schema yet."""
        self._outside.unknown_ids.add(1)
        await self._while()
        self._outside.unknown_ids.discard(1)
        self._outside.saw("registry.id_learned")

    # ------------------------------------------------------------------ fates

    async def _recreated(self) -> None:
        log = self._outside.log
        log.recreate(self._rng.choice((1, 1, len(log.partitions))))

    async def _history_lost(self) -> None:
        """Retention takes what has not been read."""
        log = self._outside.log
        for partition, records in enumerate(log.partitions):
            log.trim(partition, len(records))
