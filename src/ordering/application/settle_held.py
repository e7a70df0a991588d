"""What was decided about held records, for a generation that was filled without knowing of it."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

from ordering.application.dead_letters import HeldRecords
from ordering.application.messages import DeadReason, DecodedEvent, HeldRecord, Record, Undecodable
from ordering.application.patience import Patience
from ordering.application.ports import EventDecoder, Generations, ProjectionStore, Runtime

PAGE = 100


class DecisiveDecoder:
    """EventDecoder that holds back what people have discarded, also if it could be read by now: to be discarded again
    where it stands, as it was."""

    def __init__(self, decoder: EventDecoder, generations: Generations, topic: str) -> None:
        self._decoder, self._generations, self._topic = decoder, generations, topic

    async def decode(self, records: Sequence[Record]) -> Sequence[DecodedEvent | Undecodable]:
        """Also raises what the store raises."""
        events = await self._decoder.decode(records)
        discarded = await self._discarded(records)
        if not discarded:
            return events
        return [
            Undecodable(DeadReason.DISCARDED, "people have discarded it", event.key)
            if (record.partition, record.offset) in discarded
            else event
            for record, event in zip(records, events, strict=True)
        ]

    async def _discarded(self, records: Sequence[Record]) -> set[tuple[int, int]]:
        spans: dict[int, tuple[int, int]] = {}
        for record in records:
            first, last = spans.get(record.partition, (record.offset, record.offset))
            spans[record.partition] = min(first, record.offset), max(last, record.offset)
        return {
            (partition, offset)
            for partition, span in spans.items()
            for offset in await self._generations.discards(self._topic, partition, *span)
        }


TO_RETRY: Final = (DeadReason.UNKNOWN_SCHEMA, DeadReason.REFUSED)
"""Why one generation may hold a record that another one does not: what registry and database say changes."""


class HeldDecisions:
    """People have discarded records, whose word the log does not hold; the registry has learned schemas that it did not
    know when a record was read. One generation's store is given both."""

    def __init__(
        self,
        generations: Generations,
        store: ProjectionStore,
        decoder: EventDecoder,
        runtime: Runtime,
        topic: str,
        patience: Patience,
        honoured: Collection[tuple[int, int]] = (),
    ) -> None:
        """``honoured``: the places of discarded records that are not applied here, whatever becomes of them."""
        self._generations, self._store, self._topic, self._patience = generations, store, topic, patience
        self._honoured = {*honoured}
        """Those and the ones that were held here."""
        self._held = HeldRecords(store, decoder, runtime, topic)

    async def settle_all(self) -> None:
        """Everything held. Raises StoreUnavailable, RegistryUnavailable, CommitAmbiguous."""
        await self._discard_all_again()
        async for key in self._waiting(DeadReason.UNKNOWN_SCHEMA):
            await self._release(key)
        await self._discard_all_again()

    async def settle(self, key: str | None) -> None:
        """The same for what one key holds, and what the database has refused of it is tried once more."""
        await self._discard_all_again(key)
        if key is not None and (first := await self.first_held(key)) is not None and first.reason in TO_RETRY:
            await self._release(key)
            await self._discard_all_again(key)

    async def is_undone(self) -> bool:
        """Whether something is held first of its key that people have discarded."""
        for letter in await self._discarded():
            first = None if letter.key is None else await self.first_held(letter.key)
            if letter.key is None or (first is not None and first.place == letter.place):
                return True
        return False

    async def overlooks(self, floors: Mapping[int, int]) -> bool:
        """Whether this generation has applied a record that people have discarded since, which nothing takes back: it
        is past its place (``floors``: where partitions begin), does not hold it, and has not dropped it in this run."""
        snapshot = await self._patience(lambda: self._store.load(self._topic, ()))
        past = await self.discards(snapshot.positions, floors)
        # Asked for last, so that what is discarded in between, and held here, does not count.
        return bool(past - {letter.place for letter in await self._discarded()} - self._honoured)

    async def discards(self, ends: Mapping[int, int], begins: Mapping[int, int]) -> set[tuple[int, int]]:
        """The places of all that people have discarded so far, of these parts of the partitions."""
        found: set[tuple[int, int]] = set()
        for partition, end in ends.items():
            span = begins.get(partition, 0), end - 1
            offsets = await self._patience(lambda: self._generations.discards(self._topic, partition, *span))  # noqa: B023
            found.update((partition, offset) for offset in offsets)
        return found

    async def to_retry(self) -> AsyncIterator[str]:
        """The keys whose first held record is held for what may be otherwise in another generation."""
        for reason in TO_RETRY:
            async for key in self._waiting(reason):
                yield key

    async def first_held(self, key: str) -> HeldRecord | None:
        """What blocks a key."""
        return next(iter(await self._patience(lambda: self._store.held(key))), None)

    async def _discard_all_again(self, *keys: str | None) -> None:
        """What a discarded record blocked is folded, and may hold the next one; so is what a release uncovers."""
        while await self._discard_again(*keys):
            pass

    async def _discard_again(self, *keys: str | None) -> int:
        """Each discarded record that blocks its key now; how many went. Without keys: of all."""
        gone = 0
        for letter in await self._discarded():
            self._honoured.add(letter.place)
            if not keys or letter.key in keys:
                gone += await self._discard(letter.key, letter.place)
        return gone

    async def _discarded(self) -> Sequence[HeldRecord]:
        generation = (await self._patience(lambda: self._store.load(self._topic, ()))).generation
        return await self._patience(lambda: self._generations.discarded(generation, self._topic))

    async def _discard(self, key: str | None, place: tuple[int, int]) -> int:
        async def discard() -> int:
            if key is None:
                return (await self._held.discard_keyless(*place)).discarded
            return (await self._held.discard(key, place)).discarded

        return await self._patience(discard)

    async def _waiting(self, reason: DeadReason) -> AsyncIterator[str]:
        after = ""
        while keys := await self._held_keys(reason, after):
            for key in keys:
                yield key
            after = keys[-1]

    async def _held_keys(self, reason: DeadReason, after: str) -> Sequence[str]:
        return await self._patience(lambda: self._store.held_keys(reason, PAGE, after=after))

    async def _release(self, key: str) -> None:
        await self._patience(lambda: self._held.release(key))


