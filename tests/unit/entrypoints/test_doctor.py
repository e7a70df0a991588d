"""`ordering doctor` without any network: what it says of settings, folders, files and topics."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ordering.adapters.kafka.topics import TopicState
from ordering.application.errors import BrokerUnavailable, StoreUnavailable
from ordering.entrypoints import container
from ordering.entrypoints.doctor import cluster, machine
from ordering.entrypoints.doctor.configured import settings_of
from ordering.entrypoints.doctor.findings import Check, Finding, Level, examine
from ordering.entrypoints.doctor.report import checks_for
from ordering.entrypoints.settings import OPTIONS, Mode, Settings


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
