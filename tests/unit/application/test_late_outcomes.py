"""What was decided on a look that is out of date, and what comes to pass after somebody has given it up."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from ordering.adapters.memory.log import MemorySource
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.application.compare_log import Reconciler
from ordering.application.failures import StoreUnavailable
from ordering.application.messages import NewEvent, Rejected, Standing
from tests.unit.application.log_and_store import OURS, Decoder, World
from tests.unit.application.relay_bench import RelayBench
from tests.unit.application.runtime import VirtualRuntime, passing, run


async def test_a_park_that_comes_to_pass_after_the_event_was_published_parks_nothing(runtime: VirtualRuntime) -> None:
    """The refusal is out of date by then: nobody has to let the order go on."""
    bench = RelayBench(runtime).start()
    await passing(1)
    late: list[tuple[object, ...]] = []

    async def park(*given: object) -> None:
        late.append(given)
        raise StoreUnavailable("the database does not answer")

    bench.store.park = park  # type: ignore[method-assign,assignment]
    verdicts = iter([Rejected("topic things has no partition 5")])
    bench.publisher.verdict = lambda _record: next(verdicts, None)
    await bench.commit("a")
    await passing(5)
    assert bench.logged("a") == [1]
    del bench.store.park
    await bench.store.park(*late[0])  # type: ignore[arg-type]
    assert (await bench.store.summary()).parked == 0
    await bench.commit("a", offered=False)  # by another instance
    await passing(5)
    assert bench.logged("a") == [1, 2]


async def test_an_event_is_not_tried_again_while_it_is_being_parked(runtime: VirtualRuntime) -> None:
    """The store takes its time. Else it may be taken at the second try: published, and its order parked."""
    bench = RelayBench(runtime).start()
    await passing(1)
    bench.store.parking_seconds = 3
    verdicts = iter([Rejected("topic things has no partition 5")])
    bench.publisher.verdict = lambda _record: next(verdicts, None)
    await bench.commit("a")
    await passing(10)
    assert bench.publisher.batches == [["a:1"]]
    assert bench.observer.names.count("outbox.parked") == 1
    assert [row.event.version for row in await bench.store.waiting(10, parked_only=True)] == [1]


async def test_an_order_goes_on_once_another_relay_has_published_its_refused_event(runtime: VirtualRuntime) -> None:
    """Both had it under way, and the log answered them differently: nothing of the order waits for people."""
    bench = RelayBench(runtime).start()
    await passing(1)
    verdicts = iter([Rejected("the record is larger than the broker takes")])
    bench.publisher.verdict = lambda _record: next(verdicts, None)
    await bench.commit("a")
    await passing(5)
    assert (await bench.store.summary()).parked == 1
    await bench.store.mark_published([("a", 1)])  # by the other relay
    assert (await bench.store.summary()).parked == 0
    await bench.commit("a", offered=False)  # by another instance
    await passing(5)
    assert bench.logged("a") == [2]


class Halting(MemoryOrderStore):
    """The store as one sees it who is halted between the look and the act: somebody else acts meanwhile."""

    def __init__(self, world: World, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._world, self._meanwhile = world, meanwhile

    async def standings(self, keys: Collection[str]) -> Mapping[str, Standing]:
        return await self._world.store.standings(keys)

    async def adopt(self, events: Sequence[NewEvent]) -> None:
        await self._meanwhile()
        await self._world.store.adopt(events)


def test_of_two_who_reconcile_at_once_the_slower_one_takes_nothing_back() -> None:
    """The faster one has ended, the services run again, and a change was accepted: it stays."""

    async def main() -> None:
        world = World(partitions=1)
        await world.change("a")
        await world.publish()
        backup = copy.deepcopy(world.store)
        await world.change("a")
        await world.publish()
        world.restore(backup)

        async def meanwhile() -> None:
            assert (await world.reconcile()).changes == 1
            await world.check()
            await world.change("a")

        source = MemorySource(world.log, "slower", lambda: 0)
        await Reconciler(source, Decoder(), Halting(world, meanwhile), OURS).run(dry_run=False)
        assert await world.store.standings({"a"}) == {"a": Standing(3, "e3", {3: "e3"})}

    run(main())