class Losses:
    """What people would lose if this generation took the place of the live one: orders that it cannot show, and their
    word about records that it had applied before they discarded them."""

    def __init__(
        self, decisions: HeldDecisions, live: ProjectionStore, patience: Patience, floors: Mapping[int, int]
    ) -> None:
        self._decisions, self._live, self._patience, self._floors = decisions, live, patience, floors

    async def hidden(self) -> Counter[str]:
        """How many orders are held here earlier than in the live generation, by reason, after one more try."""
        found: Counter[str] = Counter()
        async for key in self._decisions.to_retry():
            if await self._hidden_by(key):
                await self._decisions.settle(key)  # registry or database may have come to another mind just now
                if (first := await self._hidden_by(key)) is not None:
                    found[first.reason] += 1
        return found

    async def overlooked(self) -> bool:
        """Whether people have discarded what had been applied here."""
        return await self._decisions.overlooks(self._floors)

    async def any_now(self) -> bool:
        """Whether there is one, or something that people have discarded is still held here; nothing is tried."""
        if await self._decisions.is_undone() or await self.overlooked():
            return True
        async for key in self._decisions.to_retry():
            if await self._hidden_by(key):
                return True
        return False

    async def _hidden_by(self, key: str) -> HeldRecord | None:
        """What holds an order here earlier than it is held in the live generation."""
        first = await self._decisions.first_held(key)
        live = next(iter(await self._patience(lambda: self._live.held(key))), None)
        is_hidden = first is not None and first.reason in TO_RETRY and (live is None or live.place > first.place)
        return first if is_hidden else None
