"""Those who use the API: they hang up, ask twice, change their mind, and ask to see what they wrote."""

import random
from types import NoneType
from typing import TYPE_CHECKING, Final

import attrs

from ordering.application.commands import Answer, Context
from ordering.application.errors import TopicNotFound
from ordering.application.failures import NotStored, OutcomeUnknown
from ordering.domain.errors import InvalidInput
from ordering.domain.inputs import read_change_status, read_place_order
from ordering.entrypoints.http.headers import if_match
from ordering.entrypoints.http.requests import once_of
from ordering.entrypoints.http.strict_json import decode
from tests.http.api_model import STEPS, Write
from tests.http.api_writes import BAD_CREATES, BAD_UPDATES
from tests.simulation.attempts import Attempt, Look
from tests.simulation.checks import check_list
from tests.simulation.nodes import TOPIC, Reader
from tests.simulation.oracle import RENDER, SUCCESS, change, create

if TYPE_CHECKING:
    from tests.simulation.world import World

PATHS: Final = {"POST": "/api/create-order", "PUT": "/api/update-order"}
ITEMS: Final = (
    '"items":[{"itemId":"I-1","quantity":2,"price":10.50}]',
    '"currency":"JPY","items":[{"itemId":"I-2","quantity":1,"price":999}]',
    '"customerId":"C-1","items":[{"itemId":"I-1","quantity":1,"price":0.01}]',
)
CARTS: Final = (
    (("I-1", 2, 1050),),
    (("I-2", 1, 999),),
    (("I-1", 1, 1),),
)


