"""One simulated world: nodes, clients and chaos, all from one seed; then healing and the checks."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Final

import attrs

from ordering.application.errors import DuplicateOrder
from ordering.application.failures import BrokerUnavailable
from ordering.application.messages import DeadReason, RecordedAnswer
from ordering.application.partitioning import partition_of
from ordering.application.queries import Details
from ordering.domain.errors import IllegalTransition
from ordering.domain.order import Order
from tests.simulation.afterwards import ask_again, read_own_writes
from tests.simulation.attempts import Attempt, Look
from tests.simulation.chaos import Chaos
from tests.simulation.checks import check_answer, check_answers, check_look
from tests.simulation.clients import Client
from tests.simulation.invariants import Watch, check_rest
from tests.simulation.nodes import RETENTION, TOPIC, Cart, Reader
from tests.simulation.oracle import told
from tests.simulation.people import Rebuilder, Terminal
from tests.simulation.ports import Node, Outside
from tests.simulation.restore import Backup
from tests.simulation.stepping import SteppingLoop, run_stepping
from tests.simulation.storm import Storm
from tests.simulation.swarm import Swarm

__all__ = ["Report", "World", "simulate"]

HEALED_SECONDS: Final = 120
BAD_ORDER: Final = "bad-order"
"""An order that no store takes."""
DONE: Final = ("delivered", "cancelled")
REBUILT_SECONDS: Final = 120
CLOCKS_DIFFER_SECONDS: Final = 10
SECOND_DAY_REQUESTS: Final = 10
DRAIN_SECONDS: Final = 60
"""How long a healed core may take until everything is published and read."""
AFTERWARDS: Final = 0.5
"""In how many worlds people go on working when all is well."""


@attrs.frozen
class Report:
    """What one seed did: the hash of its trace, and how often everything was seen."""

    seed: int
    trace: str
    seen: dict[str, int]


class World:
    """Everything that happens for one seed."""

    def __init__(self, seed: int) -> None:
        self.outside = outside = Outside(seed)
        self.rng, self.runtime = outside.rng, outside.runtime
        self.swarm = swarm = Swarm.drawn(self.rng)
        self._moments = self._nodes = self._first = self._keys = 0
        self.ids = ["order-0"]
        self.attempts: list[Attempt] = []
        self.looks: list[Look] = []
        self.statuses: dict[str, str] = {}
        """Each order's status, as far as any client knows."""
        self.shown: dict[str, int] = {}
        """The highest version of each order that a reader has shown."""
        self.carts = [self._node(Cart) for _ in range(swarm.carts)]
        self.readers = [self._node(Reader) for _ in range(swarm.readers)]
        self.rebuilders: list[Rebuilder] = []
        self.watch = Watch(self)
        self.backup = Backup(self)
        self.is_closed = False
        """Whether nobody may start a cart just now."""
        self.chaos = Chaos(self)
        for node in (*self.carts, *self.readers):
            self.chaos.born(node)

    def _node(self, kind: Any) -> Any:  # noqa: ANN401 -- Cart or Reader
        return kind(self.outside, self.number(), self.swarm)

    # ------------------------------------------------------------------ for the actors

    @property
    def is_over(self) -> bool:
        """Whether clients have had their time."""
        return self.runtime.monotonic() > self.swarm.storm_seconds

    def order(self) -> str:
        """Any of those that are worked on: one that is done with makes room for the next."""
        chance = self.rng.random()
        if chance < 0.1:
            return BAD_ORDER if chance < self.swarm.bad else self.rng.choice(self.ids)
        while self.statuses.get(self.ids[self._first]) in DONE:
            self._first += 1
            self._know(self._first)
        wanted = self._first + self.rng.randrange(self.swarm.width)
        self._know(wanted)
        return self.ids[wanted]

    def key(self) -> str:
        """An idempotency key: a fresh one, or one that somebody had."""
        if self.rng.random() < self.swarm.fresh:
            self._keys += 1
        return f"k{self._keys if self.rng.random() < 0.8 else self.rng.randint(0, self._keys)}"

    def _know(self, index: int) -> None:
        self.ids += [f"order-{number}" for number in range(len(self.ids), index + 1)]

    def number(self) -> int:
        """A number for one more process."""
        self._nodes += 1
        return self._nodes

    def place_of(self, node: Node) -> tuple[type[Node], int]:
        """A node's kind and place; -1: it has none."""
        nodes: list[Any] = self.carts if isinstance(node, Cart) else self.readers
        return type(node), next((index for index, one in enumerate(nodes) if one is node), -1)

    @property
    def is_trimmed(self) -> bool:
        """Whether the beginning of the log is gone, or was when the topic was another one."""
        return self.outside.log.was_trimmed

    def break_off(self, why: str) -> None:
        """A promise was broken in a place that nobody awaits."""
        self.watch.broken = self.watch.broken or why

    def moment(self) -> int:
        """The next one of a count that all clients share."""
        self._moments += 1
        return self._moments

    def told(self, attempt: Attempt) -> None:
        """A client heard an answer to a write."""
        answer = attempt.answer
        assert answer is not None
        heard = told(attempt.write.method, answer)
        kind = "replay" if isinstance(answer, RecordedAnswer) else heard.code or attempt.write.method
        if isinstance(answer, BrokerUnavailable) and attempt.cart.is_full:
            kind += " backlog-full"
        self.outside.saw(f"answer {heard.status} {kind}")
        self.outside.did("told", attempt.request_id, heard.version, heard.code)
        check_answer(attempt, answer, self.watch)
        match answer:
            case Order():
                self.statuses[answer.order_id] = str(answer.status)
            case IllegalTransition():
                self.statuses[attempt.write.order_id] = str(answer.current)
            case DuplicateOrder():
                self.statuses.setdefault(attempt.write.order_id, "pending")

    def looked(self, look: Look, *, waited: bool) -> None:
        """A client heard an answer to a read."""
        answer = look.answer
        if isinstance(answer, Details):
            version = answer.order.version
            self.outside.saw("read 200 after waiting" if waited else "read 200")
            self.outside.did("shown", look.order_id, version)
            self.shown[look.order_id] = max(version, self.shown.get(look.order_id, 0))
        else:
            assert isinstance(answer, Exception)
            self.refused("read", answer, " after waiting" if waited else "")
        check_look(look, self.watch)

    def refused(self, what: str, answer: Exception, how: str = "") -> None:
        """A client heard a refusal of something that changes nothing."""
        heard = told("GET", answer)
        self.outside.saw(f"{what} {heard.status} {heard.code}{how}")

    def follow(self, tell: Callable[[float, str, tuple[object, ...]], None]) -> None:
        """Hear of everything that goes into the trace: when, what, and its facts."""
        did = self.outside.did

        def told(what: str, *facts: object) -> None:
            tell(self.runtime.monotonic(), what, facts)
            did(what, *facts)

        self.outside.did = told  # type: ignore[method-assign]

    def crash(self, node: Node, restart_after: float) -> None:
        """Kill a node; another one takes its place a while later."""
        node.crash()
        self.outside.did("crashed", node.number)
        self.runtime.spawn(self._replace(node, restart_after), name="restart")

    async def _replace(self, node: Node, after: float) -> None:
        await self.runtime.sleep(after)
        if not self.is_closed:
            self._replace_now(node)

    def replace_all(self) -> None:
        """Start the carts that do not run."""
        for cart in list(self.carts):
            if not cart.alive:
                self._replace_now(cart)

    def _replace_now(self, node: Node) -> None:
        for nodes, kind in ((self.carts, Cart), (self.readers, Reader)):
            for index, one in enumerate(nodes):
                if one is node:
                    nodes[index] = self._node(kind)
                    self.chaos.born(nodes[index])

    # ------------------------------------------------------------------ a life

    async def live(self) -> None:
        """A storm, then calm weather until everything has arrived."""
        spawn, swarm = self.runtime.spawn, self.swarm
        storm = [
            spawn(self.chaos.run(), name="chaos"),
            spawn(Storm(self.outside, swarm.storm_seconds).run(), name="storm"),
        ]
        if swarm.restores:
            storm.append(spawn(self.backup.take(), name="backup"))
        clients = [spawn(Client(self).run(), name="client") for _ in range(swarm.clients)]
        if swarm.liveness:
            await self.runtime.sleep(self.rng.uniform(0, swarm.storm_seconds))
            self._heal_core()
        await asyncio.gather(*clients)
        if swarm.liveness:
            await self._settle(DRAIN_SECONDS)
            self.outside.saw("mode.liveness")
        for task in storm:
            task.cancel()
        self._heal_all()
        await self._settle(HEALED_SECONDS)
        if swarm.trims:
            await self._second_day()
        if swarm.rebuilds and self.watch.is_log_lost:
            self.rebuilders.append(Rebuilder(self, self.number()))
        for rebuilder in self.rebuilders:
            if rebuilder.alive:
                await asyncio.wait([rebuilder.task], timeout=REBUILT_SECONDS)
                assert rebuilder.task.done(), "a rebuild does not end"
        await self._settle(HEALED_SECONDS)
        if self.rebuilders and not self.watch.is_log_lost:
            await self._rebuild_in_peace()
        if swarm.restores:
            await self.backup.restore()
            await self._settle(HEALED_SECONDS)
        await self.runtime.sleep(5)
        if not self.watch.is_log_lost and self.rng.random() < AFTERWARDS:
            await read_own_writes(self)
            if not (swarm.trims or swarm.restores):
                await ask_again(self)
            await self._settle(HEALED_SECONDS)
            await self.runtime.sleep(2)  # until every gate has looked at the backlog once more

    async def _rebuild_in_peace(self) -> None:
        """Nobody decides anything meanwhile, so it is not told to be run again."""
        last = Rebuilder(self, self.number())
        await asyncio.wait([last.task], timeout=REBUILT_SECONDS)
        assert last.task.done(), "a rebuild does not end"
        assert "run it again" not in last.refused, f"nobody is at work, and a rebuild was told: {last.refused}"

    def _heal_core(self) -> None:
        """The stores, the log, one cart and one reader are well from now on; the rest stays as it is."""
        self.outside.heal()
        core = (self.rng.randrange(len(self.carts)), self.rng.randrange(len(self.readers)))
        self.chaos.spared = ((Cart, core[0]), (Reader, core[1]))
        for node in (self.carts[core[0]], self.readers[core[1]]):
            self._heal(node)
        if self.rng.random() < 0.5:
            self.chaos.cut_off_others()

    def _heal_all(self) -> None:
        self.chaos.is_over = True
        self.outside.heal()
        self.outside.drop_constraints()
        for node in (*self.carts, *self.readers, *self.rebuilders):
            self._heal(node)

    def _heal(self, node: Node) -> None:
        node.paused_until, node.cut_off = 0.0, False
        if not node.alive:
            self._replace_now(node)

    async def _settle(self, seconds: int) -> None:
        """People unpark, release and discard; all else comes right by itself, also what waits for the registry."""
        terminal = Terminal(self, self.number())
        for second in range(seconds):
            # What has lost its partition is parked again, one after the other: people let the rest get its turn.
            if second % 10 == 0 or self._has_all_partitions():
                await terminal.unpark()
            await terminal.settle_held(leave=(DeadReason.UNKNOWN_SCHEMA,))
            for reader in self.readers:  # the log may be the one again that the read model was filled from
                if reader.alive and reader.consumer.halted and not self.watch.is_log_lost:
                    self.crash(reader, 0.0)
            await self.runtime.sleep(1)
            self._check_loops()
            if await self._settled():
                return
        raise AssertionError(f"not settled after {seconds} seconds: {await self._unsettled()}")

    async def _settled(self) -> bool:
        return not any((await self._unsettled()).values())

    async def _unsettled(self) -> dict[str, object]:
        """What is not as it should be in the end."""
        outside = self.outside
        positions, ends = await outside.views.positions(TOPIC), outside.log.ends()
        behind = {p: (positions.get(p, 0), end) for p, end in ends.items() if positions.get(p, 0) != end}
        stats = await outside.views.stats()
        unpublished = [ref for ref in outside.store._outbox if self._has_partition(ref[0])]
        if self.watch.is_log_lost:
            return {"unpublished": unpublished, "nobody has noticed": not await self.watch.is_loss_noticed()}
        return {"unpublished": unpublished, "behind": behind, "held": stats.parked or stats.dead_letters}

    def _has_all_partitions(self) -> bool:
        return self.outside.store._partitions.get(TOPIC, 1) <= len(self.outside.log.partitions)

    def _has_partition(self, order_id: str) -> bool:
        """A topic that was made anew may lack partitions that orders have."""
        count = self.outside.store._partitions.get(TOPIC, 1)
        return partition_of(order_id.encode(), count) < len(self.outside.log.partitions)

    async def _second_day(self) -> None:
        """What may be trimmed by age goes; the orders stay as they are, and so do the answers about them."""
        await self.runtime.sleep(RETENTION.journal_seconds + 2 * CLOCKS_DIFFER_SECONDS)
        client = Client(self)
        for attempt in self.rng.sample(self.attempts, min(SECOND_DAY_REQUESTS, len(self.attempts))):
            await client.send(attrs.evolve(attempt.write, key=None))

    def _check_loops(self) -> None:
        for node in (*self.carts, *self.readers):
            for loop in node.loops:
                if not node.alive or not loop.done():
                    continue
                fault = None if loop.cancelled() else loop.exception()
                is_meant = node.consumer.halted if isinstance(node, Reader) else node.commit.stopping
                assert fault is None, f"{loop.get_name()} ended by itself: {fault!r}"
                assert is_meant, f"{loop.get_name()} ended by itself"

    async def check(self) -> None:
        """All promises, counted on every row."""
        check_answers(self.attempts, self.watch)
        await check_rest(self)


def simulate(seed: int, begun: Callable[[World], None] = lambda _: None) -> Report:
    """Run and check one world; ``begun`` is given it before anything happens. Raises AssertionError if a promise is
    broken."""

    async def main(loop: SteppingLoop) -> Report:
        world = World(seed)
        begun(world)
        loop.after_step = world.watch.step
        await world.live()
        await world.check()
        for attempt in world.attempts:
            world.outside.did(
                "attempt", attempt.request_id, attempt.began, attempt.ended if attempt.ended < inf else None
            )
        return Report(seed, world.outside.trace, dict(world.outside.seen))

    return run_stepping(main)
