"""The generations of a read model in memory."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from ordering.adapters.memory.generation import Generation
from ordering.application.failures import StalePosition
from ordering.application.generations import Figures, GenerationsFound, HeldPage, RowsPage, require_equal
from ordering.application.messages import Changes, HeldRecord, LogIdentity, Snapshot
from ordering.application.ports import LastChanges

FLIP_SECONDS: Final = 1.0
"""How long consumers may have to wait."""


class Model:
    """What outlives a process: all generations, the pointer, what people have discarded, and who rebuilds."""

    def __init__(self) -> None:
        self.pointer = 1
        self.generations: dict[int, Generation] = {1: Generation()}
        self.leftovers: set[int] = set()
        self.discarded: set[tuple[str, int, int]] = set()
        self.rebuilder: object | None = None
        self._flipping: asyncio.Event | None = None

    async def no_flip(self) -> None:
        """Return when the pointer is not being moved."""
        while self._flipping is not None:
            await self._flipping.wait()

    async def hold(self) -> None:
        """Keep commits out from here on."""
        await self.no_flip()
        self._flipping = asyncio.Event()

    def let_go(self) -> None:
        """Let them in again."""
        assert self._flipping is not None
        self._flipping.set()
        self._flipping = None

    def remember(self, changes: Changes) -> None:
        """What was discarded."""
        self.discarded.update((changes.topic, partition, offset) for partition, offset in changes.discarded)


class MemoryGenerations:
    """Generations, of one process: an object of its own stands for it. A process that is gone without a word has to
    ``release`` here."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def claim(self) -> str | None:
        if self._model.rebuilder not in (None, self):
            return "another one in this process"
        self._model.rebuilder = self
        return None

    async def release(self) -> None:
        if self._model.rebuilder is self:
            self._model.rebuilder = None

    async def found(self) -> GenerationsFound:
        model = self._model
        building = [number for number in model.generations if number > model.pointer and number not in model.leftovers]
        others = sorted(model.generations.keys() - {model.pointer, *building})
        topics = sorted(topic for topic, at in model.generations[model.pointer].positions.items() if at)
        return GenerationsFound(model.pointer, building[0] if building else None, tuple(others), tuple(topics))

    async def begin(self, topic: str, identity: LogIdentity) -> int:
        number = max(self._model.generations) + 1
        self._model.generations[number] = Generation(identities={topic: identity})
        return number

    def store(self, generation: int) -> "MemoryProjection":
        return MemoryProjection(self._model, generation)

    async def rows(self, generation: int, topic: str, after: str | None, limit: int) -> RowsPage:
        one = self._one(generation)
        keys = sorted(key for key in one.rows if after is None or key > after)
        return RowsPage(one.at(topic), tuple([one.rows[key] for key in keys[:limit]]))

    async def letters(self, generation: int, topic: str, after: tuple[int, int], limit: int) -> HeldPage:
        one = self._one(generation)
        places = sorted(place for place in one.held if place[0] == topic and place[1:] > after)
        return HeldPage(one.at(topic), tuple([one.held[place] for place in places[:limit]]))

    async def figures(self, generation: int, topic: str) -> Figures:
        one = self._one(generation)
        return Figures(one.at(topic), one.stats())

    async def discarded(self, generation: int, topic: str) -> Sequence[HeldRecord]:
        held = self._one(generation).held
        return [held[place] for place in sorted(held) if place[0] == topic and place in self._model.discarded]

    async def discards(self, topic: str, partition: int, first: int, last: int) -> Collection[int]:
        places = self._model.discarded
        return [
            offset
            for name, number, offset in places
            if (name, number) == (topic, partition) and first <= offset <= last
        ]

    async def flip(self, topic: str, generation: int, floors: Mapping[int, int], last: LastChanges) -> None:
        model = self._model
        await model.hold()
        try:
            live, new = model.generations[model.pointer], self._one(generation)
            try:
                async with asyncio.timeout(FLIP_SECONDS):
                    changes = await last(live.at(topic))
            except TimeoutError:
                raise StalePosition("the last records did not come in time") from None
            reached = {partition: at for partition, (_, at) in changes.positions.items()} if changes else {}
            require_equal(live.at(topic), new.at(topic) | reached, floors)
            if changes is not None:
                new.store(changes)
            model.leftovers.add(model.pointer)
            model.pointer = generation
        finally:
            model.let_go()

    async def drop(self, generation: int, limit: int) -> int:
        model = self._model
        one = model.generations.get(generation)
        if one is None:
            return 0
        assert generation != model.pointer, "the live generation is not dropped"
        model.leftovers.add(generation)
        keys, places = list(one.rows)[:limit], list(one.held)[:limit]
        for key in keys:
            del one.rows[key]
        for place in places[: limit - len(keys)]:
            del one.held[place]
        if not one.rows and not one.held:
            del model.generations[generation]
            model.leftovers.discard(generation)
        return len(keys) + len(places[: limit - len(keys)])

    def _one(self, generation: int) -> Generation:
        return self._model.generations.get(generation, Generation())


class MemoryProjection:
    """ProjectionStore on one generation that is not live."""

    def __init__(self, model: Model, number: int) -> None:
        self._model, self._number = model, number

    async def identity(self, topic: str) -> LogIdentity | None:
        return self._one.identities.get(topic)

    async def record_identity(self, topic: str, identity: LogIdentity) -> LogIdentity:
        return self._one.identities.setdefault(topic, identity)

    async def load(self, topic: str, keys: Collection[str]) -> Snapshot:
        return Snapshot(self._number, self._one.at(topic), self._one.known(keys))

    async def commit(self, changes: Changes) -> None:
        model, number = self._model, self._number
        gone = number not in model.generations or number in model.leftovers
        if gone or number == model.pointer or changes.generation != number:
            raise StalePosition(f"generation {changes.generation} is not being filled")
        self._one.store(changes)
        model.remember(changes)

    async def held(self, key: str | None) -> Sequence[HeldRecord]:
        return self._one.held_for(key)

    async def held_keys(self, reason: str, limit: int, *, after: str = "") -> Sequence[str]:
        return self._one.held_keys(reason, limit, after)

    @property
    def _one(self) -> Generation:
        return self._model.generations.get(self._number, Generation())
