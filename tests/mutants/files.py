"""Broken builds of what the files and databases are worth: syncs, locks, full disks, trimming."""

import apsw

from ordering.application.failures import StoreUnavailable
from tests.mutants.patching import Sound, mutant

WRITER = "ordering.adapters.sqlite.database:Writer"
DATABASE = "ordering.adapters.sqlite.files:Database"
STORE = "ordering.adapters.sqlite.store"
SQLITE = "tests/integration/test_sqlite_database.py"
DURABLE = "tests/integration/test_durability_sqlite.py"
OUTBOX = "tests/contract/order_store/test_outbox.py"
PARTS = "tests/unit/application/test_small_parts.py"


@mutant(
    "failed-sync-is-a-refusal",
    "H3",
    at="ordering.adapters.sqlite.database:DEFINITE_AT_COMMIT",
    by=f"{DURABLE}::test_a_failed_sync_is_ambiguous_and_a_repetition_gives_the_truth",
)
def _(_sound: Sound) -> Sound:
    """Whatever goes wrong at the commit is told as "not stored"."""
    return (apsw.Error,)


@mutant(
    "broken-link-is-an-answer",
    "H3",
    at="ordering.adapters.postgres.connections:CommitAmbiguous",
    by="tests/integration/test_postgres_store.py::test_an_answer_that_is_cut_off_is_ambiguous",
    slow=True,
)
def _(_sound: Sound) -> Sound:
    """A connection to PostgreSQL that broke while it committed is taken for the server's own refusal."""
    return StoreUnavailable


@mutant(
    "cancelled-caller-breaks-the-writer",
    "H4",
    at="ordering.adapters.sqlite.database:_Ticket._resolve",
    by=f"{SQLITE}::test_a_cancelled_caller_does_not_cancel_its_job",
)
def _(_sound: Sound) -> Sound:
    """The writer's thread does not expect that nobody waits for a result any more."""

    def resolve(self: Sound, result: object, error: BaseException | None) -> None:
        if error is None:
            self.result.set_result(result)
        else:
            self.result.set_exception(error)

    return resolve


@mutant(
    "synchronous-normal",
    "H25",
    at=f"{WRITER}._set_durability",
    by=f"{DURABLE}::test_each_create_is_synced_before_its_answer",
    slow=True,
)
def _(_sound: Sound) -> Sound:
    """The WAL is synced at checkpoints only, as SQLite does unless it is told otherwise."""
    return lambda _self, connection, _durable: connection.pragma("synchronous", "NORMAL")


def _silent(_sound: Sound) -> Sound:
    return lambda _self: None


@mutant(
    "answers-before-the-sync",
    "H25",
    at="tests.simulation.ports:SimStore.promise",
    also={"tests.simulation.disk:Disk.seen": _silent},
    slow=True,
)
def _(sound: Sound) -> Sound:
    """The store tells and shows what a power cut may still take."""
    return _silent(sound)


@mutant(
    "acknowledges-before-the-sync",
    "H25",
    at="tests.simulation.ports:SimPublisher.promise",
    also={"tests.simulation.disk:Disk.seen": _silent},
    slow=True,
)
def _(sound: Sound) -> Sound:
    """The log acknowledges and shows what a power cut may still take."""
    return _silent(sound)


class _Deferring:
    """A connection whose transactions take no lock before they need one."""

    def __init__(self, real: apsw.Connection) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Sound:
        return getattr(self._real, name)

    def execute(self, sql: str, *arguments: Sound) -> Sound:
        return self._real.execute(sql.replace("BEGIN IMMEDIATE", "BEGIN"), *arguments)


@mutant(
    "deferred-transactions",
    "H25",
    at=f"{WRITER}._connected",
    by=f"{SQLITE}::test_a_job_that_reads_first_keeps_others_from_writing_meanwhile",
)
def _(sound: Sound) -> Sound:
    """A transaction begins as a reader: one that reads first fails at once if somebody wrote meanwhile."""
    return lambda self: _Deferring(sound(self))


