"""`ordering doctor` without any network: what it says of settings, folders, files, stores and topics."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ordering.adapters.kafka.topics import TopicState
from ordering.adapters.sqlite.database import open_writer
from ordering.adapters.sqlite.log import SqlitePublisher, log_path
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.adapters.sqlite.views import SqliteViews
from ordering.application.errors import BrokerUnavailable, StoreUnavailable
from ordering.application.failures import Refused
from ordering.application.messages import DeadReason, LogIdentity, OutgoingRecord
from ordering.entrypoints import container
from ordering.entrypoints.doctor import cluster, machine, stores
from ordering.entrypoints.doctor.configured import settings_of
from ordering.entrypoints.doctor.findings import Check, Finding, Level, examine
from ordering.entrypoints.doctor.report import checks_for
from ordering.entrypoints.settings import OPTIONS, Mode, Settings
from tests.contract.order_store.samples import write
from tests.contract.read_model.samples import changes, letter, row

TOPIC = "order-events"
VIEWS_1 = Path(__file__).parents[2] / "integration" / "views_1.sql"
"""The read model's schema of the first release."""


def soon() -> int:
    """The time of events that have not waited, however slow the machine is."""
    return int((time.time() + 3_600) * 1_000_000)


def embedded(folder: Path, **others: object) -> Settings:
    """Settings of the embedded mode on a folder."""
    return Settings(mode=Mode.EMBEDDED, data_dir=folder, **others)  # type: ignore[arg-type]


def told(findings: Sequence[Finding]) -> dict[tuple[str, str], str]:
    """Messages by check and level."""
    return {(finding.check, str(finding.level)): finding.message for finding in findings}


# ---------------------------------------------------------------------------------------------- how checks run


@pytest.mark.slow
def test_a_check_that_hangs_or_breaks_fails_alone_and_in_one_line() -> None:
    """The others' findings come all the same, in order; nobody sees a traceback."""
    stuck = threading.Event()

    async def well() -> Sequence[Finding]:
        return [Finding(Level.OK, "well", "is well")]

    async def hangs() -> Sequence[Finding]:
        stuck.wait()  # blocks its whole thread, as a dead network disk does
        return []

    async def sleeps() -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    def raising(error: Exception) -> Check:
        async def look() -> Sequence[Finding]:
            raise error

        return Check(type(error).__name__, look, "do this")

    checks = [
        Check("hangs", hangs, "h"),
        raising(BrokerUnavailable("no broker")),
        Check("sleeps", sleeps),
        raising(StoreUnavailable("no store")),
        raising(container.NothingYet("there is no file")),
        raising(PermissionError(13, "Permission denied", "/x")),
        raising(ZeroDivisionError("oh")),
        Check("well", well),
    ]
    try:
        found = examine(checks, 3.0)  # so that those that answer have the time for it
    finally:
        stuck.set()

    assert [(finding.level, finding.check, finding.message) for finding in found] == [
        ("fail", "hangs", "no answer within 3 s"),
        ("fail", "BrokerUnavailable", "no broker"),
        ("fail", "sleeps", "no answer within 3 s"),
        ("fail", "StoreUnavailable", "no store"),
        ("warn", "NothingYet", "there is no file"),
        ("fail", "PermissionError", "/x Permission denied"),
        ("fail", "ZeroDivisionError", "ZeroDivisionError: oh"),
        ("ok", "well", "is well"),
    ]
    assert found[0].hint == "h"
    assert found[1].hint == "do this"


def test_what_cannot_be_reached_is_named_without_its_secrets() -> None:
    """Whoever reads the report sees at which address nobody answered."""
    settings = Settings(
        mode=Mode.CLUSTER,
        kafka_bootstrap_servers="broker:9092",
        schema_registry_url="https://someone:hidden@registry:8081/v7",
        database_url="postgresql://someone:hidden@db:5432/orders",
    )
    hints = {check.name: check.hint for check in checks_for(settings)}

    assert "KAFKA_BOOTSTRAP_SERVERS=broker:9092" in hints["kafka"]
    assert "https://***@registry:8081/v7" in hints["registry"]
    assert "postgresql://***@db:5432/orders" in hints["order store"]
    assert "postgresql://***@db:5432/orders" in hints["read model"]
    assert "hidden" not in str(hints)


