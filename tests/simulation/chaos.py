"""Deaths, pauses and people: one by one in a tempo of the seed's own, or after a script."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from tests.simulation.nodes import Cart, Reader
from tests.simulation.people import Rebuilder, Terminal
from tests.simulation.ports import Node
from tests.simulation.traps import Trap, struck

if TYPE_CHECKING:
    from tests.simulation.world import World

SCRIPT_PAUSE_SECONDS: Final = 0.5
REBUILDS_MAX: Final = 5
TRAPPED: Final = (0.5,)
TRAPPED_PEOPLE: Final = (0.8, 0.6, 0.4)
"""How many processes begin with a trap at one of their ports, with a second one, a third: services, and what people
start at a terminal, which calls most of its ports once only."""


class Chaos:
    """Breaks nodes. In liveness mode the slots of a core are spared from the moment of its healing on."""

    def __init__(self, world: "World") -> None:
        self._world, self._rng, self._outside = world, world.rng, world.outside
        self._traps: dict[Node, list[Trap]] = {}
        """Where processes are going to die or to stand still."""
        self.spared: tuple[tuple[type[Node], int], ...] = ()
        """Kind and place of nodes that nothing happens to."""
        self.is_over = False
        world.outside.at_port = self._at_port
        self._uniform: tuple[Callable[[], Awaitable[None]], ...] = (
            self._crash,
            self._crash,
            self._crash_at_port,
            self._crash_at_port,
            self._pause,
            self._pause_at_port,
            self._stop,
            self._stop,
            self._cut_off,
            self._people,
            self._people,
            *(() if world.swarm.trims else (self._clock,)),
            *((self._rebuild,) * 4 if world.swarm.rebuilds else ()),
        )
        self._scripts: dict[str | None, Callable[[], Awaitable[None]]] = {
            "crash loop": self._crash_loop,
            "rolling restart": self._rolling_restart,
            "two leaders": self._two_leaders,
            "broker flaps": self._broker_flaps,
            "store flaps": self._store_flaps,
            "all at once": self._all_at_once,
        }

    async def run(self) -> None:
        """Until cancelled."""
        world, rng = self._world, self._rng
        act = self._scripts.get(world.swarm.script, self._any)
        while True:
            await world.runtime.sleep(rng.uniform(0, 2 * world.swarm.tempo))
            await (act() if rng.random() < 0.7 else self._any())

    async def _any(self) -> None:
        await self._rng.choice(self._uniform)()

    def born(self, node: Node, trapped: tuple[float, ...] = TRAPPED) -> None:
        """A process begins; many have traps laid at their ports."""
        for chance in trapped:
            if self._rng.random() < chance:
                self._lay(node, Trap.drawn(self._rng, type(node).__name__))

    def _lay(self, node: Node, trap: Trap) -> None:
        self._traps.setdefault(node, []).append(trap)

    def _at_port(self, node: Node, what: str) -> None:
        """Called before each port call of each node."""
        if not self._traps or node not in self._traps:
            return
        for trap in list(self._traps[node]):
            if not trap.strikes(what):
                continue
            self._traps[node].remove(trap)
            if not self._is_spared(node):
                self._outside.saw(struck(type(node).__name__, what))
                self._strike(node, trap.fate)

    def _strike(self, node: Node, fate: str) -> None:
        if fate == "crash":
            self._outside.saw("process.died_at_port")
            self._world.crash(node, self._rng.choice((0.0, 1.0)))
        else:
            self._outside.saw("process.paused_at_port")
            node.paused_until = self._world.runtime.monotonic() + self._rng.uniform(0, 4)

    def _is_spared(self, node: Node) -> bool:
        return self.is_over or self._world.place_of(node) in self.spared

    def is_well(self, node: Node) -> bool:
        """Whether nothing happens to it any more."""
        return self._is_spared(node)

    # ------------------------------------------------------------------ single faults

    def _victim(self) -> Node | None:
        world = self._world
        nodes = [
            node
            for node in (*world.carts, *world.carts, *world.readers, *world.rebuilders)
            if node.alive and not self._is_spared(node)
        ]
        return self._rng.choice(nodes) if nodes else None

    async def _crash(self) -> None:
        if (node := self._victim()) is not None:
            self._outside.saw("process.killed")
            self._world.crash(node, self._rng.choice((0.0, 0.0, 1.0, 3.0)))

    async def _crash_at_port(self) -> None:
        if (node := self._victim()) is not None:
            self._lay(node, Trap("crash", self._rng.randrange(20)))

    async def _pause_at_port(self) -> None:
        if (node := self._victim()) is not None:
            self._lay(node, Trap("pause", self._rng.randrange(20)))

    async def _pause(self) -> None:
        if (node := self._victim()) is not None:
            self._outside.saw("process.paused")
            node.paused_until = self._world.runtime.monotonic() + self._rng.uniform(0, 4)

    async def _stop(self) -> None:
        """A restart as an operator does it: what was accepted is stored and published first."""
        node = self._victim()
        if isinstance(node, Cart):
            await self._stopped(node)
        elif isinstance(node, Reader):
            self._outside.saw("process.stopped")
            node.waiters.stop()
            try:
                await self._world.runtime.sleep(0.01)
            finally:
                self._world.crash(node, 0.0)

    async def _stopped(self, cart: Cart) -> None:
        """Whatever interrupts it, a process that has begun to stop ends."""
        self._outside.saw("process.stopped")
        try:
            await cart.stop()
        finally:
            self._world.crash(cart, 0.0)

    async def _cut_off(self) -> None:
        """One cart's network to the brokers, and only this, is down for a while, or for good."""
        node = self._victim()
        if isinstance(node, Cart):
            self._outside.saw("process.cut_off")
            node.cut_off = True
            if self._rng.random() < 0.7:
                await self._world.runtime.sleep(self._rng.uniform(0, 6))
                node.cut_off = False

    async def _clock(self) -> None:
        """Somebody sets a wall clock. Not where a world trims by age within seconds, which is meant for days."""
        if (node := self._victim()) is not None:
            self._outside.saw("process.clock_set")
            node.runtime.jump(self._rng.choice((-3600, 3600, 86_000)))

    def cut_off_others(self) -> None:
        """All carts that are not spared, for good: they are alive, reach the store, and deliver nothing."""
        for cart in self._world.carts:
            if cart.alive and not self._is_spared(cart):
                self._outside.saw("process.cut_off_for_good")
                cart.cut_off = True

    # ------------------------------------------------------------------ people

    async def _rebuild(self) -> None:
        world = self._world
        if len(world.rebuilders) < REBUILDS_MAX:
            rebuilder = Rebuilder(world, world.number())
            world.rebuilders.append(rebuilder)
            self.born(rebuilder, TRAPPED_PEOPLE)

    async def _people(self) -> None:
        terminal = Terminal(self._world, self._world.number())
        self.born(terminal, TRAPPED_PEOPLE)
        self._world.runtime.spawn(self._rng.choice((terminal.unpark, terminal.settle_held))(), name="people")

    # ------------------------------------------------------------------ scripts

    async def _crash_loop(self) -> None:
        """One node dies again and again before it can finish anything."""
        index = self._rng.randrange(len(self._world.carts))
        for _ in range(6):
            cart = self._world.carts[index]
            if cart.alive and not self._is_spared(cart):
                self._lay(cart, Trap("crash", self._rng.randrange(8)))
            await self._pause_of_script()

    async def _rolling_restart(self) -> None:
        """All carts, one after the other, under load."""
        for index in range(len(self._world.carts)):
            cart = self._world.carts[index]
            if cart.alive and not self._is_spared(cart):
                await self._stopped(cart)
            await self._pause_of_script()

    async def _two_leaders(self) -> None:
        """The leader sleeps longer than its lease, with its events at the producer, and wakes up among the living."""
        for cart in self._world.carts:
            if cart.alive and cart.relay.leading and not self._is_spared(cart):
                self._lay(cart, Trap("pause", self._rng.randrange(6)))
        await self._world.runtime.sleep(self._rng.uniform(2, 4))

    async def _broker_flaps(self) -> None:
        """Gone and back again, often."""
        if not self.spared:
            self._outside.saw("script: broker flaps")
            self._outside.broker_down = "all brokers are down"
            await self._pause_of_script()
            self._outside.broker_down = None

    async def _store_flaps(self) -> None:
        """The same with the database."""
        if not self.spared:
            self._outside.saw("script: store flaps")
            self._outside.store_down = True
            await self._pause_of_script()
            self._outside.store_down = False

    async def _all_at_once(self) -> None:
        """Every process of the house dies in one moment, with its power in half of the cases."""
        if self.spared:
            return
        for node in (*self._world.carts, *self._world.readers, *self._world.rebuilders):
            if node.alive:
                self._world.crash(node, self._rng.choice((0.0, 1.0)))
        if self._outside.power_may_fail:
            self._outside.power_cut()

    async def _pause_of_script(self) -> None:
        await self._world.runtime.sleep(self._rng.uniform(0, SCRIPT_PAUSE_SECONDS))