@mutant("readers-checkpoint", "H25", at=f"{DATABASE}.reader", by=f"{SQLITE}::test_readers_never_checkpoint")
def _(sound: Sound) -> Sound:
    """A reader may have to write the WAL back, and so to wait for the disk."""

    def reader(self: Sound, *, traceless: bool = False) -> apsw.Connection:
        connection: apsw.Connection = sound(self, traceless=traceless)
        connection.pragma("wal_autocheckpoint", 1000)
        return connection

    return reader


@mutant(
    "unsafe-sqlite-is-taken",
    "H25",
    at="ordering.adapters.sqlite.files:_FIXED_BEFORE",
    by=f"{SQLITE}::test_an_unsafe_sqlite_is_refused",
)
def _(sound: Sound) -> Sound:
    """A release with the WAL-reset bug counts as one that got the fix."""
    return {**sound, (3, 49): 0, (3, 50): 0}


@mutant(
    "shown-before-synced",
    "H25",
    at=(f"{DATABASE}.sync_wal", f"{DATABASE}._try_rewrite"),
    by="tests/integration/test_sqlite_files.py::test_what_a_start_beside_a_reader_shows_is_synced",
)
def _(_sound: Sound) -> Sound:
    """What an earlier life left unsynced in the WAL is shown as it is."""
    return lambda _self, *_: False


@mutant(
    "two-writers",
    "H25",
    at="ordering.adapters.sqlite.files:fcntl",
    by=f"{SQLITE}::test_a_second_writer_is_refused_in_one_line",
)
def _(sound: Sound) -> Sound:
    """Nothing keeps a second process from writing the same file."""

    class Fcntl:
        LOCK_EX, LOCK_NB = sound.LOCK_EX, sound.LOCK_NB
        flock = staticmethod(lambda _handle, _how: None)

    return Fcntl


@mutant(
    "durability-of-the-server-unasked",
    "H26",
    at="ordering.adapters.postgres.schema:_DURABLE",
    by="tests/integration/test_postgres_start.py::test_a_database_that_answers_before_its_commits_are_safe_is_refused",
    slow=True,
)
def _(_sound: Sound) -> Sound:
    """A PostgreSQL that answers before its commits are safe is used as it is."""
    return ()


@mutant(
    "full-disk-is-unknown",
    "H27",
    at="ordering.adapters.sqlite.database:DEFINITE_AT_COMMIT",
    by=f"{DURABLE}::test_a_full_disk_refuses_writes_and_recovers_by_itself",
)
def _(_sound: Sound) -> Sound:
    """A commit that found no room is told as "nobody knows"."""
    return (apsw.BusyError, apsw.ConstraintError)


@mutant(
    "refused-does-not-roll-back",
    "H5",
    at=f"{WRITER}._roll_back",
    by=f"{SQLITE}::test_an_applications_exception_rolls_back_and_comes_through",
)
def _(_sound: Sound) -> Sound:
    """What a refused batch has done so far stays open: SQLite rolls back by itself for a full disk, not for a row."""
    return lambda _self, _error: True


# ---------------------------------------------------------------------------------------------- growing without bound


@mutant(
    "never-trims",
    "H31",
    at="ordering.application.housekeeping:Trimmer.trim_once",
    by=f"{PARTS}::test_trimming_goes_in_small_batches_with_pauses",
)
def _(_sound: Sound) -> Sound:
    """Answers and published rows stay for ever."""

    async def trim_once(_self: Sound) -> int:
        return 0

    return trim_once


@mutant(
    "trims-all-at-once",
    "H31",
    at=f"{STORE}:SqliteOrderStore.trim",
    by=f"{OUTBOX}::test_trim_goes_in_small_batches[sqlite]",
)
def _(sound: Sound) -> Sound:
    """Commits wait while everything that is too old is deleted."""

    async def trim(self: Sound, *, limit: int, **before: int) -> int:
        assert limit
        return await sound(self, limit=1 << 40, **before)  # type: ignore[no-any-return]

    return trim


@mutant(
    "trims-what-waits",
    "H31",
    "H1",
    at=f"{STORE}:_TRIM_JOURNAL",
    by=f"{OUTBOX}::test_trim_deletes_old_answers_and_published_rows_only[sqlite]",
)
def _(sound: Sound) -> Sound:
    """An event that waits for its publication goes when it is old enough."""
    head, rest = sound.split("AND NOT EXISTS", 1)
    return head + rest[rest.index(")") + 1 :]
