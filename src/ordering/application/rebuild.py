"""The rebuild: the read model filled from the log once more, beside the live one, compared with it, then exchanged.

The new generation is filled by the same pure projection as the live one, so it is what the log says. Queries and
consumers know nothing of it. All that a rebuild has to remember are the new generation's positions, which move with its
rows: one that was killed goes on from there. The exchange is one transaction at equal positions that no consumer's
transaction can pass; a consumer that finds the pointer moved goes on with the new generation, from the same positions.
"""

from collections.abc import Callable, Collection, Mapping

import attrs

from ordering.application.compare_generations import PAGE, Comparison, Pair
from ordering.application.consume_events import is_same_log, require_same_log
from ordering.application.failures import (
    BrokerUnavailable,
    CommitAmbiguous,
    LogChanged,
    Refused,
    RegistryUnavailable,
    StalePosition,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.generations import Difference, GenerationsFound, Phase, Progress, RebuildReport
from ordering.application.messages import Changes, DeadReason, LogIdentity
from ordering.application.patience import Patience, Waits, nobody_waits
from ordering.application.ports import EventDecoder, Generations, ProjectionStore, Runtime, WholeLog
from ordering.application.project_batches import BatchProjector
from ordering.application.projection import project
from ordering.application.read_up_to import ReadUpTo
from ordering.application.settle_held import DecisiveDecoder, HeldDecisions, Losses


class RebuildRefused(Refused):
    """This rebuild would do harm, or another one is at work; one line that says what to do."""


@attrs.frozen
class RebuildLimits:
    """Bounds of a rebuild. Batches are events or rows a transaction: while it lasts, others wait for it.

    ``claim_seconds``: how long another rebuild's end is awaited; ``patience_seconds``: how long a store or log that is
    unavailable, or a log that gives nothing, is tried again before the rebuild gives up (it may be resumed later).
    ``rest_seconds``: between two batches of removal.
    """

    fill_batch: int = 1_000
    drop_batch: int = 1_000
    page: int = PAGE
    poll_seconds: float = 0.5
    pause_seconds: float = 0.2
    rest_seconds: float = 0.01
    claim_seconds: float = 5.0
    patience_seconds: float = 30.0
    flip_tries: int = 100


@attrs.frozen
class Wishes:
    """What the caller wants. ``verify_only``: compare and throw the new generation away. ``partial``: also from a log
    whose beginning was deleted. ``anew``: throw away what an earlier rebuild filled and left."""

    verify_only: bool = False
    partial: bool = False
    anew: bool = False


class Rebuild:
    """One rebuild of one topic's read model; ``run`` may be called once."""

    def __init__(
        self,
        log: WholeLog,
        decoder: EventDecoder,
        live: ProjectionStore,
        generations: Generations,
        runtime: Runtime,
        topic: str,
        *,
        told: Callable[[Progress], None],
        found: Callable[[Difference], None],
        waits: Waits = nobody_waits,
        limits: RebuildLimits | None = None,
    ) -> None:
        self._log, self._live, self._generations = log, live, generations
        self._decoder = DecisiveDecoder(decoder, generations, topic)
        self._runtime, self._topic, self._told, self._found = runtime, topic, told, found
        self._limits = limits or RebuildLimits()
        self._patiently = Patience(runtime, self._limits.patience_seconds, self._limits.pause_seconds, waits)
        self._feed = ReadUpTo(log)
        self._astray = True
        """Whether the feed may not stand where the new generation does."""
        self._floors: Mapping[int, int] = {}
        self._number = 0
        self._events = 0
        self._resumed = False

    async def run(self, wishes: Wishes) -> RebuildReport:
        """From begin or resume to the end; the report.

        Raises RebuildRefused, LogChanged (not the log of this read model), and StoreUnavailable, BrokerUnavailable or
        CommitAmbiguous if one of these lasts, and RegistryUnavailable if the registry has forgotten what the live
        generation was read with: what was filled stays and the next run goes on with it.
        """
        began = self._runtime.monotonic()
        await self._claim()
        try:
            state = await self._patiently(self._generations.found)
            for leftover in state.leftovers:
                await self._drop(leftover, Phase.CLEARING)
            await self._set_up(state, wishes)
            await self._fill()
            comparison = await self._compare(state.live)
            await self._require_nothing_overlooked()
            ahead = await self._patiently(self._ahead)
            if not wishes.verify_only:
                await self._flip()
            await self._drop(self._number if wishes.verify_only else state.live, Phase.DROPPING)
        finally:
            await self._release()
        return RebuildReport(
            self._number,
            self._resumed,
            self._events,
            self._runtime.monotonic() - began,
            comparison.rows,
            comparison.differences,
            comparison.held,
            not wishes.verify_only,
            self._floors,
            ahead,
        )

    async def _ahead(self) -> int:
        live, ends = (await self._live.load(self._topic, ())).positions, await self._log.end_offsets()
        return sum(max(0, end - live.get(partition, 0)) for partition, end in ends.items())

    # ------------------------------------------------------------------ begin or resume

    async def _claim(self) -> None:
        deadline = self._runtime.monotonic() + self._limits.claim_seconds
        while (holder := await self._patiently(self._generations.claim)) is not None:
            if self._runtime.monotonic() >= deadline:
                raise RebuildRefused(f"another rebuild of this read model is at work ({holder}): wait for its end")
            await self._runtime.sleep(self._limits.pause_seconds)

    async def _release(self) -> None:
        try:
            await self._generations.release()
        except (StoreUnavailable, CommitAmbiguous):
            return  # it ends with the process

    async def _set_up(self, state: GenerationsFound, wishes: Wishes) -> None:
        identity = await self._recognise(state)
        live = (await self._patiently(lambda: self._live.load(self._topic, ()))).positions
        self._floors = await self._require_history(live, partial=wishes.partial)
        # What is discarded by now is not applied when it is read, if the log still has it. It is asked before it is
        # looked what an earlier run has read.
        known = await self._decisions_of(self._live).discards(live, {})
        number = state.building
        if number is not None and (wishes.anew or not await self._may_resume(number, live, identity)):
            await self._drop(number, Phase.CLEARING)
            number = None
        self._resumed = number is not None
        if number is None:
            number = await self._begin(identity)
        self._number = number
        self._store = self._generations.store(number)
        self._decisions = self._decisions_of(self._store, known)
        self._losses = Losses(self._decisions, self._live, self._patiently, self._floors)
        self._project = BatchProjector(self._decoder, self._store, self._runtime, self._topic)
        await self._start_at_the_floors()

    async def _recognise(self, state: GenerationsFound) -> LogIdentity:
        others = [topic for topic in state.topics if topic != self._topic]
        if others:
            raise RebuildRefused(
                f"the read model was also filled from {', '.join(others)}, whose orders a rebuild from {self._topic} "
                "would lose: use a read model of its own for each topic"
            )
        found = await self._patiently(self._log.identity)
        known = await self._patiently(lambda: self._live.identity(self._topic))
        if known is not None:
            require_same_log(self._topic, known, found)
        return found

    async def _require_history(self, live: Mapping[int, int], *, partial: bool) -> dict[int, int]:
        """Where partitions begin later than at 0. Raises RebuildRefused, LogChanged."""
        begins = await self._patiently(self._log.begin_offsets)
        ends = await self._patiently(self._log.end_offsets)
        for partition, at in live.items():
            if at > ends.get(partition, 0):
                end = ends.get(partition, 0)
                raise LogChanged(f"partition {partition} of {self._topic} ends at {end}, the read model is at {at}")
        trimmed = {partition: begin for partition, begin in begins.items() if begin > 0}
        if trimmed and not partial:
            partition, begin = min(trimmed.items())
            raise RebuildRefused(
                f"partition {partition} of {self._topic} begins at {begin}: what was deleted before would be missing "
                "from the rebuilt read model; give --partial to accept that"
            )
        return trimmed

    async def _may_resume(self, number: int, live: Mapping[int, int], identity: LogIdentity) -> bool:
        """Not if it was begun from another log (the live one had not recorded any yet), is ahead of the live one (that
        was put back to an earlier state), the log has lost what would come next, or people have discarded something
        that it may have applied."""
        store = self._generations.store(number)
        begun = await self._patiently(lambda: store.identity(self._topic))
        if begun is None or not is_same_log(begun, identity):
            return False
        filled = (await self._patiently(lambda: store.load(self._topic, ()))).positions
        targets = self._targets(live)
        ahead = any(at > targets.get(partition, 0) for partition, at in filled.items())
        gone = any(0 < filled.get(partition, 0) < begin for partition, begin in self._floors.items())
        return not (ahead or gone or await self._decisions_of(store).overlooks(self._floors))

    def _decisions_of(self, store: ProjectionStore, honoured: Collection[tuple[int, int]] = ()) -> HeldDecisions:
        return HeldDecisions(
            self._generations, store, self._decoder, self._runtime, self._topic, self._patiently, honoured
        )

    async def _begin(self, identity: LogIdentity) -> int:
        """An ambiguous one is looked for, so that none is left behind."""

        async def begin() -> int:
            state = await self._generations.found()
            return state.building or await self._generations.begin(self._topic, identity)

        return await self._patiently(begin)

    async def _start_at_the_floors(self) -> None:
        async def start() -> None:
            filled = (await self._store.load(self._topic, ())).positions
            moved = {partition: (0, floor) for partition, floor in self._floors.items() if not filled.get(partition)}
            if moved:
                await self._store.commit(Changes(self._topic, self._number, moved))

        await self._patiently(start)

    # ------------------------------------------------------------------ filling

    def _targets(self, live: Mapping[int, int]) -> dict[int, int]:
        """Where the new generation has to stand: where the live one does, but not before the log's beginning."""
        return {**live, **{number: max(live.get(number, 0), floor) for number, floor in self._floors.items()}}

    async def _fill(self) -> None:
        """Until less than one batch is missing: the comparison does the rest."""
        while True:
            targets = self._targets((await self._patiently(lambda: self._live.load(self._topic, ()))).positions)
            await self._level(targets, Phase.FILLING)
            targets = self._targets((await self._patiently(lambda: self._live.load(self._topic, ()))).positions)
            if self._feed.missing(targets) <= self._limits.fill_batch:
                break
        await self._decisions.settle_all()

    async def _level(self, targets: Mapping[int, int], phase: Phase | None = None) -> None:
        """Bring the new generation exactly to these positions, the live ones of a moment."""
        targets = self._targets(targets)
        await self._patiently(self._find_place)
        start, missing = self._events, self._feed.missing(targets)
        silent_since = self._runtime.monotonic()
        if phase is not None:
            self._told(Progress(phase, 0, missing))
        while self._astray or self._feed.missing(targets):
            if await self._patiently(lambda: self._batch(targets)):
                silent_since = self._runtime.monotonic()
            elif self._runtime.monotonic() - silent_since > self._limits.patience_seconds:
                raise BrokerUnavailable(f"the log of {self._topic} gives no records although it should have more")
            if phase is not None:
                self._told(Progress(phase, self._events - start, missing))

    async def _find_place(self) -> None:
        """Go on from what is stored, whatever happened before."""
        if self._astray:
            await self._feed.go_on((await self._store.load(self._topic, ())).positions)
            self._astray = False

    async def _batch(self, targets: Mapping[int, int]) -> bool:
        """One batch; whether there was one. Whatever interrupts it, the next one begins at the stored positions."""
        await self._find_place()
        self._astray = True
        records = await self._feed.take(targets, self._limits.fill_batch, self._limits.poll_seconds)
        if records:
            await self._project(records, self._count)
        self._astray = False
        return bool(records)

    async def _count(self, changes: Changes, _keys: Collection[str]) -> None:
        self._events += sum(reached - at for at, reached in changes.positions.values())

    # ------------------------------------------------------------------ comparing

    async def _compare(self, live: int) -> Comparison:
        total = (await self._patiently(lambda: self._generations.figures(live, self._topic))).stats.total

        def compared(rows: int) -> None:
            self._told(Progress(Phase.COMPARING, rows, max(total, rows)))

        decisions = self._decisions
        pair = Pair(live, self._number, self._level, decisions.settle, decisions.settle_all)
        compared(0)
        comparison = Comparison(
            self._generations, pair, self._topic, self._found, compared, self._patiently, self._limits.page
        )
        await comparison()
        return comparison

    # ------------------------------------------------------------------ exchanging

    async def _require_nothing_hidden(self) -> None:
        """An empty registry or another one, or a database that refuses rows, must not take orders out of sight."""
        hidden = await self._losses.hidden()
        if unreadable := hidden[DeadReason.UNKNOWN_SCHEMA]:
            raise RegistryUnavailable(
                f"the registry does not know the schemas of {unreadable} orders that the live read model shows, so "
                "nothing was exchanged: is it the right registry? What was filled is kept; rebuild again when it "
                "knows them"
            )
        if refused := hidden[DeadReason.REFUSED]:
            raise RebuildRefused(
                f"the database refuses {refused} orders that the live read model shows, so nothing was exchanged: "
                "which constraint does it? What was filled is kept; rebuild again without it"
            )

    async def _require_nothing_overlooked(self) -> None:
        """What was applied here cannot be taken back. Once this generation is the live one, people decide in it."""
        if await self._losses.overlooked() and not await self._patiently(self._is_live):
            raise RebuildRefused(
                "people have discarded a record that the new generation had applied before, so nothing was exchanged: "
                "run it again, it begins anew"
            )

    async def _flip(self) -> None:
        self._told(Progress(Phase.FLIPPING, 0, 1))
        for _ in range(self._limits.flip_tries):
            await self._decisions.settle_all()
            live = await self._patiently(lambda: self._live.load(self._topic, ()))
            await self._level(live.positions)
            await self._require_nothing_hidden()
            await self._require_nothing_overlooked()
            if await self._patiently(self._flipped):
                break
        else:
            raise StoreUnavailable("the consumers never left a moment to exchange the generations: try again")
        self._told(Progress(Phase.FLIPPING, 1, 1))

    async def _is_live(self) -> bool:
        return (await self._generations.found()).live == self._number

    async def _flipped(self) -> bool:
        """Whether the new generation is the live one, now or already (an ambiguous commit is asked about)."""
        if await self._is_live():
            return True
        await self._find_place()
        self._astray = True
        try:
            await self._generations.flip(self._topic, self._number, self._floors, self._last)
        except (StalePosition, WriteRejected):  # the usual way takes what it refused apart
            return False
        return True

    async def _last(self, live: Mapping[int, int]) -> Changes | None:
        """While consumers and people wait: only what came since a moment ago, and nothing was decided since."""
        if await self._losses.any_now():
            raise StalePosition("people, the registry or the database have decided something just now")
        targets = self._targets(live)
        if self._feed.missing(targets) > self._limits.fill_batch:
            raise StalePosition("the new generation is too far behind to catch up while consumers wait")
        records = []
        while self._feed.missing(targets):
            taken = await self._feed.take(targets, self._limits.fill_batch, self._limits.poll_seconds)
            if not taken:
                raise StalePosition("the log does not give the last records at once")
            records += taken
        if not records:
            return None
        events = await self._decoder.decode(records)
        snapshot = await self._store.load(self._topic, {event.key for event in events if event.key is not None})
        changes = project(self._topic, snapshot, records, events, self._runtime.now())
        self._require_readable(changes)
        return changes

    @staticmethod
    def _require_readable(changes: Changes) -> None:
        """What is held in other ways than in the live generation is looked at before, not afterwards."""
        if any(letter.reason in (DeadReason.UNKNOWN_SCHEMA, DeadReason.DISCARDED) for letter in changes.held):
            raise StalePosition("the last records wait for a schema, or people have discarded them")

    # ------------------------------------------------------------------ dropping

    async def _drop(self, generation: int, phase: Phase) -> None:
        gone = 0
        self._told(Progress(phase, 0, None))
        while dropped := await self._patiently(lambda: self._generations.drop(generation, self._limits.drop_batch)):
            gone += dropped
            self._told(Progress(phase, gone, None))
            await self._runtime.sleep(self._limits.rest_seconds)
