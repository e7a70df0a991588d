"""Broken builds of what helps after something went wrong: store and log compared, and what was held released."""

from typing import Any

from ordering.application.compare_log import Verdict
from ordering.application.failures import WriteRejected
from ordering.application.messages import NewEvent
from tests.mutants.patching import Sound, mutant

COMPARE = "ordering.application.compare_log"
HELD = "ordering.application.dead_letters:HeldRecords"
REPUBLISH = "ordering.application.republish:Republisher"
REPUBLISHED = "tests/unit/application/test_republish.py"


@mutant("old-stores-publish", "H19", at=f"{COMPARE}:StartCheck.__call__")
def _(_sound: Sound) -> Sound:
    """Nobody compares store and log before the first event is published."""

    async def call(_self: Sound) -> None:
        return None

    return call


@mutant("other-events-are-known", "H19", at=f"{COMPARE}:judge")
def _(sound: Sound) -> Sound:
    """An order that the store does not have at all is taken for none of ours."""

    def judge(version: int, event_id: str, standing: Any) -> Verdict:  # noqa: ANN401 -- Standing or None
        return Verdict.KNOWN if standing is None else sound(version, event_id, standing)

    return judge


@mutant(
    "old-behind-what-others-sent",
    "H19",
    at=f"{COMPARE}:FARTHEST",
    by="tests/unit/application/test_compare_log.py::test_an_older_store_is_found_out_behind_what_others_have_sent[300]",
)
def _(_sound: Sound) -> Sound:
    """Where the newest records of a partition are all somebody else's, a store that is too old publishes."""
    return 0


@mutant("refused-followers-stay", "H20", at=f"{HELD}._apart")
def _(_sound: Sound) -> Sound:
    """What the database refuses among an order's held records comes out of a release as a fault of ours."""

    async def apart(_self: Sound, _key: str, _counted: Sound, _drop: int, detail: str) -> Sound:
        raise WriteRejected(detail)

    return apart


@mutant("releases-are-not-counted", "H19", at=f"{HELD}.release")
def _(sound: Sound) -> Sound:
    """A gap among records that waited for their schema alarms nobody."""

    async def release(self: Sound, key: str, *, dry_run: bool = False, counted: Sound = None) -> Sound:
        del counted
        return await sound(self, key, dry_run=dry_run)

    return release


@mutant(
    "lost-count-follows-the-topic",
    "H15",
    at="ordering.application.addressing:Addressing.lie",
    by="tests/unit/application/test_relay_instances.py"
    "::test_a_store_that_has_lost_the_partition_count_takes_it_from_where_events_lie[7]",
)
def _(_sound: Sound) -> Sound:
    """A store that came back without the recorded number takes the topic's present one."""
    return lambda _self, _topic, _places: None


@mutant(
    "republishes-what-the-log-has",
    "H22",
    at=f"{REPUBLISH}._mark",
    by=f"{REPUBLISHED}::test_what_the_log_has_of_an_order_is_never_followed_by_an_earlier_version",
)
def _(_sound: Sound) -> Sound:
    """Everything the store has is published again, behind what the log has of it."""

    async def mark(_self: Sound, _told: Sound) -> None:
        return None

    return mark


@mutant(
    "what-the-journal-forgot-is-lost",
    "H22",
    at=f"{REPUBLISH}._event",
    by=f"{REPUBLISHED}::test_of_what_the_journal_keeps_no_longer_the_newest_state_is_published",
)
def _(_sound: Sound) -> Sound:
    """An order whose newest event is not in the journal any more does not come back into a lost log."""
    return lambda _self, state: NewEvent(
        state.event_id, f"not {state.aggregate_id}", state.version, "", b"", (), state.encoded, 0
    )


@mutant(
    "requeued-behind-what-waits",
    "H7",
    at="ordering.adapters.memory.store:MemoryOrderStore.requeue",
    by=f"{REPUBLISHED}::test_after_any_loss_the_log_ends_where_the_store_does",
)
def _(sound: Sound) -> Sound:
    """What is held for unpublished again comes out behind a later event of its order that waited already."""

    async def requeue(self: Sound, keys: Sound, lost: Sound) -> None:
        before = dict(self._outbox)
        await sound(self, keys, lost)
        self._outbox = before | self._outbox

    return requeue