class Client:
    """One of them: draws what it does from the world's numbers. ``patience``: after how many seconds it may hang up;
    otherwise as the world's clients do."""

    def __init__(self, world: "World", patience: tuple[float | None, ...] = ()) -> None:
        self._world, self._rng, self._swarm = world, world.rng, world.swarm
        self._patiences = patience or self._swarm.patience
        self._last: Attempt | None = None
        self._known: dict[str, int] = {}
        """Versions it was told, by order."""

    async def run(self) -> None:
        """All its requests, or as many as fit into the storm."""
        world, rng, swarm = self._world, self._rng, self._swarm
        for _ in range(swarm.requests):
            await world.runtime.sleep(rng.choice((0.0, swarm.think_seconds, rng.uniform(0, swarm.think_seconds))))
            if world.is_over:
                return
            if rng.random() < swarm.read:
                await (self._read() if rng.random() < 0.8 else self._list())
                continue
            await self._write()
            if self._last is not None and isinstance(self._last.answer, NotStored):
                await world.runtime.sleep(rng.uniform(0, 0.5))

    # ------------------------------------------------------------------ writing

    async def _write(self) -> None:
        last, rng = self._last, self._rng
        if last is not None and isinstance(last.answer, NotStored | OutcomeUnknown | NoneType) and rng.random() < 0.5:
            write = last.write  # nobody answered, or not yet: ask again
        elif last is not None and rng.random() < self._swarm.repeat:
            write = self._variation(last.write)
        else:
            write = self._new()
        self._last = await self.send(write)

    def _new(self) -> Write:
        rng, swarm = self._rng, self._swarm
        if rng.random() < swarm.malformed:
            return _malformed(rng)
        key = self._world.key() if rng.random() < swarm.keyed else None
        order_id = self._world.order()
        status = self._world.statuses.get(order_id)
        if rng.random() < (0.1 if status else 0.9):
            return create(order_id, rng.randint(1, 2), key) if rng.random() < 0.7 else _cart(rng, order_id, key)
        known = self._known.get(order_id, 1)
        matched = (known, rng.choice((known, 7))) if rng.random() < swarm.matched else None
        return change(order_id, self._step(status), key, matched)

    def _step(self, status: str | None) -> str:
        """Mostly one that the life cycle has."""
        legal = STEPS[status] if status else []
        return self._rng.choice(legal if legal and self._rng.random() < 0.7 else list(STEPS))

    def _variation(self, write: Write) -> Write:
        """The same once more; or under the same key, something else."""
        if write.body_faults or write.key is None or self._rng.random() < 0.6:
            return write
        return attrs.evolve(self._new_like(write), key=write.key)

    def _new_like(self, write: Write) -> Write:
        if write.method == "POST":
            return create(self._world.order(), 3)
        return change(write.order_id, self._step(self._world.statuses.get(write.order_id)))

    async def send(self, write: Write) -> Attempt:
        """One request to any cart."""
        world = self._world
        cart = self._rng.choice(world.carts)
        attempt = Attempt(f"request-{len(world.attempts)}", write, cart, world.moment())
        world.attempts.append(attempt)
        attempt.answer = await self._sent(attempt)
        if attempt.answer is not None:
            attempt.ended = world.moment()
            world.told(attempt)
            version = getattr(attempt.answer, "version", getattr(attempt.answer, "etag", None))
            if version is not None:
                self._known[write.order_id] = version
        return attempt

    async def _sent(self, attempt: Attempt) -> Answer | Exception | None:
        write, cart = attempt.write, attempt.cart
        body = write.body.encode()
        try:
            document = decode(body)
            if write.method == "POST":
                wanted = read_place_order(document, default_currency="USD")
                return await cart.ask(lambda: cart.place(wanted, self._context(attempt)), self._patience())
            changed = read_change_status(document)
        except InvalidInput as refused:
            return refused
        versions = if_match(write.if_match)
        assert not hasattr(versions, "code")
        return await cart.ask(
            lambda: cart.change(changed, self._context(attempt), if_match=versions),  # type: ignore[arg-type]
            self._patience(),
        )

    @staticmethod
    def _context(attempt: Attempt) -> Context:
        write = attempt.write
        if write.key is None:
            return Context(attempt.request_id)
        scope = f"{write.method} {PATHS[write.method]}"
        once = once_of(scope, write.key, write.body.encode(), SUCCESS[write.method], RENDER[write.method])
        return Context(attempt.request_id, once=once)

    def _patience(self) -> float | None:
        return self._rng.choice(self._patiences)

    # ------------------------------------------------------------------ reading

    async def _read(self) -> None:
        rng, world = self._rng, self._world
        order_id = rng.choice(list(self._known)) if self._known and rng.random() < 0.7 else world.order()
        wanted = self._known.get(order_id, 1) + rng.choice((0, 0, 0, 1))
        await self.look(order_id, wanted, rng.choice((0.0, 0.2, 2.0, 30.0)), rng.choice(world.readers))

    async def look(self, order_id: str, wanted: int, wait: float, reader: Reader) -> Look:
        """One query."""
        world = self._world
        look = Look(order_id, wanted, world.moment(), world.shown.get(order_id, 0))
        world.looks.append(look)
        patience = self._patience()
        look.answer = await reader.ask(lambda: reader.details(order_id, min_version=wanted, wait=wait), patience)
        if look.answer is not None:
            look.ended = world.moment()
            world.looked(look, waited=wait > 0)
        return look

    async def _list(self) -> None:
        """All ids of the topic, which must be complete; a log that loses records meanwhile has no end to be up to."""
        world = self._world
        watch, log = world.watch, world.outside.log
        known = [order_id for order_id in watch.events if watch.in_log(order_id)]
        reader, losses = self._rng.choice(world.readers), (log.disk.power_cuts, len(log.gone))
        topic = TOPIC if self._rng.random() < 0.9 else "another-topic"

        async def ids() -> list[str]:
            return [key async for page in await reader.ids(topic) for _, key in page]

        answer = await reader.ask(ids, None)
        assert answer is None or isinstance(answer, TopicNotFound) == (topic != TOPIC), f"{topic}: {answer}"
        if isinstance(answer, Exception):
            world.refused("list", answer)
        elif answer is not None:
            world.outside.saw("list 200")
            if losses == (log.disk.power_cuts, len(log.gone)) and not (watch.is_log_lost or watch.is_partial):
                check_list(answer, known)


def _malformed(rng: random.Random) -> Write:
    method, bodies = rng.choice((("POST", BAD_CREATES), ("PUT", BAD_UPDATES)))
    body, faults = rng.choice(bodies)
    return Write(method, body, body_faults=tuple(faults))


def _cart(rng: random.Random, order_id: str, key: str | None) -> Write:
    number = rng.randrange(len(CARTS))
    body = f'{{"orderId":"{order_id}",{ITEMS[number]}}}'
    currency, customer = ("JPY" if number == 1 else None), ("C-1" if number == 2 else None)
    return Write("POST", body, order_id, CARTS[number], currency, customer, key=key)
