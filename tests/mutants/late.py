"""Broken builds that act on a look which is out of date by then, or do not bear what comes to pass late."""

from ordering.application.messages import NewEvent
from tests.mutants.patching import Sound, mutant

MEMORY = "ordering.adapters.memory.store:MemoryOrderStore"
SQLITE = "ordering.adapters.sqlite"
POSTGRES = "ordering.adapters.postgres"
TESTS = "tests/unit/application/test_late_outcomes.py"
ANY = 2**31 - 1
"""Above every version that there can be."""
COMMANDS = "tests/unit/entrypoints/test_late_outcomes.py"


@mutant(
    "adopts-what-is-older",
    at=f"{MEMORY}._knows",
    by=f"{TESTS}::test_of_two_who_reconcile_at_once_the_slower_one_takes_nothing_back",
)
def _(_sound: Sound) -> Sound:
    """What a reconcile read before somebody else changed the order takes the place of that change."""
    return lambda _self, _event: False


@mutant(
    "sqlite-adopts-what-is-older",
    at=f"{SQLITE}.standings:_PUT",
    by="tests/contract/order_store/test_standings.py::test_what_the_store_knows_by_now_is_not_adopted_again[sqlite]",
)
def _(sound: Sound) -> Sound:
    """In a file nobody looks once more, within the transaction, whether what is adopted is news."""
    return sound.replace("WHERE version < excluded.version OR", "WHERE true OR")


@mutant(
    "parks-what-is-published",
    "H14",
    at=f"{MEMORY}.park",
    by=f"{TESTS}::test_a_park_that_comes_to_pass_after_the_event_was_published_parks_nothing",
)
def _(_sound: Sound) -> Sound:
    """A refusal that reaches the store after the event was taken at another try stops its order."""

    async def park(self: Sound, aggregate_id: str, _version: int, reason: str) -> None:
        self._parked[aggregate_id] = (ANY, reason)

    return park


@mutant(
    "sqlite-parks-what-is-published",
    "H14",
    at=f"{SQLITE}.store:_PARK",
    by="tests/contract/order_store/test_outbox.py::test_an_event_that_is_published_by_now_parks_nothing[sqlite]",
)
def _(sound: Sound) -> Sound:
    """In a file an order is parked whatever has become of the event that was refused."""
    return sound.replace(
        "SELECT aggregate_id, version, ?3 FROM outbox WHERE aggregate_id = ?1 AND version = ?2",
        f"SELECT ?1, {ANY}, ?3 WHERE ?2 IS NOT NULL",
    )


@mutant(
    "parked-for-good",
    "H14",
    at=f"{MEMORY}._stopped",
    by=f"{TESTS}::test_an_order_goes_on_once_another_relay_has_published_its_refused_event",
)
def _(_sound: Sound) -> Sound:
    """An order stays parked although another relay got the refused event into the log."""

    def stopped(self: Sound) -> dict[str, str]:
        return {key: reason for key, (_version, reason) in self._parked.items()}

    return stopped


@mutant(
    "sqlite-parked-for-good",
    "H14",
    at=f"{SQLITE}.store:_HEADS",
    by="tests/contract/order_store/test_outbox.py::test_a_parking_ends_once_the_refused_event_is_published[sqlite]",
)
def _(sound: Sound) -> Sound:
    """In a file a parking stops every later event of its order, whatever has become of the refused one."""
    return sound.replace(" AND p.version >= o.version", "")


@mutant(
    "postgres-parked-for-good",
    "H14",
    at=f"{POSTGRES}.store:_HEADS",
    by="tests/contract/order_store/test_outbox.py::test_a_parking_ends_once_the_refused_event_is_published[postgres]",
    slow=True,
)
def _(sound: Sound) -> Sound:
    """In PostgreSQL a parking stops every later event of its order, whatever has become of the refused one."""
    return sound.replace(" AND p.version >= o.version", "")


@mutant(
    "sweeps-while-parking",
    "H14",
    at="ordering.application.relay_outbox:OutboxRelay._park",
    by=f"{TESTS}::test_an_event_is_not_tried_again_while_it_is_being_parked",
)
def _(sound: Sound) -> Sound:
    """While the store takes its time to park an order, a sweep gives the refused event to the producer again."""

    async def park(self: Sound, event: NewEvent, reason: str) -> None:
        self._forget(event)
        await sound(self, event, reason)

    return park


@mutant(
    "requeued-rows-lose-their-events",
    "H31",
    at=f"{POSTGRES}.standings:_REQUEUE",
    by="tests/integration/test_postgres_requeue.py::test_what_is_held_for_unpublished_again_is_not_trimmed_meanwhile",
    slow=True,
)
def _(sound: Sound) -> Sound:
    """An event that is about to be held for unpublished is trimmed, since its row cannot be seen yet."""
    return sound.replace(" FOR KEY SHARE OF j", "")


@mutant(
    "backup-lacks-what-was-trimmed",
    "H31",
    at=f"{SQLITE}.backup:_MISSING",
    by=f"{COMMANDS}::test_what_was_published_and_trimmed_while_a_backup_was_made_is_missed",
)
def _(_sound: Sound) -> Sound:
    """A backup is made of a log before an event came to it and a store after the event was trimmed."""
    return "SELECT 0"


@mutant(
    "whoever-looks-records-the-count",
    "H15",
    at="ordering.entrypoints.cli.orders:_recorded",
    by=f"{COMMANDS}::test_looking_at_an_order_records_no_number_of_partitions",
)
def _(_sound: Sound) -> Sound:
    """Looking at an order before the first start fixes the number of partitions for ever."""

    async def recorded(tools: Sound, found: int) -> int:
        if tools.settings.effective_mode == "embedded":
            return found
        count: int = await tools.store.partitions(tools.settings.topic, found)
        return count

    return recorded


@mutant(
    "takes-back-by-steps",
    at=f"{POSTGRES}.migrate:down",
    by="tests/integration/test_postgres_start.py::test_what_is_taken_back_is_named_and_no_number_of_steps",
    slow=True,
)
def _(sound: Sound) -> Sound:
    """A number of steps to take back is counted from wherever the first try has left the database."""

    async def down(url: str, part: str, to: str) -> list[str]:
        run, command = (sound.__globals__[name] for name in ("_run", "command"))
        before, after = await run(url, part, lambda config: command.downgrade(config, to))
        return [step.revision for step in after if step not in before and not step.applied][::-1]

    return down


@mutant(
    "repairs-beside-a-service",
    at="ordering.entrypoints.container.tools:Tools.idle_store",
    by="tests/integration/test_postgres_requeue.py::test_a_repair_does_not_begin_while_a_cart_service_publishes",
    slow=True,
)
def _(_sound: Sound) -> Sound:
    """Nobody asks the database whether a cart service publishes before it is repaired."""

    async def idle_store(self: Sound) -> Sound:
        return self.store

    return idle_store
