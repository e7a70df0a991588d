"""People at a terminal: they rebuild the read model, unpark orders, and release or discard what is held back."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.application.dead_letters import HeldRecords, Released
from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    LogChanged,
    StalePosition,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.generations import Difference, Progress
from ordering.application.messages import DeadReason, HeldRecord
from ordering.application.rebuild import Rebuild, RebuildLimits, RebuildRefused, Wishes
from tests.simulation.nodes import CODEC, TOPIC
from tests.simulation.ports import Node, SimRegistry, SimSource, SimStore, SimViews

if TYPE_CHECKING:
    from tests.simulation.world import World

LETTERS: Final = 50
TROUBLE: Final = (StoreUnavailable, BrokerUnavailable, CommitAmbiguous, StalePosition)


class Rebuilder(Node):
    """``ordering rebuild`` in a process of its own."""

    def __init__(self, world: "World", number: int) -> None:
        super().__init__(world.outside, number)
        rng, views = world.rng, SimViews(self)
        self._world = world
        self._found: list[Difference] = []
        self.refused = ""
        """Why it was."""
        self.rebuild = Rebuild(
            SimSource(self, alone=True),
            OrderEventDecoder(SimRegistry(self), CODEC),
            views,
            views.generations(),
            self.runtime,
            TOPIC,
            told=_nobody_listens,
            found=self._found.append,
            limits=RebuildLimits(
                fill_batch=rng.choice((1, 5, 1_000)),
                drop_batch=rng.choice((1, 1_000)),
                page=rng.choice((1, 100)),
                claim_seconds=rng.choice((0.0, 5.0)),
                patience_seconds=rng.choice((0.0, 0.5, 30.0)),
            ),
        )
        self.wishes = Wishes(verify_only=rng.random() < 0.3, partial=True, anew=rng.random() < 0.1)
        self.task = self.runtime.spawn(self._run(), name="rebuild")

    async def _run(self) -> None:
        """To its end; a log that was not trimmed gives the same rows again."""
        world = self._world
        try:
            report = await self.rebuild.run(self.wishes)
        except RebuildRefused as error:
            self.refused = str(error)
            world.outside.saw("rebuild.refused")
        except LogChanged:
            world.outside.saw("rebuild.log_changed")
        except TROUBLE:
            world.outside.saw("rebuild.gave_up")
        except Exception as error:
            world.break_off(f"a rebuild ended with {error!r}")
        else:
            world.outside.saw("rebuild.flipped" if report.flipped else "rebuild.verified")
            if report.resumed:
                world.outside.saw("rebuild.resumed")
            # What could be read only by one of the two is a difference until somebody releases it.
            unread = world.outside.seen["registry.unknown_id"] or world.outside.seen["views.rejected"]
            if not report.is_equal and not world.is_trimmed and not unread:
                world.break_off(f"I6: a rebuild found differences: {self._found[:3]}")


def _nobody_listens(_progress: Progress) -> None:
    return


class Terminal(Node):
    """``ordering outbox retry`` and ``ordering dead-letters release|discard``."""

    def __init__(self, world: "World", number: int) -> None:
        super().__init__(world.outside, number)
        self._world, self._outside = world, world.outside
        self._store, self._views = SimStore(self), SimViews(self)
        decoder = OrderEventDecoder(SimRegistry(self), CODEC)
        self._held = HeldRecords(self._views, decoder, self.runtime, TOPIC)

    async def unpark(self) -> None:
        """Everything that is parked is tried again."""
        try:
            if await self._store.retry(None):
                self._outside.saw("people.unparked")
        except TROUBLE:
            return

    async def settle_held(self, leave: Collection[str] = ()) -> None:
        """Release what can be read by now, discard what nobody will ever read, one letter after the other; orders whose
        first letter has one of the reasons ``leave`` are left to the consumer."""
        try:
            letters = await self._views.letters(LETTERS)
            for letter in letters:
                await self._settle(letter, leave)
        except TROUBLE:
            return
        except WriteRejected as error:
            self._world.break_off(f"I8: what is held can be neither released nor discarded: {error}")

    async def _settle(self, letter: HeldRecord, leave: Collection[str]) -> None:
        record = letter.record
        if letter.key is None:
            self._outside.meant.add(letter.place)
            done = await self._held.discard_keyless(record.partition, record.offset)
            self._saw(done)
            return
        first = next(iter(await self._views.held(letter.key)), None)
        if first is None or first.reason in leave:
            return
        is_hopeless = first.reason not in (DeadReason.UNKNOWN_SCHEMA, DeadReason.PARKED, DeadReason.REFUSED)
        # Who does not want to wait until the database takes it, or the registry knows it, makes a gap.
        is_hopeless |= first.reason in (DeadReason.REFUSED, DeadReason.UNKNOWN_SCHEMA) and self._outside.happens(0.3)
        if is_hopeless:
            self._outside.meant.add(first.place)
            self._saw(await self._held.discard(letter.key, first.place))
        else:
            self._saw(await self._held.release(letter.key))

    def _saw(self, done: Released) -> None:
        if done.discarded:
            self._outside.saw("people.discarded")
        if done.released:
            self._outside.saw("people.released")
