"""Broken builds between the request and the answer: group commit, the two commands, idempotency keys."""

import copy
import math
from collections.abc import Sequence
from functools import partial

import attrs

from ordering.application.failures import (
    CommitAmbiguous,
    NotStored,
    Overloaded,
    StoreUnavailable,
    WriteRejected,
)
from ordering.application.messages import Outcome, RecordedAnswer, Stored, Write
from ordering.application.outage_gate import OutageGate
from tests.mutants.patching import Sound, mutant

COMMIT = "ordering.application.group_commit:GroupCommit"
TICKET = "ordering.application.group_commit:_Ticket"
STORE = "ordering.adapters.memory.store:MemoryOrderStore"
PLACE = "ordering.application.place_order:PlaceOrder"
CHANGE = "ordering.application.change_status:ChangeStatus"
UNIT = "tests/unit/application"
CONTRACT = "tests/contract/order_store/test_write.py"


# ---------------------------------------------------------------------------------------------- what 201 means


@mutant("answers-before-the-write", "H1", at=f"{COMMIT}._write")
def _(sound: Sound) -> Sound:
    """201 first, the disk later."""

    async def write(self: Sound, part: list[Sound]) -> None:
        for ticket in part:
            ticket.resolve(Stored(True))
        await sound(self, part)

    return write


