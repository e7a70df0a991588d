"""One simulated world: nodes, clients and chaos, all from one seed; then healing and the checks."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Final

import attrs

from ordering.application.messages import RecordedAnswer
from ordering.application.queries import Details
from ordering.domain.order import Order
from tests.simulation.chaos import Chaos
from tests.simulation.clients import Attempt, Client, Look
from tests.simulation.invariants import Watch, check_answer, check_answers, check_look, check_rest
from tests.simulation.nodes import TOPIC, Build, Cart, Reader
from tests.simulation.oracle import told
from tests.simulation.ports import Node, Outside
from tests.simulation.stepping import SteppingLoop, run_stepping
from tests.simulation.storm import Storm
from tests.simulation.swarm import Swarm

__all__ = ["Build", "Report", "World", "simulate"]

SPARED: Final = ("log.poisoned", "log.trimmed", "log.recreated", "log.history_lost")
"""What a world cannot have."""
HEALED_SECONDS: Final = 120
DRAIN_SECONDS: Final = 60
"""How long a healed core may take until everything is published and read."""


@attrs.frozen
class Report:
    """What one seed did: the hash of its trace, and how often everything was seen."""

    seed: int
    trace: str
    seen: dict[str, int]


class World:
    """Everything that happens for one seed."""

    def __init__(self, seed: int, build: Build) -> None:
        self.outside = outside = Outside(seed)
        self.rng, self.runtime, self.build = outside.rng, outside.runtime, build
        self.swarm = swarm = Swarm.drawn(self.rng)
        self._moments = self._nodes = 0
        self.ids = [f"order-{number}" for number in range(swarm.orders)] + ["bad-order"]
        self.attempts: list[Attempt] = []
        self.looks: list[Look] = []
        self.statuses: dict[str, str] = {}
        """Each order's status, as far as any client knows."""
        self.shown: dict[str, int] = {}
        """The highest version of each order that a reader has shown."""
        self.floors: dict[int, dict[int, int]] = {}
        """Where the log began when a generation of the read model was filled."""
        self.carts = [self._node(Cart) for _ in range(swarm.carts)]
        self.readers = [self._node(Reader) for _ in range(swarm.readers)]
        self.watch = Watch(self)
        self.chaos = Chaos(self)
        self.clients_gone = False

    def _node(self, kind: Any) -> Any:  # noqa: ANN401 -- Cart or Reader
        self._nodes += 1
        return kind(self.outside, self._nodes, self.build, self.swarm)

    # ------------------------------------------------------------------ for the actors

    @property
    def is_over(self) -> bool:
        """Whether clients have had their time."""
        return self.runtime.monotonic() > self.swarm.storm_seconds

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
        self.outside.saw(f"answer {heard.status} {kind}")
        self.outside.did("told", attempt.request_id, heard.version, heard.code)
        check_answer(attempt, answer, self.watch)
        if isinstance(answer, Order):
            self.statuses[answer.order_id] = str(answer.status)

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
            heard = told("GET", answer)
            self.outside.saw(f"read {heard.status} {heard.code}{' after waiting' if waited else ''}")
        check_look(look, self.watch)

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
        self._replace_now(node)

    def _replace_now(self, node: Node) -> None:
        for nodes, kind in ((self.carts, Cart), (self.readers, Reader)):
            for index, one in enumerate(nodes):
                if one is node:
                    nodes[index] = self._node(kind)

    # ------------------------------------------------------------------ a life

    async def live(self) -> None:
        """A storm, then calm weather until everything has arrived."""
        chaos = self.runtime.spawn(self.chaos.run(), name="chaos")
        self.runtime.spawn(Storm(self.outside, self.swarm.storm_seconds, SPARED).run(), name="storm")
        clients = [self.runtime.spawn(Client(self).run(), name="client") for _ in range(self.swarm.clients)]
        if self.swarm.liveness:
            await self.runtime.sleep(self.rng.uniform(0, self.swarm.storm_seconds))
            await self._heal_core()
        await asyncio.gather(*clients)
        if self.swarm.liveness:
            await self._settle(DRAIN_SECONDS)
            self.outside.saw("mode.liveness")
        chaos.cancel()
        self._heal_all()
        await self._settle(HEALED_SECONDS)
        await self.runtime.sleep(5)

    async def _heal_core(self) -> None:
        """The stores, the log, one cart and one reader are well from now on; the rest stays as it is."""
        self.outside.heal()
        self.chaos.outages = False
        core: tuple[Node, ...] = (self.rng.choice(self.carts), self.rng.choice(self.readers))
        for node in core:
            node.paused_until = 0.0
            if not node.alive:
                self._replace_now(node)
        self.chaos.spared = tuple(
            new if not old.alive else old for old, new in zip(core, (self.carts[0], self.readers[0]), strict=True)
        )

    def _heal_all(self) -> None:
        self.chaos.spared = (*self.carts, *self.readers)
        for node in (*self.carts, *self.readers):
            node.paused_until = 0.0
            if not node.alive:
                self._replace_now(node)
        self.chaos.spared = (*self.carts, *self.readers)
        self.outside.heal()

    async def _settle(self, seconds: int) -> None:
        """People unpark what was parked; everything else comes right by itself."""
        for _ in range(seconds):
            await self.outside.store.retry(None)
            await self.runtime.sleep(1)
            self._check_loops()
            if await self._settled():
                return
        assert await self._settled(), f"not settled after {seconds} seconds"

    async def _settled(self) -> bool:
        unpublished = (await self.outside.store.summary()).unpublished
        positions = await self.outside.views.positions(TOPIC)
        return not unpublished and all(positions.get(p, 0) == end for p, end in self.outside.log.ends().items())

    def _check_loops(self) -> None:
        for node in (*self.carts, *self.readers):
            for loop in node.loops:
                ended = node.alive and loop.done()
                assert not ended, f"{loop.get_name()} ended by itself: {loop.exception()!r}"

    async def check(self) -> None:
        """All promises, counted on every row."""
        check_answers(self.attempts, self.watch)
        await check_rest(self)


def simulate(seed: int, build: Build | None = None, begun: Callable[[World], None] = lambda _: None) -> Report:
    """Run and check one world; ``begun`` is given it before anything happens. Raises AssertionError if a promise is
    broken."""

    async def main(loop: SteppingLoop) -> Report:
        world = World(seed, build or Build())
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