# ---------------------------------------------------------------------------------------------- settings


def test_settings_without_a_doubt_are_one_line() -> None:
    """With the mode they lead to."""
    settings, found = settings_of({"ORDERING_MODE": "embedded", "PATH": "/bin", "HOME": "/"})
    assert settings is not None
    assert told(found) == {("settings", "ok"): f"embedded mode, 1 of {len(OPTIONS)} settings chosen"}


CLUSTER = {
    "ORDERING_MODE": "cluster",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "SCHEMA_REGISTRY_URL": "http://127.0.0.1:8081",
}


@pytest.mark.parametrize(
    ("environ", "message", "hint"),
    [
        ({"KAFKA_BOOTSTRAP_SERVER": "x"}, "KAFKA_BOOTSTRAP_SERVER is no setting", "mean KAFKA_BOOTSTRAP_SERVERS"),
        ({"DATABASE_URI": "x"}, "DATABASE_URI is no setting", "mean DATABASE_URL"),
        ({"API_PORT": "8000"}, "two services cannot share one port", "serve all"),
        ({"ORDERING_MODE": "embedded", "KAFKA_BOOTSTRAP_SERVERS": "x:1"}, "the mode is embedded", "cluster"),
        ({"ORDERING_BACKLOG_ROWS": "5"}, "ORDERING_BACKLOG_ROWS means nothing", "BROKER_OUTAGE=accept"),
        ({"API_HOST": "0.0.0.0"}, "lets other machines in", "gateway"),  # noqa: S104 -- never bound here
        (CLUSTER | {"ORDERING_MODE": "auto"}, "by ORDERING_MODE=auto", "ORDERING_MODE=cluster"),
        (CLUSTER | {"SCHEMA_REGISTRY_AUTO_REGISTER": "yes"}, "AUTO_REGISTER is on", "demonstrations"),
        (CLUSTER | {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1,far:9"}, "events go to far:9 in the clear", "SASL_SSL"),
    ],
)
def test_a_doubtful_setting_is_a_warning_that_says_what_to_do(environ: dict[str, str], message: str, hint: str) -> None:
    """The settings can be used, so everything else is looked at."""
    settings, found = settings_of(environ)
    assert settings is not None
    (finding,) = found
    assert finding.level is Level.WARN
    assert message in finding.message
    assert hint in finding.hint


def test_settings_that_cannot_be_used_are_told_all_at_once() -> None:
    """As every other command does."""
    settings, found = settings_of({"ORDERING_DATADIR": "x", "API_PORT": "no"})
    assert settings is None
    assert [finding.level for finding in found] == [Level.FAIL] * 2
    assert "did you mean ORDERING_DATA_DIR?" in found[0].message + found[1].message


# ---------------------------------------------------------------------------------------------- folders and files


async def test_a_private_folder_is_well_and_one_open_to_others_is_named(tmp_path: Path) -> None:
    """Folder and files, each with the command that closes it."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "cart.db").touch(mode=0o600)
    assert [finding.level for finding in await machine.data_folders(embedded(folder))] == [Level.OK]

    folder.chmod(0o750)
    (folder / "cart.db").chmod(0o604)
    found = await machine.data_folders(embedded(folder))
    assert [(finding.level, finding.hint) for finding in found] == [
        ("warn", f"chmod 700 {folder}"),
        ("warn", f"chmod 600 {folder / 'cart.db'}"),
    ]


async def test_a_folder_to_come_is_well_if_it_can_be_made(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    found = await machine.data_folders(embedded(tmp_path / "a" / "b"))
    assert [finding.level for finding in found] == [Level.OK]
    assert not (tmp_path / "a").exists()


async def test_a_file_in_the_folders_place_is_a_failure(tmp_path: Path) -> None:
    """Itself, and as a parent."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        (finding,) = await machine.data_folders(embedded(folder))
        assert finding.level is Level.FAIL


@pytest.mark.process
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_this_user_cannot_write_is_a_failure(there: bool) -> None:
    """As somebody who is not root: root may write everywhere."""
    with TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)  # for whom we become
        place = Path(temporary) / "place"
        place.mkdir()
        place.chmod(0o555)
        folder = place if there else place / "data"
        child = os.fork()
        if child == 0:
            status = 3
            try:
                if os.geteuid() == 0:
                    os.setgid(65_534)
                    os.setuid(65_534)
                (finding,) = machine._folder(folder)  # nothing that needs another import: its files may be closed to us
                status = 0 if finding.level is Level.FAIL and str(place) in finding.message else 1
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("free", "level"), [(2 << 30, Level.OK), (1023 << 20, Level.WARN), ((64 << 20) - 1, Level.FAIL), (0, Level.FAIL)]
)
def test_free_disk_is_judged_by_the_settings_and_by_what_sqlite_needs(free: int, level: Level) -> None:
    """A full disk stores nothing."""
    assert machine._free(Settings(), Path("/data"), free).level is level