def _forgets_the_outbox(sound: Sound) -> Sound:
    async def write(self: Sound, batch: Sequence[Write]) -> Sequence[Outcome]:
        outcomes = await sound(self, batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            if one.event is not None and isinstance(outcome, Stored):
                self._outbox.pop((one.event.aggregate_id, one.event.version), None)
        return outcomes  # type: ignore[no-any-return]

    return write


@mutant(
    "event-outside-the-transaction",
    "H1",
    at="tests.simulation.ports:SimStore.write",
    also={f"{STORE}.write": _forgets_the_outbox},
)
def _(sound: Sound) -> Sound:
    """The event gets into the outbox by a transaction of its own, behind the order's."""

    async def write(self: Sound, batch: Sequence[Write]) -> Sequence[Outcome]:
        outcomes = await sound(self, batch)
        refs = [
            (one.event.aggregate_id, one.event.version)
            for one, outcome in zip(batch, outcomes, strict=True)
            if one.event is not None and isinstance(outcome, Stored)
        ]

        async def add() -> None:
            self._real._outbox.update(dict.fromkeys(refs))

        await self._change("store.add", add)
        return outcomes  # type: ignore[no-any-return]

    return write


# ---------------------------------------------------------------------------------------------- what 503 means


@mutant("refused-after-the-claim", "H2", at=f"{COMMIT}._claim")
def _(sound: Sound) -> Sound:
    """The deadline answers 503 although the store is already at work."""

    def claim(self: Sound) -> list[Sound]:
        batch = sound(self)
        for ticket in batch:
            left = max(0.0, ticket.deadline - self._runtime.monotonic())
            self._runtime.call_later(left, partial(ticket.fail, Overloaded("too slow")))
        return batch  # type: ignore[no-any-return]

    return claim


@mutant("withdrawn-and-committed", "H2", at=f"{COMMIT}._expire")
def _(_sound: Sound) -> Sound:
    """A request whose time is over is told 503 and stays in the queue, where the committer claims it."""

    def expire(self: Sound, _deadline: float) -> None:
        now = self._runtime.monotonic()
        for ticket in self._queue:
            if ticket.deadline <= now:
                ticket.fail(self._too_late())
        self._expires_at = math.inf
        left = [ticket.deadline for ticket in self._queue if ticket.deadline > now]
        if left:
            self._expire_later(min(left) - now, min(left))

    return expire


@mutant("gate-behind-the-commit", "H2", at=f"{PLACE}.__call__")
def _(sound: Sound) -> Sound:
    """Whether events can be delivered is asked when the order is stored already."""

    async def place(self: Sound, wanted: Sound, context: Sound) -> Sound:
        always, other = OutageGate(), copy.copy(self)
        always.deliverable()
        other._gate = always
        answer = await sound(other, wanted, context)
        if not isinstance(answer, RecordedAnswer):
            self._gate.check()
        return answer

    return place


@mutant("ambiguous-is-not-stored", "H3", at=f"{COMMIT}._resolve")
def _(_sound: Sound) -> Sound:
    """A connection that is lost at commit is answered with 503."""

    async def resolve(self: Sound, part: list[Sound]) -> None:
        self._fail(part, StoreUnavailable("connection lost"))

    return resolve


@mutant("ambiguous-is-stored", "H3", at=f"{COMMIT}._resolve")
def _(_sound: Sound) -> Sound:
    """A connection that is lost at commit is answered with 201."""

    async def resolve(_self: Sound, part: list[Sound]) -> None:
        for ticket in part:
            ticket.resolve(Stored(True))

    return resolve


@mutant("a-repetitions-failure-counts", "H3", at=f"{COMMIT}._resolve")
def _(_sound: Sound) -> Sound:
    """What the repetition of an ambiguous commit is told is taken for the first try's outcome."""

    async def resolve(self: Sound, part: list[Sound]) -> None:
        try:
            await self._write(part)
        except (StoreUnavailable, CommitAmbiguous):
            self._fail(part, StoreUnavailable("not stored"))

    return resolve


@mutant("repeated-under-a-new-id", "H3", at=f"{COMMIT}._resolve")
def _(sound: Sound) -> Sound:
    """An ambiguous commit is tried again as if it were another one."""

    async def resolve(self: Sound, part: list[Sound]) -> None:
        for ticket in part:
            if ticket.write.event is not None:
                event = attrs.evolve(ticket.write.event, event_id=self._runtime.new_id())
                ticket.write = attrs.evolve(ticket.write, event=event)
        await sound(self, part)

    return resolve


# ---------------------------------------------------------------------------------------------- neighbours


@mutant("hanging-up-ends-the-committer", "H4", at=f"{TICKET}.resolve")
def _(_sound: Sound) -> Sound:
    """The committer does not expect that nobody waits for an outcome any more."""

    def resolve(self: Sound, outcome: Outcome) -> None:
        self.answer.set_result(outcome)

    return resolve


@mutant(
    "neighbours-fail-with-a-bad-row",
    "H5",
    at=f"{COMMIT}._settle",
    by=f"{UNIT}/test_group_commit.py::test_a_bad_row_does_not_fail_its_neighbours",
)
def _(_sound: Sound) -> Sound:
    """A batch with a row that the store refuses is refused whole."""

    async def settle(self: Sound, part: list[Sound]) -> list[list[Sound]]:
        try:
            await self._write(part)
        except WriteRejected:
            self._fail(part, StoreUnavailable("it refused this change"))
        except NotStored as error:
            self._fail(part, error)
        except CommitAmbiguous:
            await self._resolve(part)
        return []

    return settle


@mutant(
    "halves-in-the-wrong-order",
    "H6",
    at=f"{COMMIT}._settle",
    by=f"{UNIT}/test_group_commit.py::test_writes_of_one_aggregate_keep_their_order_when_a_batch_is_split",
)
def _(sound: Sound) -> Sound:
    """Of a batch that is split the second half is stored first."""

    async def settle(self: Sound, part: list[Sound]) -> list[list[Sound]]:
        return (await sound(self, part))[::-1]  # type: ignore[no-any-return]

    return settle


@mutant("two-changes-of-one-version", "H6", at=f"{STORE}._apply")
def _(sound: Sound) -> Sound:
    """Of two changes of one version the second takes the place of the first."""

    def apply(self: Sound, write: Write, undo: list[Sound]) -> Outcome:
        event = write.event
        if event is not None and write.expected_version and event.event_id not in self._refs:
            ref = event.aggregate_id, event.version
            before = self._states.get(event.aggregate_id)
            if before is not None and before.version == event.version:
                self._states[event.aggregate_id] = attrs.evolve(before, version=write.expected_version)
                self._refs.pop(self._journal.pop(ref).event_id)
        return sound(self, write, undo)  # type: ignore[no-any-return]

    return apply


@mutant(
    "sqlite-without-the-version",
    "H6",
    at="ordering.adapters.sqlite.writes:_UPDATE",
    by=f"{CONTRACT}::test_two_changes_of_one_version_have_one_winner[sqlite]",
)
def _(sound: Sound) -> Sound:
    """The file's order is changed without a look at its version."""
    assert " AND version = ? " in sound
    return sound.replace(" AND version = ? ", " AND version > -1 - ? ")


# ---------------------------------------------------------------------------------------------- idempotency keys


@mutant("answer-outside-the-transaction", at=f"{COMMIT}.submit", slow=True)
def _(sound: Sound) -> Sound:
    """The answer to a key is recorded by a transaction of its own, behind the order's."""

    async def submit(self: Sound, write: Write, deadline: float | None = None) -> Outcome:
        if write.answer is None or write.event is None:
            return await sound(self, write, deadline)  # type: ignore[no-any-return]
        outcome = await sound(self, attrs.evolve(write, answer=None), deadline)
        if isinstance(outcome, Stored):
            await sound(self, Write(write.aggregate_id, write.event.version, None, write.answer))
        return outcome  # type: ignore[no-any-return]

    return submit


@mutant(
    "sqlite-records-answers-later",
    at="ordering.adapters.sqlite.store:SqliteOrderStore.write",
    by=f"{CONTRACT}::test_a_failing_answer_leaves_nothing_of_its_batch[sqlite]",
)
def _(sound: Sound) -> Sound:
    """The file gets the orders in one transaction and the answers in the next one."""

    async def write(self: Sound, batch: Sequence[Write]) -> Sequence[Outcome]:
        outcomes = await sound(self, [attrs.evolve(one, answer=None) if one.event else one for one in batch])
        later = [
            Write(one.aggregate_id, one.event.version, None, one.answer) for one in batch if one.event and one.answer
        ]
        await sound(self, later)
        return outcomes  # type: ignore[no-any-return]

    return write


@mutant(
    "replay-to-another-body",
    at=tuple(f"ordering.application.{module}:same_body" for module in ("commands", "place_order", "change_status")),
)
def _(_sound: Sound) -> Sound:
    """The first answer to a key is given to whoever has the key, whatever is asked."""
    return lambda _once, answer: answer


class _Asked:
    """IdempotencyKeys whose look-up was made before."""

    def __init__(self, keys: Sound, replay: RecordedAnswer | None) -> None:
        self.held, self._replay = keys.held, replay

    async def replay(self, _once: Sound) -> RecordedAnswer | None:
        return self._replay


@mutant(
    "key-asked-before-the-state",
    at=f"{CHANGE}.__call__",
    by=f"{UNIT}/test_commands_across_instances.py::test_a_change_that_another_instance_has_just_made_is_not_refused",
)
def _(sound: Sound) -> Sound:
    """A key is looked up before the state is read, which then may hold that very key's own change."""

    async def change(self: Sound, wanted: Sound, context: Sound, *, if_match: Sound = None) -> Sound:
        other = copy.copy(self)
        other._keys = _Asked(self._keys, await self._keys.replay(context.once))
        return await sound(other, wanted, context, if_match=if_match)

    return change


@mutant(
    "same-status-behind-the-gate",
    at=f"{CHANGE}._decide",
    by=f"{UNIT}/test_commands.py::test_behind_a_closed_gate_only_a_real_change_is_refused",
)
def _(sound: Sound) -> Sound:
    """During an outage the present status is refused, too, although nothing would be stored."""

    def decide(self: Sound, order: Sound, wanted: Sound, context: Sound) -> Sound:
        self._gate.check()
        return sound(self, order, wanted, context)

    return decide