async def test_the_sqlite_in_use_is_looked_at() -> None:
    """Ours is well, or no test here would run."""
    assert [finding.level for finding in await machine.sqlite(Settings())] == [Level.OK]


# ---------------------------------------------------------------------------------------------- stores


async def filled(folder: Path, at: int = soon()) -> None:
    """The files of an order service that has not seen the two events of the log, and of a cart service."""
    store = SqliteOrderStore.open(folder / "cart.db")
    await store.write([write("A", at=at), write("B", at=at)])
    await store.partitions(TOPIC, 3)
    await store.close()
    log = SqlitePublisher.open(folder, TOPIC, 3)
    records = [OutgoingRecord(TOPIC, 0, key, b"value", (), at // 1_000) for key in (b"A", b"B")]
    await log.publish(records)
    await log.close()
    views = SqliteViews.open(folder / "view.db")
    await views.close()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with what is in it."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_files_that_are_not_there_are_a_warning(tmp_path: Path) -> None:
    """Right before the first start that is as it should be."""
    settings = embedded(tmp_path)
    looks = {"order store": stores.order_store, "read model": stores.read_model, "event log": stores.event_log}
    for name, look in {**looks, "history": stores.history, "lag": stores.lag}.items():
        (finding,) = examine([Check(name, lambda look=look: look(settings))], 20)  # type: ignore[misc]
        assert finding.level is Level.WARN
        assert "service has not run on this data folder yet" in finding.message


async def test_a_file_that_was_there_is_a_failure(tmp_path: Path) -> None:
    """Nobody is told to go on as before a first start when the order store, or the log, is lost."""
    await filled(tmp_path)
    looks = {"cart.db": stores.order_store, log_path(tmp_path, TOPIC).name: stores.event_log}
    for name, look in looks.items():
        (tmp_path / name).rename(tmp_path / "away")
        (finding,) = examine([Check(name, lambda look=look: look(embedded(tmp_path)))], 20)  # type: ignore[misc]
        (tmp_path / "away").rename(tmp_path / name)
        assert finding.level is Level.FAIL
        assert f"there is no {tmp_path / name}, but there was one" in finding.message
        assert "docs/operations.md" in finding.message


async def test_looking_changes_no_file_and_leaves_none_behind(tmp_path: Path) -> None:
    """Not even the WAL and its index, which SQLite makes for every reader."""
    await filled(tmp_path)
    before = contents(tmp_path)
    for look in (stores.order_store, stores.history, stores.read_model, stores.event_log, stores.lag):
        assert await look(embedded(tmp_path))
    assert contents(tmp_path) == before


async def test_looking_sees_what_a_running_service_has_just_stored(tmp_path: Path) -> None:
    """Beside its open files."""
    await filled(tmp_path)
    store = SqliteOrderStore.open(tmp_path / "cart.db")
    try:
        await store.park("A", "because")
        found = told(await stores.order_store(embedded(tmp_path)))
    finally:
        await store.close()
    assert found["outbox", "warn"] == "parked orders, whose events are not published: 1"


async def test_a_store_opened_for_looking_takes_nothing(tmp_path: Path) -> None:
    """Whatever asks it to."""
    await filled(tmp_path)
    store = SqliteOrderStore.look(tmp_path / "cart.db")
    for change in (store.write([write("C")]), store.park("A", "x"), store.mark_published([("A", 1)])):
        with pytest.raises(StoreUnavailable):
            await change
    await store.close()


@pytest.mark.parametrize(("age", "level"), [(0, Level.OK), (7_200, Level.WARN)])
async def test_events_that_wait_long_to_be_published_are_a_warning(age: int, level: Level, tmp_path: Path) -> None:
    """With their number and the age of the oldest."""
    await filled(tmp_path, soon() - age * 1_000_000)
    _, outbox = await stores.order_store(embedded(tmp_path))
    assert (outbox.check, outbox.level) == ("outbox", level)
    assert ": 2" in outbox.message


@pytest.mark.parametrize(("age", "level"), [(0, Level.OK), (7_200, Level.WARN)])
async def test_events_that_wait_long_to_be_applied_are_a_warning(age: int, level: Level, tmp_path: Path) -> None:
    """With their number and the age of the oldest."""
    await filled(tmp_path, soon() - age * 1_000_000)
    (lag,) = await stores.lag(embedded(tmp_path))
    assert lag.level is level
    assert ": 2" in lag.message


async def test_a_read_model_that_has_everything_says_so(tmp_path: Path) -> None:
    """And one that has more than the log fails: an older log was restored."""
    await filled(tmp_path)
    views = SqliteViews.open(tmp_path / "view.db")
    await views.commit(changes(positions={0: (0, 2)}))
    assert [finding.level for finding in await stores.lag(embedded(tmp_path))] == [Level.OK]
    await views.commit(changes(positions={0: (2, 3)}))
    await views.close()
    (beyond,) = await stores.lag(embedded(tmp_path))
    assert beyond.level is Level.FAIL
    assert "is at 3 of partition 0, and the log ends at 2" in beyond.message


async def test_a_read_model_of_another_log_is_a_failure(tmp_path: Path) -> None:
    """The topic was made anew, or the folder is a mix of two."""
    await filled(tmp_path)
    views = SqliteViews.open(tmp_path / "view.db")
    await views.record_identity(TOPIC, LogIdentity("another", "log"))
    await views.close()
    (finding,) = await stores.lag(embedded(tmp_path))
    assert finding.level is Level.FAIL
    assert "another log" in finding.message


async def test_dead_letters_are_a_warning_and_two_histories_are_a_failure(tmp_path: Path) -> None:
    """Reasons are counted."""
    views = SqliteViews.open(tmp_path / "view.db")
    held = (letter("A", 0), letter("A", 1, DeadReason.PARKED), letter("B", 2))
    await views.commit(changes(row("A", held=2), row("B", at=1, held=1), held=held, positions={0: (0, 3)}))
    found = told(await stores.read_model(embedded(tmp_path)))
    assert found["dead letters", "warn"] == "records held back: 2 (corrupt 2), orders that wait for them: 2"
    conflict = letter("C", 3, DeadReason.VERSION_CONFLICT)
    counted = {"gaps": 1, "late": 2}
    await views.commit(changes(row("C", at=2, held=1), held=(conflict,), positions={0: (3, 4)}, counters=counted))
    await views.close()
    after = await stores.read_model(embedded(tmp_path))
    assert "version-conflict 1" in told(after)["dead letters", "fail"]
    missed = [finding.message for finding in after if finding.check == "read model" and finding.level is Level.WARN]
    assert missed == ["gaps before events of their order: 1", "events after later ones of their order: 2"]


def mark(file: Path, version: int) -> None:
    """Make it a file of another schema version."""
    content = bytearray(file.read_bytes())
    content[60:64] = version.to_bytes(4, "big")  # SQLite's user_version
    file.write_bytes(content)


@pytest.mark.parametrize("version", [1, 999])
async def test_files_of_other_releases_are_told_as_the_start_tells_them(version: int, tmp_path: Path) -> None:
    """A read model that the start converts works: a warning that says so. What a newer release wrote does not, be it a
    read model or a log. Only the message says what to do, and the files stay as they are."""
    await filled(tmp_path)
    settings, log, view = embedded(tmp_path), log_path(tmp_path, TOPIC), tmp_path / "view.db"
    if version == 1:
        view.unlink()
        await open_writer(view, VIEWS_1.read_text(), 1).close()
    else:
        mark(view, version)
        mark(log, version)
    before = contents(tmp_path)
    model, events = examine(
        [
            Check("read model", lambda: stores.read_model(settings), "restore it"),
            Check("event log", lambda: stores.event_log(settings), "restore it"),
        ],
        20,
    )
    assert contents(tmp_path) == before
    assert "restore it" not in (model.hint, events.hint)
    if version == 1:
        assert (model.level, events.level) == (Level.WARN, Level.OK)
        with pytest.raises(Refused) as told_to_tools:
            SqliteViews.open(view, exclusive=False)
        assert model.message == str(told_to_tools.value)
        assert "start the service of this release once, it converts the file" in model.message
        await SqliteViews.open(view).close()
        assert (await stores.read_model(settings))[0].level is Level.OK
    else:
        with pytest.raises(Refused) as of_the_model:
            SqliteViews.open(view)
        with pytest.raises(Refused) as of_the_log:
            SqlitePublisher.open(tmp_path, TOPIC, 3)
        assert [(found.level, found.message) for found in (model, events)] == [
            (Level.FAIL, str(of_the_model.value)),
            (Level.FAIL, str(of_the_log.value)),
        ]


@pytest.mark.parametrize("damage", ["newer", "older", "garbage"])
async def test_a_file_that_cannot_be_used_fails_with_its_own_reason(damage: str, tmp_path: Path) -> None:
    """The lines of the others stay."""
    await filled(tmp_path)
    file = tmp_path / "cart.db"
    if damage == "garbage":
        file.write_bytes(b"x" * 4_096 + file.read_bytes()[4_096:])
    else:
        mark(file, 999 if damage == "newer" else 1)
    settings = embedded(tmp_path)
    found = examine(
        [Check("order store", lambda: stores.order_store(settings)), Check("lag", lambda: stores.lag(settings))], 20
    )
    reasons = {"newer": "use a newer release", "older": "use the release that wrote it", "garbage": "not a database"}
    assert found[0].level is Level.FAIL
    assert reasons[damage] in found[0].message
    assert found[1].level is Level.OK


# ---------------------------------------------------------------------------------------------- the topic


def topic(partitions: int = 3, replication: int = 3, needed: int = 2, **settings: str) -> TopicState:
    """A topic as it should be, but for what is given."""
    kept = {"cleanup_policy": "delete", "retention_ms": "-1", "retention_bytes": "-1", **settings}
    named = {name.replace("_", "."): value for name, value in kept.items()}
    return TopicState(partitions, replication, {**named, "min.insync.replicas": str(needed)})


def judged(state: TopicState) -> Iterator[tuple[str, str]]:
    for finding in cluster.topic_findings(state, Settings()):
        assert finding.hint
        yield str(finding.level), finding.message


@pytest.mark.parametrize(
    ("state", "level", "message"),
    [
        (topic(cleanup_policy="compact"), "fail", "is compacted"),
        (topic(cleanup_policy="delete,compact"), "fail", "is compacted"),
        (topic(retention_ms="604800000"), "warn", "retention.ms=604800000"),
        (topic(retention_bytes="1"), "warn", "retention.bytes=1"),
        (topic(partitions=6), "warn", "has 6 partitions, ORDERING_PARTITIONS says 3"),
        (topic(replication=1, needed=1), "warn", "kept once"),
        (topic(needed=3), "warn", "needs all of its 3 copies"),
        (topic(needed=1), "warn", "only one of its 3 copies"),
        (topic(replication=2, needed=3), "fail", "more than there can be"),
    ],
)
def test_a_topic_that_could_lose_or_refuse_events_is_told(state: TopicState, level: str, message: str) -> None:
    """Each with what to do."""
    ((found_level, found_message),) = judged(state)
    assert found_level == level
    assert message in found_message


def test_a_topic_as_it_should_be_is_told_nothing_of() -> None:
    """Three copies, two of them in sync, kept for ever."""
    assert not list(judged(topic()))
